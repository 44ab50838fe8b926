"""What the scan accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import ArgumentError
from ..arguments import check_implementation

IMPLEMENTATIONS = ("reference", "chunked", "native")

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a caller wants scanned; see `selective_scan`."""

    x: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    delta_bias: Tensor | None
    resolution: Tensor | float | None
    padding: Tensor | None
    cu_seqlens: Tensor | None
    rollback_limit: int
    implementation: str | None

    def promoted(self) -> Scan:
        """With all tensors that are computed with in float32 or wider."""
        dtype = torch.promote_types(self.x.dtype, torch.float32)
        names = ("x", "delta", "A", "B", "C", "D", "z", "delta_bias")
        present = {name: getattr(self, name) for name in names}
        return replace(self, **{n: t.to(dtype) for n, t in present.items() if t is not None})


def check_scan(given: Scan) -> None:
    """Raise an error that names the first argument of `selective_scan` that cannot be used."""
    x, A = given.x, given.A
    _check_sides(x, A, 3, "[B, T, I]")
    batch, length, width = x.shape
    token, channel = (batch, length, width), (batch, length, A.shape[1])
    expected = {"delta": token, "B": channel, "C": channel, "D": (width,), "z": token}
    for name, shape in {**expected, "delta_bias": (width,)}.items():
        _check_tensor(name, getattr(given, name), shape, x)
    check_resolution(given.resolution, (batch, length))
    _check_rows(given)
    check_implementation(given.implementation, IMPLEMENTATIONS)
    limit = given.rollback_limit
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ArgumentError(
            "rollback_limit", limit, "a whole number of tokens >= 0", "use 0 for none"
        )


def _check_rows(given: Scan) -> None:
    padding, shape = given.padding, given.x.shape[:2]
    if padding is not None and (padding.dtype != torch.bool or padding.shape != shape):
        raise ArgumentError(
            "padding",
            f"{padding.dtype} {list(padding.shape)}",
            f"torch.bool {list(shape)}, True for tokens",
            "pass attention_mask.bool() of the tokenizer",
        )
    if given.cu_seqlens is not None and (shape[0] != 1 or padding is not None):
        raise ArgumentError(
            "cu_seqlens",
            f"a batch of {shape[0]}" if padding is None else "padding beside it",
            "a batch of one row that holds all sequences, without padding",
            "join the sequences along time",
        )


def check_step(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    z: Tensor | None,
    delta_bias: Tensor | None,
    resolution: float | None,
) -> None:
    """The same for `selective_step`."""
    _check_sides(x, A, 2, "[B, I]")
    batch, width, channels = *x.shape, A.shape[1]
    expected: list[tuple[str, Tensor | None, Shape]] = [
        ("delta", delta, (batch, width)),
        ("B", B, (batch, channels)),
        ("C", C, (batch, channels)),
        ("D", D, (width,)),
        ("z", z, (batch, width)),
        ("delta_bias", delta_bias, (width,)),
    ]
    for name, tensor, shape in expected:
        _check_tensor(name, tensor, shape, x)
    _check_state("state", state, (batch, width, channels), x)
    check_resolution(resolution, None)


def check_tiles(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, resolution: float) -> None:
    """The same for `tile_contributions`."""
    _check_sides(x, A, max(2, x.dim()), "[..., L, I]")
    _check_tensor("delta", delta, tuple(x.shape), x)
    _check_tensor("B", B, (*x.shape[:-1], A.shape[1]), x)
    check_resolution(resolution, None)


def check_resolution(resolution: Tensor | float | None, shape: Shape | None) -> None:
    """Raise unless all of it is in (0, 1]; a tensor only of the given shape."""
    if resolution is None:
        return
    if isinstance(resolution, Tensor):
        if shape is None or tuple(resolution.shape) != shape:
            raise ArgumentError(
                "resolution",
                f"shape {list(resolution.shape)}",
                "one number" if shape is None else f"[B, T] = {list(shape)}, or one number",
                "give every token its resolution",
            )
        good = resolution.is_floating_point()
        good = good and bool(((resolution > 0) & (resolution <= 1)).all())
        got: object = f"{resolution.dtype} " + (
            f"from {float(resolution.min()):.4g} to {float(resolution.max()):.4g}"
        )
    else:
        good = not isinstance(resolution, bool) and isinstance(resolution, int | float)
        good = good and math.isfinite(resolution) and 0 < resolution <= 1
        got = resolution
    if not good:
        raise ArgumentError(
            "resolution", got, "numbers in (0, 1]", "pass n / N to use n of N channels"
        )


def check_initial_state(state: Tensor, shape: Shape, given: Scan, rollback_limit: int) -> None:
    """Raise unless it is a state [B, I, N] of these rows, which can be taken back as far."""
    _check_state("initial_state", state, shape, given.x)
    if rollback_limit != given.rollback_limit:
        raise ArgumentError(
            "rollback_limit",
            f"{given.rollback_limit} with a state made for {rollback_limit}",
            "the number that the state was made with",
            f"pass rollback_limit={rollback_limit}, or start without a state",
        )


def _check_sides(x: Tensor, A: Tensor, axes: int, layout: str) -> None:
    if x.dim() != axes or not x.is_floating_point() or x.numel() == 0:
        raise ArgumentError(
            "x", f"{x.dtype} {list(x.shape)}", f"floating {layout}, not empty", "add the batch axis"
        )
    if A.dim() != 2 or A.shape[0] != x.shape[-1] or A.shape[1] == 0:
        raise ArgumentError(
            "A",
            f"shape {list(A.shape)}",
            f"[I, N] = [{x.shape[-1]}, N >= 1]",
            "A has a row for each inner channel of x",
        )
    _check_kind("A", A, x)


def _check_tensor(name: str, tensor: Tensor | None, shape: Shape, x: Tensor) -> None:
    if tensor is None:
        return
    if tuple(tensor.shape) != shape:
        raise ArgumentError(
            name, f"shape {list(tensor.shape)}", str(list(shape)), "check the order of axes"
        )
    _check_kind(name, tensor, x)


def _check_state(name: str, state: Tensor, shape: Shape, x: Tensor) -> None:
    """A state lasts for many tokens, so that it is never in half precision."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    _check_tensor(name, state, shape, torch.empty(0, dtype=dtype, device=x.device))


def _check_kind(name: str, tensor: Tensor, x: Tensor) -> None:
    kinds = {x.dtype, torch.promote_types(x.dtype, torch.float32)}
    if tensor.dtype not in kinds or tensor.device != x.device:
        raise ArgumentError(
            name,
            f"{tensor.dtype} on {tensor.device}",
            f"{x.dtype} on {x.device} as x has",
            f"use {name}.to(x)",
        )
