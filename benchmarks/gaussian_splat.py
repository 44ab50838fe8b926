"""Splat attention against exact attention by length, and what its options cost.

Batch 1, 8 heads, keys and values of width 64, float32. "sdpa" is torch's exact attention, causal
and 4-D; "chunked" is vectorised torch with native kernels off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .attentions import SDPA, sdpa, splats, splats_with
from .contender import Absent, Case, Contender
from .job import Job, random_job
from .measure import Options, run_cases

PASSES = {False: "forward", True: "forward + backward"}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """rounds: by length; other_tokens: where options, kinds and both ways are compared."""

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    rounds: dict[int, int]
    other_tokens: int
    heads: int = 8


WHOLE = Sizes(
    lengths=(512, 1024, 2048, 4096, 8192, 16384, 32768),
    counts=(16, 64, 128),
    rounds={512: 15, 1024: 11, 2048: 9, 4096: 7, 8192: 5, 16384: 3, 32768: 2},
    other_tokens=2048,
)
QUICK = Sizes(lengths=(512, 2048), counts=(64,), rounds={512: 5, 2048: 3}, other_tokens=512)


def run(options: Options) -> dict[str, Any]:
    return run_cases(cases(QUICK if options.quick else WHOLE))


def cases(sizes: Sizes) -> Iterator[Case]:
    for tokens in sizes.lengths:
        for backward in PASSES:
            yield by_length(sizes, tokens, backward=backward)
    for backward in PASSES:
        yield from others(sizes, backward=backward)


def by_length(sizes: Sizes, tokens: int, *, backward: bool) -> Case:
    job = random_job(tokens, backward=backward, heads=sizes.heads)
    contenders: list[Contender | Absent] = [sdpa(job, rule="softmax")]
    for count in sizes.counts:
        contenders += splats(job, count)
    return Case(
        name=f"{tokens} tokens, {PASSES[backward]}",
        inputs=job.inputs,
        contenders=contenders,
        baseline=SDPA,
        rounds=sizes.rounds[tokens],
    )


def others(sizes: Sizes, *, backward: bool) -> Iterator[Case]:
    """Kinds of covariance, options, and reading without an order."""
    tokens = sizes.other_tokens
    job = with_decays(random_job(tokens, backward=backward, heads=sizes.heads))
    kinds = [
        contender
        for kind in ("scalar", "diagonal", "low_rank", "full")
        for contender in splats_with(job, f"K=64, {kind}", kind=kind)
    ]
    choices = [
        *splats_with(job, "K=64, decay per head", reads=(*INPUTS, "head_decay")),
        *splats_with(job, "K=64, decay per splat", reads=(*INPUTS, "splat_decay")),
        *splats_with(job, "K=64, window 64, 4 sinks", window=64, sinks=4),
        *splats_with(job, "top 8 of K=1024, scalar", count=1024, kind="scalar", top_m=8),
        *splats_with(job, "all of K=1024, scalar", count=1024, kind="scalar"),
    ]
    both_ways = splats_with(job, "K=64, both ways", is_causal=False)
    for name, contenders, is_causal in (
        ("kinds", kinds, True),
        ("options", choices, True),
        ("both ways", both_ways, False),
    ):
        yield Case(
            name=f"{name}, {tokens} tokens, {PASSES[backward]}",
            inputs=job.inputs,
            contenders=[sdpa(job, rule="softmax", is_causal=is_causal), *contenders],
            baseline=SDPA,
            rounds=sizes.rounds[tokens],
        )


INPUTS = ("query", "key", "value")


def with_decays(job: Job) -> Job:
    """The job and log decays: one a head, and one for each of 64 splats and the background."""
    source = torch.Generator().manual_seed(2)
    shape = job.tensors["key"].shape[:3]

    def drawn(*last: int) -> Tensor:
        decay = logsigmoid(4 + torch.randn(*shape, *last, generator=source))
        return decay.requires_grad_(job.backward)

    return replace(job, tensors={**job.tensors, "head_decay": drawn(), "splat_decay": drawn(65)})
