"""Attention over paths against one attention: exact by chunks, by hops, and as a dense solve.

One layer of 4 heads of width 64, batch 1, causal, alpha = 0.5, float32, forward, then forward and
backward. The gate is the dense solve in float64. The baseline is SDPA, one hop, which computes
something else and is there as the price of one attention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.resolvent_attention import (
    reference_resolvent_attention,
    resolvent_attention,
)

from .contender import Case, Contender
from .measure import Options, measured, tell_rows

HEADS, WIDTH, DAMPING = 4, 64, 0.5
ONE = "one attention (SDPA)"
Attend = Callable[..., Tensor]


def run(options: Options) -> dict[str, Any]:
    rows = []
    for tokens in (256,) if options.quick else (512, 1024, 2048):
        for backward in (False, True):
            found = measured(case(tokens, backward, rounds=2 if options.quick else 5))
            tell_rows(found)
            rows += found
    return {"rows": rows}


def case(tokens: int, backward: bool, *, rounds: int) -> Case:
    g = torch.Generator().manual_seed(0)
    inputs = [torch.randn(1, HEADS, tokens, WIDTH, generator=g) for _ in range(3)]
    exact = partial(
        reference_resolvent_attention, damping=DAMPING, scale=WIDTH**-0.5, is_causal=True
    )
    walked = partial(resolvent_attention, damping=DAMPING, is_causal=True)
    one = partial(scaled_dot_product_attention, is_causal=True)
    double = [x.double() for x in inputs]
    kind = "forward and backward" if backward else "forward"

    def contender(name: str, attend: Attend, truth: Attend, tolerance: float) -> Contender:
        return Contender(
            name=name,
            run=lambda: answer(attend, inputs, backward),
            answer=lambda: answer(attend, inputs, backward),
            truth=lambda: answer(truth, double, backward),
            distance=farthest,
            tolerance=tolerance,
        )

    return Case(
        name=f"{tokens} tokens, {kind}",
        inputs={"tokens": tokens, "heads": HEADS, "width": WIDTH, "damping": DAMPING, "kind": kind},
        contenders=[
            contender(ONE, one, one, 1e-4),
            contender("chunks, exact", walked, exact, 1e-4),
            contender("10 hops", partial(walked, hops=10), exact, 2e-2),
            contender("dense solve", exact, exact, 1e-4),
        ],
        baseline=ONE,
        rounds=rounds,
    )


def answer(attend: Attend, inputs: list[Tensor], backward: bool) -> list[Tensor]:
    if not backward:
        with torch.no_grad():
            return [attend(*inputs)]
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = attend(*leaves)
    loss = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
    return [out.detach(), *torch.autograd.grad(loss, leaves)]


def farthest(found: list[Tensor], truth: list[Tensor]) -> float:
    """The largest difference, relative to the largest entry of each tensor."""
    pairs = zip(found, truth, strict=True)
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs)
