"""Reading one block of queries by compiled kernels (csrc/tiled_read.cpp), as operators of torch.

One call reads the near field, the sinks, the tokens of exact tiles and the summaries of closed
nodes, tells each query's error, and opens for each query what is over the limit: what `near_part`,
`compile_list` and `read_far` do. Rows are read where they lie, by address.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from .block import Sinks
from .control import Control
from .cut import Cut
from .layout import TileLayout
from .read import FarRead
from .store import TileStore


class Near(NamedTuple):
    """Keys, values [B, G, s, *] around a block of queries, and which are tokens [B, s]."""

    key: Tensor
    value: Tensor
    valid: Tensor | None


class _Far(NamedTuple):
    """What csrc/interface/tiled.h says of the far field; None without one."""

    tile_key: Tensor | None = None
    tile_value: Tensor | None = None
    tile_valid: Tensor | None = None
    node_key: Tensor | None = None
    node_value: Tensor | None = None
    log_count: Tensor | None = None
    variance: Tensor | None = None
    radius: Tensor | None = None
    spread: Tensor | None = None
    offspring: Tensor | None = None
    first: Tensor | None = None
    closed: Tensor | None = None
    exact: Tensor | None = None


@torch.no_grad()
def _plan_of(cut: Cut, store: TileStore, control: Control, layout: TileLayout) -> dict[str, Tensor]:
    """What of the far field is constant in a backward pass."""
    nodes, sizes = store.pyramid.nodes, store.pyramid.sizes
    read = cut.closed if layout.rest == "mean" else torch.zeros_like(cut.closed)
    first = [sum(sizes[:height]) for height in range(len(sizes))]
    found = {
        "tile_valid": store.valid,
        "log_count": nodes.log_count,
        "offspring": store.pyramid.offspring,
        "first": torch.tensor(first),
        "closed": read,
        "exact": cut.exact,
    }
    if not control.certified:
        return found | {"variance": nodes.variance}
    assert nodes.radius is not None
    assert nodes.spread is not None
    return found | {"radius": nodes.radius, "spread": nodes.spread}


class Plan:
    """What a block of queries reads of the far field, ready for any number of calls."""

    def __init__(self, cut: Cut, store: TileStore, control: Control, layout: TileLayout) -> None:
        nodes = store.pyramid.nodes
        self.far = _Far(
            tile_key=store.keys.contiguous(),
            tile_value=store.values.contiguous(),
            node_key=nodes.key.contiguous(),
            node_value=nodes.value.contiguous(),
            **{k: x.contiguous() for k, x in _plan_of(cut, store, control, layout).items()},
        )
        refines = control.tolerance is not None and layout.rest == "mean"
        self.limit = control.limit if refines else math.inf


def read_block(
    query: Float[Tensor, "h t D"],
    near: Near,
    sinks: Sinks | None,
    plan: Plan | None,
    *,
    causal: bool,
) -> FarRead:
    """Attention of a block's queries over all that they read; `plan` is None without a far field.

    If causal, the last query stands at the last near key.
    """
    lists = (_last_contiguous(x) for x in (query, *near))
    behind: tuple[Tensor | None, ...] = (None, None, None)
    if sinks is not None:
        behind = sinks.keys.to(query.dtype), sinks.values.to(query.dtype), sinks.visible
    far, limit = (_Far(), math.inf) if plan is None else (plan.far, plan.limit)
    out, lse, _, error, refined, visited = tiled_read(
        *lists, *map(_last_contiguous, behind), *far, limit, causal
    )
    return FarRead(out, lse, error, refined, visited)


def _last_contiguous(x: Tensor | None) -> Tensor | None:
    return x if x is None or x.shape[-1] <= 1 or x.stride(-1) == 1 else x.contiguous()


@native.operator("tiled_read")
def tiled_read(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    valid: Tensor | None,
    sink_key: Tensor | None,
    sink_value: Tensor | None,
    sink_visible: Tensor | None,
    tile_key: Tensor | None,
    tile_value: Tensor | None,
    tile_valid: Tensor | None,
    node_key: Tensor | None,
    node_value: Tensor | None,
    log_count: Tensor | None,
    variance: Tensor | None,
    radius: Tensor | None,
    spread: Tensor | None,
    offspring: Tensor | None,
    first: Tensor | None,
    closed: Tensor | None,
    exact: Tensor | None,
    limit: float,
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Attention of query [h, t, D] along a plan; shapes in csrc/interface/tiled.h.

    Returns:
        out [h, t, E]; lse, lse before anything was opened, error, refined and visited [h, t].
    """
    results = _results(query, value)
    names = ("out", "lse", "planned", "error", "refined", "visited")
    far = (tile_key, tile_value, tile_valid, node_key, node_value, log_count, variance)
    rest = (radius, spread, offspring, first, closed, exact)
    inputs = (query, key, value, valid, sink_key, sink_value, sink_visible, *far, *rest)
    _call("tiled_read", inputs, limit, causal, dict(zip(names, results, strict=True)))
    return results


def _results(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    heads, queries, _ = query.shape
    out = query.new_empty(heads, queries, value.shape[-1])
    a, b, c, d, e = (query.new_empty(heads, queries) for _ in range(5))
    return out, a, b, c, d, e


_INPUTS = ("query", *Near._fields, "sink_key", "sink_value", "sink_visible", *_Far._fields)
_DIFFERENTIABLE = (
    "query",
    "key",
    "value",
    "sink_key",
    "sink_value",
    "tile_key",
    "tile_value",
    "node_key",
    "node_value",
)


def _call(
    name: str,
    inputs: tuple[Tensor | None, ...],
    limit: float,
    causal: bool,
    rest: dict[str, Tensor],
) -> None:
    given = dict(zip(_INPUTS, inputs, strict=True))
    query, key, value = inputs[:3]
    assert query is not None
    assert key is not None
    assert value is not None
    batch, groups, near, width = key.shape

    def size(name: str, axis: int) -> int:
        tensor = given[name]
        return 0 if tensor is None else tensor.shape[axis]

    kernels = native.choice().library
    assert kernels is not None, "choice.explain tells whether there are kernels"
    kernels.call(
        name,
        query.dtype,
        **given,
        **rest,
        batch=batch,
        groups=groups,
        repeat=query.shape[0] // max(1, batch * groups),
        queries=query.shape[1],
        near=near,
        sinks=size("sink_key", 2),
        width=width,
        value_width=value.shape[-1],
        tiles=size("tile_key", 1),
        tile=size("tile_key", 2),
        nodes=size("node_key", 1),
        branching=size("offspring", 2),
        heights=size("first", 0),
        certified=given["radius"] is not None,
        causal=causal,
        threads=torch.get_num_threads(),
        limit=limit,
    )


@native.fake_of(tiled_read)
def _(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return _results(query, value)


@native.operator("tiled_read_backward")
def tiled_read_backward(
    grad_out: Tensor,
    out: Tensor,
    lse: Tensor,
    planned: Tensor,
    inputs: Sequence[Tensor | None],
    limit: float,
    causal: bool,
) -> list[Tensor]:
    """Gradients of those of the inputs of `tiled_read` that have one; empty for what is None."""
    grads = _grads(inputs)
    names = [f"grad_{name}" for name in _DIFFERENTIABLE]
    shown = {k: x for k, x in zip(names, grads, strict=True) if x.numel()}
    results = {"grad_out": grad_out.contiguous(), "out": out, "lse": lse, "planned": planned}
    _call("tiled_read_backward", tuple(inputs), limit, causal, {**results, **shown})
    return grads


def _grads(inputs: Sequence[Tensor | None]) -> list[Tensor]:
    given = dict(zip(_INPUTS, inputs, strict=True))
    query = given["query"]
    assert query is not None
    tensors = (given[name] for name in _DIFFERENTIABLE)
    return [query.new_zeros(0 if x is None else x.shape) for x in tensors]


@native.fake_of(tiled_read_backward)
def _(
    grad_out: Tensor,
    out: Tensor,
    lse: Tensor,
    planned: Tensor,
    inputs: Sequence[Tensor | None],
    *rest: Any,
) -> list[Tensor]:
    return _grads(inputs)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.limit, ctx.causal = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*output[:3], *tensors)


def _differentiate(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "create_graph: compiled kernels are not twice differentiable. Fix: pass "
            'implementation="eager".'
        )
    saved = ctx.saved_tensors  # under checkpointing they can be asked for once only
    results, inputs = saved[:3], saved[3:]
    grads = tiled_read_backward(grad_out, *results, inputs, ctx.limit, ctx.causal)
    found = {name: x if x.numel() else None for name, x in zip(_DIFFERENTIABLE, grads, strict=True)}
    return (*(found.get(name) for name in _INPUTS), None, None)


torch.library.register_autograd(
    "adaptive_attention_tiling::tiled_read", _differentiate, setup_context=_keep
)
