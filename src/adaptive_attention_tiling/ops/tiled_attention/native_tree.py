"""Tile order and moments by compiled kernels (csrc/tree.cpp, csrc/moments.cpp)."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError

Moments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""count, mean key, mean value, variance, radius, spread; the last two are empty if not asked for.
"""


def compiled() -> native.Library:
    """The kernels that this process runs."""
    found = native.choice()
    if found.library is None:
        raise UnsupportedError(
            f"native: there are no compiled kernels ({found.reason}). Fix: leave `native` out, or "
            "install again with a C++ compiler."
        )
    return found.library


@overload
def packed(x: Tensor) -> Tensor: ...
@overload
def packed(x: Tensor | None) -> Tensor | None: ...
def packed(x: Tensor | None) -> Tensor | None:
    """The tensor as a view of a call can show it: its last axis contiguous."""
    return x if x is None or x.shape[-1] <= 1 or x.stride(-1) == 1 else x.contiguous()


@native.operator("tiled_order")
def tile_order(
    key: Tensor, scale: Tensor, valid: Tensor | None, leaf: int, narrow: int, steps: int
) -> Tensor:
    """`bisect_order` [n, S] of the points scale * key, which lie at 0 where they are not valid.

    Args:
        key: [n, S, D]; scale: [n, D]; valid: [n, S].
        leaf: keys of a cell.
        narrow: directions of large variance in which wider keys are bisected; 0 takes all.
        steps: of the power iteration.
    """
    n, size, width = key.shape
    order = torch.empty(n, size, dtype=torch.long)
    compiled().call(
        "tiled_order",
        key.dtype,
        key=packed(key),
        scale=packed(scale),
        valid=packed(valid),
        order=order,
        sets=n,
        size=size,
        width=width,
        leaf=leaf,
        narrow=narrow,
        steps=steps,
        threads=torch.get_num_threads(),
    )
    return order


@native.fake_of(tile_order)
def _(
    key: Tensor, scale: Tensor, valid: Tensor | None, leaf: int, narrow: int, steps: int
) -> Tensor:
    return key.new_empty(key.shape[:2], dtype=torch.long)


@native.operator("tiled_moments")
def tile_moments(
    key: Tensor,
    value: Tensor,
    valid: Tensor,
    order: Tensor,
    tile: int,
    bounds: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Keys, values and valid in the given order [n, M, L, *], and the `Moments` of tiles.

    Args:
        key: [n, S, D]; value: [n, S, E]; valid: [n, S].
        order: [n, M * L] indices into S.
        tile: L; bounds: whether radius and spread are asked for.

    Gradients flow through keys, values and their means.
    """
    n, tokens = order.shape
    found = _tile_outputs(key, value, valid, tokens // tile, tile, bounds)
    keys, values, member, count, mean_key, mean_value, variance, radius, spread = found
    compiled().call(
        "tiled_moments",
        key.dtype,
        key=packed(key),
        value=packed(value),
        valid=packed(valid),
        order=packed(order),
        keys=keys.flatten(1, 2),
        values=values.flatten(1, 2),
        member=member.flatten(1),
        count=count,
        mean_key=mean_key,
        mean_value=mean_value,
        variance=variance,
        radius=radius if bounds else None,
        spread=spread if bounds else None,
        heads=n,
        tiles=tokens // tile,
        tile=tile,
        width=key.shape[2],
        value_width=value.shape[2],
        threads=torch.get_num_threads(),
    )
    return found


@native.fake_of(tile_moments)
def _(
    key: Tensor, value: Tensor, valid: Tensor, order: Tensor, tile: int, bounds: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _tile_outputs(key, value, valid, order.shape[1] // tile, tile, bounds)


def _tile_outputs(
    key: Tensor, value: Tensor, valid: Tensor, tiles: int, tile: int, bounds: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    n = len(key)
    return (
        key.new_empty(n, tiles, tile, key.shape[2]),
        value.new_empty(n, tiles, tile, value.shape[2]),
        valid.new_empty(n, tiles, tile),
        *_moments_of(key, value, tiles, bounds),
    )


def _moments_of(key: Tensor, value: Tensor, sets: int, bounds: bool) -> Moments:
    n, width = len(key), key.shape[-1]
    return (
        key.new_empty(n, sets),
        key.new_empty(n, sets, width),
        key.new_empty(n, sets, value.shape[-1]),
        key.new_empty(n, sets, width),
        key.new_empty(n, sets if bounds else 0),
        key.new_empty(n, sets if bounds else 0),
    )


def _keep_tiles(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    key, _, _, order, _, _ = inputs
    ctx.size = key.shape[1]
    ctx.save_for_backward(order, output[2], output[3])


def _tiles_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """Each token's own gradient, and its part of its tile's."""
    order, member, count = ctx.saved_tensors
    share = member / count.clamp_min(1)[..., None]
    key, value = (
        _put((own + share[..., None] * mean[:, :, None]).flatten(1, 2), order, ctx.size)
        for own, mean in ((grads[0], grads[4]), (grads[1], grads[5]))
    )
    return key, value, None, None, None, None


def _put(rows: Tensor, index: Tensor, size: int) -> Tensor:
    """Rows [n, m, D] added where `index` [n, m] says, in [n, size, D]."""
    empty = rows.new_zeros(len(rows), size, rows.shape[-1])
    return empty.scatter_add(1, index[..., None].expand_as(rows), rows)


torch.library.register_autograd(tile_moments, _tiles_backward, setup_context=_keep_tiles)


@native.operator("tiled_merge")
def merged_moments(
    count: Tensor,
    key: Tensor,
    value: Tensor,
    variance: Tensor,
    radius: Tensor | None,
    spread: Tensor | None,
    index: Tensor,
    group: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`Moments` of the unions of each `group` of the sets that `index` lists.

    Args:
        count: [n, m]; key, variance: [n, m, D]; value: [n, m, E]; radius, spread: [n, m].
        index: [n, p] indices into m.
        group: sets of a union.

    Gradients flow through the means of keys and values.
    """
    unions = index.shape[1] // group
    found = _moments_of(key, value, unions, radius is not None)
    all_radius, all_spread = found[4:] if radius is not None else (None, None)
    compiled().call(
        "tiled_merge",
        key.dtype,
        count=packed(count),
        key=packed(key),
        value=packed(value),
        variance=packed(variance),
        radius=packed(radius),
        spread=packed(spread),
        index=packed(index),
        all_count=found[0],
        all_key=found[1],
        all_value=found[2],
        all_variance=found[3],
        all_radius=all_radius,
        all_spread=all_spread,
        heads=len(key),
        unions=unions,
        group=group,
        width=key.shape[2],
        value_width=value.shape[2],
        threads=torch.get_num_threads(),
    )
    return found


@native.fake_of(merged_moments)
def _(
    count: Tensor,
    key: Tensor,
    value: Tensor,
    variance: Tensor,
    radius: Tensor | None,
    spread: Tensor | None,
    index: Tensor,
    group: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _moments_of(key, value, index.shape[1] // group, radius is not None)


def _keep_unions(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    count, *_, index, group = inputs
    ctx.group = group
    ctx.save_for_backward(count, index, output[0])


def _unions_backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    """Each part's share of its union's gradient."""
    count, index, total = ctx.saved_tensors
    share = count.gather(1, index).unflatten(1, (-1, ctx.group))
    share = (share / total.clamp_min(1)[..., None])[..., None]
    key, value = (
        _put((share * mean[:, :, None]).flatten(1, 2), index, count.shape[1])
        for mean in (grads[1], grads[2])
    )
    return None, key, value, None, None, None, None, None


torch.library.register_autograd(merged_moments, _unions_backward, setup_context=_keep_unions)
