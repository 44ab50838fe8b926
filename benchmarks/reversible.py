"""Training a residual stack that keeps its last activations only, against one that keeps all.

Blocks of softmax attention and a network (width 64, two heads), 256 tokens, float32, forward and
backward with gradients of every parameter, by depth. Both compute the same function; the gate is
the gradient of a float64 copy by plain autograd. "kept" is what autograd holds for the backward
pass beside the parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.layers import (
    ProjectionConfig,
    ReversibleStack,
    SoftmaxAttentionConfig,
)
from adaptive_attention_tiling.models.gpt import GPTBlock, GPTConfig

from .contender import Case, Contender
from .measure import Options, measured, tell, tell_rows
from .peak import MEBIBYTE

WIDTH, TOKENS = 64, 256
PLAIN = "all activations kept"
Run = Callable[..., tuple[Tensor, Tensor]]


def run(options: Options) -> dict[str, Any]:
    depths = (2, 4) if options.quick else (8, 16, 32, 64)
    rows = []
    for depth in depths:
        stack = stack_of(depth)
        found = measured(case(stack, rounds=2 if options.quick else 5))
        for row, way in zip(found, (stack.unrolled, stack), strict=True):
            row["kept_mib"] = round(kept_bytes(way, stack) / MEBIBYTE, 3)
        tell_rows(found)
        tell("  kept: " + ", ".join(f"{r['contender']} {r['kept_mib']} MiB" for r in found))
        rows += found
    return {"rows": rows}


def stack_of(depth: int) -> ReversibleStack:
    torch.manual_seed(0)
    mixer = SoftmaxAttentionConfig(projection=ProjectionConfig(width=WIDTH, heads=2))
    config = GPTConfig(vocabulary=2, width=WIDTH, depth=depth, mixers=mixer)
    return ReversibleStack(GPTBlock(config, mixer) for _ in range(depth))


def case(stack: ReversibleStack, *, rounds: int) -> Case:
    exact = copy.deepcopy(stack).double()
    names = ((PLAIN, stack.unrolled), ("reversible", stack))
    return Case(
        name=f"depth {len(stack.layers)}",
        inputs={"depth": len(stack.layers), "tokens": TOKENS, "width": WIDTH, "dtype": "float32"},
        contenders=[
            Contender(
                name=name,
                run=lambda way=way: gradients(way, stack),
                answer=lambda way=way: gradients(way, stack),
                truth=lambda: gradients(exact.unrolled, exact),
                distance=relative,
                tolerance=1e-5,
            )
            for name, way in names
        ],
        baseline=PLAIN,
        rounds=rounds,
    )


def gradients(way: Run, stack: ReversibleStack) -> list[Tensor]:
    q, p = way(*streams(stack), None)
    loss = (q * torch.linspace(-1, 1, q.numel()).view_as(q)).sum() + p.square().mean()
    return list(torch.autograd.grad(loss, list(stack.parameters())))


def streams(stack: ReversibleStack) -> Iterator[Tensor]:
    """The same start twice, as a model has it."""
    start = torch.randn(1, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
    start = start.to(next(stack.parameters()).dtype)
    yield from (start, start)


def relative(answer: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The largest of |g - g'| / |g'| over the parameters."""
    pairs = zip(answer, truth, strict=True)
    return max(float((a.double() - b).norm() / b.norm()) for a, b in pairs)


def kept_bytes(way: Run, stack: ReversibleStack) -> int:
    own = {x.untyped_storage().data_ptr() for x in stack.parameters()}
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        way(*streams(stack), None)
    return sum(kept.values())
