"""Tiled attention that reads everything against torch's exact attention: what tiles cost.

Batch 1, 8 heads, width 64, float32, causal. At resolution 1 all tiles are read, so the answer is
that of exact attention; how it is got is the implementation's affair, and `explain` tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from adaptive_attention_tiling.ops.tiled_attention import tiled_attention

from .attentions import SDPA, sdpa
from .contender import Case
from .gaussian_splat import PASSES
from .job import random_job
from .measure import Options, run_cases
from .rules import softmax_rows


def run(options: Options) -> dict[str, Any]:
    rounds = {1024: 3} if options.quick else {2048: 9, 8192: 5, 32768: 2}
    return run_cases(cases(rounds, backward_until=2048))


def cases(rounds: dict[int, int], *, backward_until: int, heads: int = 8) -> Iterator[Case]:
    attend = partial(tiled_attention, is_causal=True, resolution=1.0)
    for tokens, times in rounds.items():
        for backward in PASSES if tokens <= backward_until else (False,):
            job = random_job(tokens, backward=backward, heads=heads)
            yield Case(
                name=f"{tokens} tokens, {PASSES[backward]}",
                inputs=job.inputs,
                contenders=[
                    sdpa(job),
                    *job.forms("tiled, R=1", attend, softmax_rows, forms=("eager", "native")),
                ],
                baseline=SDPA,
                rounds=times,
            )
