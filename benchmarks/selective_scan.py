"""The selective scan: native kernels, chunks in torch, and the loop of the definition.

Batch 1, I inner channels with N numbers of state each, float32, steps delta of softplus.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from adaptive_attention_tiling.ops.selective_scan import selective_scan

from .contender import Case
from .gaussian_splat import PASSES
from .job import Job, rows_looked_at
from .measure import Options, run_cases

INNER, STATE = 512, 16
LOOP_UNTIL = 2048
READS = ("x", "delta", "A", "B", "C", "D", "z")


def run(options: Options) -> dict[str, Any]:
    lengths = {256: 3} if options.quick else {512: 9, 2048: 7, 8192: 5}
    return run_cases(cases(lengths, inner=64 if options.quick else INNER))


def cases(rounds: dict[int, int], *, inner: int) -> Iterator[Case]:
    for tokens, times in rounds.items():
        for backward in PASSES:
            for resolution in (None, 0.5):
                yield case(tokens, inner, times, backward=backward, resolution=resolution)


def case(tokens: int, inner: int, rounds: int, *, backward: bool, resolution: float | None) -> Case:
    job = scan_job(tokens, inner, backward=backward)

    def attend(*tensors: Tensor, implementation: str) -> Tensor:
        *first, z = tensors
        y = selective_scan(*first, z=z, resolution=resolution, implementation=implementation)
        assert isinstance(y, Tensor)
        return y[:, None]

    def exact(*tensors: Tensor) -> Tensor:
        return attend(*tensors[:-1], implementation="reference")[:, :, tensors[-1]]

    forms = ("chunked", "native", *(("reference",) if tokens <= LOOP_UNTIL else ()))
    return Case(
        name=f"{tokens} tokens, R={resolution or 1}, {PASSES[backward]}",
        inputs=job.inputs,
        contenders=job.forms("scan", attend, exact, forms=forms, reads=READS),
        baseline="scan, chunked",
        rounds=rounds,
    )


def scan_job(tokens: int, inner: int, *, backward: bool) -> Job:
    source = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source)

    tensors = {
        "x": drawn(1, tokens, inner),
        "delta": softplus(drawn(1, tokens, inner) - 3),
        "A": -torch.arange(1.0, STATE + 1).expand(inner, STATE).clone(),
        "B": drawn(1, tokens, STATE),
        "C": drawn(1, tokens, STATE),
        "D": drawn(inner),
        "z": drawn(1, tokens, inner),
    }
    for tensor in tensors.values():
        tensor.requires_grad_(backward)
    inputs = {"B": 1, "T": tokens, "I": inner, "N": STATE, "dtype": "float32", "seed": 0}
    return Job(
        tensors=tensors,
        outer=drawn(1, 1, tokens, inner),
        rows=rows_looked_at(tokens),
        backward=backward,
        inputs=inputs,
    )
