"""Fidelity attention against exact attention; where features beat pairs; the best chunk length.

Causal, batch 1, 8 heads, states of width m, values of width 64, float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.ops.fidelity_attention import (
    FidelityKernel,
    fidelity_attention,
    interface,
)

from .attentions import SDPA, fidelity, sdpa
from .contender import Case, pinned_to
from .gaussian_splat import PASSES
from .job import HEADS, random_job
from .measure import Options, run_cases, tell
from .timing import seconds

E = 64
DIMENSIONS = (12, 16, 24, 32, 48, 64)
CHUNKS = (64, 128, 256, 512)
# Lengths are doubled until sums over features win, up to this one.
LONGEST = 4096
PAIRS_UNTIL = 2048


def run(options: Options) -> dict[str, Any]:
    lengths, widths = ({1024: 3}, (16,)) if options.quick else ({2048: 7, 8192: 3}, (12, 16, 32))
    results = run_cases(case for m in widths for case in cases(m, lengths))
    dimensions = (12,) if options.quick else DIMENSIONS
    rounds = 2 if options.quick else 5
    for part, measure in (("chunks", best_chunk), ("crossover", crossover)):
        results[part] = []
        for m in dimensions:
            for backward in PASSES:
                with pinned_to("off"):
                    row = measure(m, rounds, backward=backward)
                tell(f"{row}")
                results[part].append(row)
    return results


def cases(m: int, rounds: dict[int, int], *, heads: int = HEADS) -> Iterator[Case]:
    for tokens, times in rounds.items():
        for backward in PASSES:
            job = random_job(tokens, backward=backward, heads=heads, width=m, value_width=E)
            forms = (
                ("parallel", "chunked", "native")
                if tokens <= PAIRS_UNTIL
                else ("chunked", "native")
            )
            wide = random_job(tokens, backward=backward, heads=heads)
            yield Case(
                name=f"m={m}, {tokens} tokens, {PASSES[backward]}",
                inputs=job.inputs,
                contenders=[sdpa(wide, rule="softmax, D=64"), *fidelity(job, forms=forms)],
                baseline=SDPA,
                rounds=times,
            )


def best_chunk(m: int, rounds: int, *, backward: bool) -> dict[str, Any]:
    tensors = _tensors(m, 2048)
    given = interface.chunk_tokens
    times: dict[int, list[float]] = {length: [] for length in CHUNKS}
    for _ in range(rounds):
        for length in CHUNKS:
            interface.chunk_tokens = lambda _, length=length: length  # type: ignore[assignment]
            times[length].append(seconds(_run(tensors, "chunked", backward=backward))[0])
    interface.chunk_tokens = given
    relative = {
        length: round(median(a / b for a, b in zip(own, times[CHUNKS[1]], strict=True)), 3)
        for length, own in times.items()
    }
    return {"m": m, "tokens": 2048, "backward": backward, f"time / chunk {CHUNKS[1]}": relative}


def crossover(m: int, rounds: int, *, backward: bool) -> dict[str, Any]:
    features = FidelityKernel(m, False, 1e-4).features
    ratios: dict[int, float] = {}
    cpu_ms = {}
    tokens = 256 if m < 24 else 512 if m < 48 else 1024
    while tokens <= LONGEST and (len(ratios) < 2 or ratios[tokens // 2] < 1):
        tensors = _tensors(m, tokens)
        pairs, chunked = (
            _run(tensors, form, backward=backward) for form in ("parallel", "chunked")
        )
        # Repeated, because short calls are near the resolution of the clock.
        times = max(1, 1024 // tokens)
        both = [(seconds(pairs, times)[0], seconds(chunked, times)[0]) for _ in range(rounds)]
        ratios[tokens] = median(a / b for a, b in both)
        cpu_ms[tokens] = [round(1e3 * median(part), 1) for part in zip(*both, strict=True)]
        tokens *= 2
    return {
        "m": m,
        "features": features,
        "backward": backward,
        "pairs / chunked": {tokens: round(ratio, 3) for tokens, ratio in ratios.items()},
        "cpu_ms": cpu_ms,
        "crossover_tokens": round(_length_at_one(ratios)),
    }


def _length_at_one(ratios: dict[int, float]) -> float:
    """Where the ratio is 1, by a straight line in logarithms: between two lengths, or past them."""
    points = [(math.log(tokens), math.log(ratio)) for tokens, ratio in ratios.items()]
    lines = list(pairwise(points))
    (x, y), (x1, y1) = next((line for line in lines if line[0][1] <= 0 <= line[1][1]), lines[-1])
    return math.exp(x - y * (x1 - x) / (y1 - y))


def _tensors(m: int, tokens: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, HEADS, tokens, width, generator=source).requires_grad_()
        for width in (m, m, E)
    ]


def _run(tensors: list[Tensor], form: str, *, backward: bool) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            fidelity_attention(*tensors, is_causal=True, implementation=form)

    def both() -> None:
        out = fidelity_attention(*tensors, is_causal=True, implementation=form)
        torch.autograd.grad(out.sum(), tensors)

    return both if backward else forward
