"""What a `KeyTree` refuses."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ArgumentError


def check_tokens(
    key: Tensor,
    value: Tensor,
    valid: Tensor | None,
    scale: Tensor | None,
    waiting: tuple[Tensor, Tensor, Tensor] | None,
) -> None:
    """Refuse tokens whose shapes or dtypes do not fit together, or those that came before."""
    if key.dim() != 3 or key.dtype not in (torch.float32, torch.float64):
        raise ArgumentError("key", _kind(key), "[n, S, D] of float32 or float64", "cast it")
    if value.dim() != 3 or value.shape[:2] != key.shape[:2] or value.dtype != key.dtype:
        expected = f"[{key.shape[0]}, {key.shape[1]}, E] of {key.dtype}"
        raise ArgumentError("value", _kind(value), expected, "pass one value a key")
    for name, got, wanted in (
        ("valid", valid, [*key.shape[:2]]),
        ("scale", scale, [key.shape[0], key.shape[2]]),
    ):
        if got is not None and list(got.shape) != wanted:
            raise ArgumentError(name, list(got.shape), str(wanted), "pass one as for these keys")
    for name, new, old in zip(("key", "value"), (key, value), waiting or (), strict=False):
        if (new.shape[0], new.shape[2], new.dtype) != (old.shape[0], old.shape[2], old.dtype):
            expected = f"[{old.shape[0]}, S, {old.shape[2]}] of {old.dtype}, as before"
            raise ArgumentError(name, _kind(new), expected, "use another tree")


def check_query(query: Tensor, keys: Tensor) -> None:
    """Refuse queries that do not fit to tiles of keys [n, M, L, D]."""
    fits = query.dim() == 3 and (query.shape[0], query.shape[2]) == (keys.shape[0], keys.shape[3])
    if not fits or query.dtype != keys.dtype:
        expected = f"[{keys.shape[0]}, T, {keys.shape[3]}] of {keys.dtype}"
        raise ArgumentError(
            "query", _kind(query), expected, "put the heads of a group side by side"
        )


def check_far(far: Tensor, blocks: int) -> None:
    """Refuse anything but one truth value for each finished super-block."""
    if list(far.shape) != [blocks] or far.dtype != torch.bool:
        raise ArgumentError("far", _kind(far), f"[{blocks}] of torch.bool", "mark super-blocks")


def check_order(order: int) -> None:
    """Refuse orders other than 1 and 2."""
    if order not in (1, 2):
        raise ArgumentError("order", order, "1 or 2", "1 reads means, 2 their spread as well")


def _kind(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} {tensor.dtype}"
