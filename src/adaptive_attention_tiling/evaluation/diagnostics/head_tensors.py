"""What every diagnostic asks of the tensors of one head."""

from __future__ import annotations

from torch import Tensor

from ...errors import ArgumentError


def check_head(query: Tensor, key: Tensor, value: Tensor | None = None) -> None:
    """Refuse anything but finite query and key [T, D], and value [T, E], of one head."""
    if query.dim() != 2 or query.shape != key.shape or not query.is_floating_point():
        raise ArgumentError(
            "query",
            f"query {list(query.shape)} and key {list(key.shape)}",
            "floating [T, D] of one head, both alike",
            "pass query[0, head] and the key of its group",
        )
    if value is not None and (
        value.dim() != 2 or len(value) != len(query) or not value.is_floating_point()
    ):
        raise ArgumentError(
            "value",
            f"{value.dtype} {list(value.shape)}",
            f"floating [{len(query)}, E], one row a token",
            "pass value[0, group] of the same tokens",
        )
    for name, given in (("query", query), ("key", key), ("value", value)):
        if given is not None and not bool(given.isfinite().all()):
            raise ArgumentError(name, "NaN or infinity", "finite numbers", "leave such tokens out")
