"""What reading tile by tile accepts."""

from __future__ import annotations

import math

from torch import Tensor

from ...errors import ArgumentError
from ..arguments import check_tensors
from .pattern_flow import PatternFlow
from .state import QuantumGeometricState


def check_tiles(query: Tensor, key: Tensor, value: Tensor, tile_size: int, near: float) -> None:
    """Raise an error that names the first of these that cannot be used."""
    check_tensors(query, key, value, enable_gqa=True)
    if query.shape[2] != key.shape[2]:
        raise ArgumentError(
            "key",
            f"{key.shape[2]} keys for {query.shape[2]} queries",
            "as many, of the same tokens",
            "which tile is a query's own would not be known otherwise",
        )
    if isinstance(tile_size, bool) or not isinstance(tile_size, int) or tile_size < 1:
        raise ArgumentError("tile_size", tile_size, "a whole number of tokens >= 1", "use 16")
    if not 0 < near < math.inf:
        raise ArgumentError("near", near, "a finite factor > 0", "use 1 for none")


def check_parts(
    query: Tensor,
    key: Tensor,
    gate: Tensor | None,
    points: Tensor | None,
    flow: PatternFlow | None,
    shares: tuple[Tensor, Tensor] | None,
) -> None:
    """Raise unless gate, points, flow and routes are of these tokens and heads."""
    batch, heads, length, _ = query.shape
    groups = key.shape[1]
    if gate is not None:
        _check_shape("gate", gate, (batch, groups, length))
    if flow is not None:
        if points is None:
            raise ArgumentError("points", None, "tangents of keys", "a flow needs distances")
        _check_shape("points", points, (batch, groups, length, points.shape[-1]))
        _check_shape("flow.rates", flow.rates, (flow.rates.shape[0], heads))
        _check_shape("flow.width", flow.width, (groups,))
    if shares is not None:
        reads, writes = shares
        routes = reads.shape[-1]
        _check_shape("routes.reads", reads, (batch, heads, length, routes))
        _check_shape("routes.writes", writes, (batch, groups, length, routes + 1))


def check_state(
    state: QuantumGeometricState, value: Tensor, sums: tuple[int, ...], tile_size: int
) -> None:
    """Raise unless a state of `sums` and `tile_size` is one that these tokens can follow."""
    if tuple(state.sums.shape) != sums or state.tile_size != tile_size:
        raise ArgumentError(
            "initial_state",
            f"sums {list(state.sums.shape)} and tiles of {state.tile_size} tokens",
            f"sums {list(sums)} and tiles of {tile_size} tokens",
            "pass the state that the same layer returned for the same rows",
        )
    if state.sums.device != value.device:
        raise ArgumentError(
            "initial_state",
            f"a state on {state.sums.device}",
            f"one on {value.device} as value is",
            "move its snapshot() and restore it",
        )


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", str(list(shape)), "check the order of axes"
        )
