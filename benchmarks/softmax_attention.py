"""Exact attention to ranges of keys: all before a query, and a window, against torch's own.

Batch 1, 8 heads, width 64, float32, causal. torch attends to a window through a mask, for which
it computes all pairs; the window's own time is the near field of every other attention here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.softmax_attention import ranged_attention

from .attentions import SDPA
from .contender import Case
from .gaussian_splat import PASSES
from .job import Job, random_job
from .measure import Options, run_cases
from .rules import softmax_rows

WINDOWS = (None, 64, 256)
# The mask of torch's window has T^2 entries.
TORCH_WINDOW_UNTIL = 4096


def run(options: Options) -> dict[str, Any]:
    rounds = {512: 3} if options.quick else {2048: 9, 8192: 5}
    return run_cases(cases(rounds))


def cases(rounds: dict[int, int], *, heads: int = 8) -> Iterator[Case]:
    for tokens, times in rounds.items():
        for backward in PASSES:
            for window in WINDOWS:
                yield case(tokens, window, times, backward=backward, heads=heads)


def case(tokens: int, window: int | None, rounds: int, *, backward: bool, heads: int) -> Case:
    job = random_job(tokens, backward=backward, heads=heads)
    exact = partial(softmax_rows, window=window)

    def ranged(query: Tensor, key: Tensor, value: Tensor, *, implementation: str) -> Tensor:
        scale = query.shape[-1] ** -0.5
        options = {"scale": scale, "window": window, "implementation": implementation}
        return ranged_attention(query[:, :, None], key, value, **options).out[:, :, 0]

    contenders = job.forms("ranged", ranged, exact, forms=("eager", "native"))
    if window is None or tokens <= TORCH_WINDOW_UNTIL:
        contenders.insert(0, job.contender(SDPA, torch_window(job, window), exact))
    return Case(
        name=f"{tokens} tokens, {f'window {window}' if window else 'all'}, {PASSES[backward]}",
        inputs=job.inputs,
        contenders=contenders,
        baseline=SDPA,
        rounds=rounds,
    )


def torch_window(job: Job, window: int | None) -> Any:
    if window is None:
        return partial(scaled_dot_product_attention, is_causal=True)
    tokens = job.tensors["query"].shape[2]
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril().triu(1 - window)
    return partial(scaled_dot_product_attention, attn_mask=mask)
