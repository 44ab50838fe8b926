"""Linear attention and its rivals on the CPU: torch's exact attention, ONNX Runtime, Hugging Face.

Batch 1, 8 heads, width 64, float32. A rival that computes another rule is compared with its own
reference and marked with its rule; forward passes of ONNX Runtime only, which has no gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid, normalize

from .attentions import SDPA, linear, sdpa, splats
from .contender import Absent, Case, Contender
from .gaussian_splat import PASSES
from .job import Job, random_job
from .measure import Options, run_cases
from .peers import gated_delta as delta
from .peers.cumulative import cumulative_linear_attention
from .peers.onnx_runtime import LinearAttention
from .peers.onnx_runtime import missing as onnx_missing
from .rules import gated_delta_rows, linear_rows, sum_rows

ONNX_RULE, ONNX_SUMS = "onnxruntime, whole rule", "onnxruntime, sums only"
DELTA = "transformers, gated delta"
CUMULATIVE = "cumulative sums in torch"
CUMULATIVE_UNTIL = 4096


def run(options: Options) -> dict[str, Any]:
    lengths = {1024: 3} if options.quick else {2048: 9, 4096: 7, 8192: 5}
    return run_cases(cases(lengths))


def cases(rounds: dict[int, int], *, heads: int = 8) -> Iterator[Case]:
    for tokens, times in rounds.items():
        for backward in PASSES:
            job = with_delta(random_job(tokens, backward=backward, heads=heads))
            contenders: list[Contender | Absent] = [sdpa(job, rule="softmax")]
            contenders += linear(job)
            contenders += [
                replace(one, rule="splats") if isinstance(one, Contender) else one
                for one in splats(job, 64)
            ]
            if tokens <= CUMULATIVE_UNTIL:
                contenders.append(
                    job.contender(CUMULATIVE, cumulative_linear_attention, linear_rows)
                )
            contenders += [] if backward else onnx(job)
            contenders.append(gated_delta(job))
            yield Case(
                name=f"{tokens} tokens, {PASSES[backward]}",
                inputs=job.inputs,
                contenders=contenders,
                baseline=SDPA,
                rounds=times,
            )


def onnx(job: Job) -> list[Contender | Absent]:
    """The operator alone, on features that were computed before, and the whole rule as a graph."""
    lacking = onnx_missing()
    if lacking:
        return [Absent(name, lacking) for name in (ONNX_RULE, ONNX_SUMS)]
    query, key, value = (job.tensors[name] for name in ("query", "key", "value"))
    heads, width = query.shape[1], query.shape[-1]
    whole = LinearAttention(heads, width, whole_rule=True).prepared(query, key, value)
    features = elu(query) + 1, elu(key) + 1
    sums = LinearAttention(heads, width, whole_rule=False).prepared(*features, value)

    def exact_sums(query: Tensor, key: Tensor, value: Tensor, rows: Tensor) -> Tensor:
        return sum_rows(elu(query) + 1, elu(key) + 1, value, rows)

    return [
        job.contender(ONNX_RULE, lambda *_: whole(), linear_rows),
        job.contender(ONNX_SUMS, lambda *_: sums(), exact_sums, rule="sums, features given"),
    ]


def gated_delta(job: Job) -> Contender | Absent:
    lacking = delta.missing()
    if lacking:
        return Absent(DELTA, lacking)
    return job.contender(
        DELTA,
        delta.gated_delta,
        gated_delta_rows,
        reads=("query", "unit_key", "value", "log_decay", "rate"),
        rule="gated delta",
    )


def with_delta(job: Job) -> Job:
    """The job, and what the gated delta rule takes besides: unit keys, decays and rates."""
    source = torch.Generator().manual_seed(3)
    shape = job.tensors["key"].shape[:3]
    decay, rate = (torch.randn(*shape, generator=source) for _ in range(2))
    more = {
        "unit_key": normalize(job.tensors["key"].detach(), dim=-1),
        "log_decay": logsigmoid(4 + decay),
        "rate": rate.sigmoid(),
    }
    for tensor in more.values():
        tensor.requires_grad_(job.backward)
    return replace(job, tensors={**job.tensors, **more})
