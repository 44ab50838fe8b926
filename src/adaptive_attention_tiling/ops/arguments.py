"""Checks that all attention operations share: each names what came and what was expected."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ArgumentError


@dataclass(frozen=True)
class Explanation:
    """Which implementation a call would take, and why."""

    implementation: str
    reason: str

    def __str__(self) -> str:
        return f"{self.implementation}: {self.reason}"


def check_tensors(
    query: Tensor, key: Tensor, value: Tensor, *, enable_gqa: bool, allow_complex: bool = False
) -> None:
    """Raise an ArgumentError for the first tensor that does not fit the others.

    With `allow_complex`, query and key may be complex together, of the value's precision.
    """
    if allow_complex and query.is_complex():
        _check_complex(query, key, value)
        query, key = query.real, key.real
    for name, tensor in {"query": query, "key": key, "value": value}.items():
        if tensor.dim() != 4:
            raise ArgumentError(
                name, f"shape {list(tensor.shape)}", "4 axes [B, H, T, D]", "add the batch axis"
            )
        if not tensor.is_floating_point():
            raise ArgumentError(name, tensor.dtype, "a floating dtype", f"use {name}.float()")
        if tensor.dtype != query.dtype or tensor.device != query.device:
            raise ArgumentError(
                name,
                f"{tensor.dtype} on {tensor.device}",
                f"{query.dtype} on {query.device} as query has",
                f"use {name}.to(query)",
            )
    if key.shape[:3] != value.shape[:3]:
        raise ArgumentError(
            "value",
            f"shape {list(value.shape)}",
            f"[B, G, S] = {list(key.shape[:3])} as key has",
            "pass the values of the same tokens",
        )
    if key.shape[0] != query.shape[0] or key.shape[3] != query.shape[3]:
        raise ArgumentError(
            "key",
            f"shape {list(key.shape)}",
            f"batch {query.shape[0]} and head width {query.shape[3]} as query has",
            "check the order of axes: [B, H, T, D]",
        )
    if key.shape[1] == 0 or query.shape[1] % key.shape[1]:
        raise ArgumentError(
            "key",
            f"{key.shape[1]} heads",
            f"a divisor of the {query.shape[1]} query heads",
            "check the number of key/value heads",
        )
    if key.shape[1] != query.shape[1] and not enable_gqa:
        raise ArgumentError(
            "enable_gqa",
            f"False with {query.shape[1]} query and {key.shape[1]} key heads",
            "True when they differ",
            "pass enable_gqa=True if key heads are shared",
        )


def _check_complex(query: Tensor, key: Tensor, value: Tensor) -> None:
    if query.dtype not in (torch.complex64, torch.complex128):
        raise ArgumentError(
            "query", query.dtype, "torch.complex64 or torch.complex128", "use query.cfloat()"
        )
    for name, tensor, wanted in (
        ("key", key, query.dtype),
        ("value", value, query.real.dtype),
    ):
        if tensor.dtype != wanted:
            raise ArgumentError(
                name,
                tensor.dtype,
                f"{wanted} beside a query of {query.dtype}",
                f"use {name}.to({wanted})",
            )


def check_padding_mask(mask: Tensor | None, key: Tensor) -> None:
    """Raise an ArgumentError unless the mask has one flag for each key."""
    if mask is None:
        return
    expected = [key.shape[0], key.shape[2]]
    if list(mask.shape) != expected or mask.dtype != torch.bool:
        raise ArgumentError(
            "key_padding_mask",
            f"{mask.dtype} {list(mask.shape)}",
            f"torch.bool {expected}, True for tokens",
            "pass attention_mask.bool() of the tokenizer",
        )


def check_implementation(implementation: str | None, known: tuple[str, ...]) -> None:
    """Raise an ArgumentError for a name that is not an implementation."""
    if implementation is not None and implementation not in known:
        raise ArgumentError(
            "implementation",
            repr(implementation),
            f"one of {known} or None",
            "check the spelling, or leave it out",
        )
