"""Rotary position embedding as a flat connection of U(1)^m over positions."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ....errors import ArgumentError
from .atlas import euclidean_atlas
from .bundle import FiberBundle
from .examples import trivial_bundle
from .structure_group import StructureGroup


def rotary_frequencies(width: int, base: float = 10_000.0) -> Float[Tensor, "1 m"]:
    """w_d = base^(-2d / D) for d = 0, ..., D/2 - 1, in radians a token; one axis of positions.

    Su et al., RoFormer (2021), section 3.2.2, which counts d from 1.
    """
    if width < 2 or width % 2 or base <= 0:
        raise ArgumentError(
            "width", f"{width} with base {base}", "an even width and base > 0", "pass width=64"
        )
    half = width // 2
    return (base ** -(torch.arange(half, dtype=torch.float64) / half))[None]


def rotary_bundle(frequencies: Float[Tensor, "n m"]) -> FiberBundle:
    """C^m over positions R^n with the connection of rotary embeddings.

        A = i sum_a diag(w_a) dx^a,   transport from p to p' = diag(exp(i w (p - p')))

    A key at position p', carried to the query at p, is turned by the angle w (p' - p); the real
    part of its Hermitian product with the query is their rotary score. F = 0, since diagonal
    matrices commute: transport depends on end points alone, and a key that is carried once to
    position 0, turned by w p, can be cached there for every query.

    Args:
        frequencies: w, a row for every axis of positions: one for text, two for pictures.
    """
    _check(frequencies)
    group = StructureGroup(frequencies.shape[1], isometric=True, is_complex=True)
    form = torch.diag_embed(torch.complex(torch.zeros_like(frequencies), frequencies))
    atlas = euclidean_atlas(frequencies.shape[0], frequencies.dtype)
    return trivial_bundle(atlas, group, lambda x: form.expand(*x.shape[:-1], *form.shape))


def rotary_transport(
    frequencies: Float[Tensor, "n m"], start: Float[Tensor, "*b n"], end: Float[Tensor, "*b n"]
) -> Complex[Tensor, "*b m"]:
    """The diagonal of the bundle's transport from start to end, exp(i w (start - end))."""
    _check(frequencies)
    for name, rows in (("start", start), ("end", end)):
        if rows.dim() < 1 or rows.shape[-1] != frequencies.shape[0]:
            raise ArgumentError(
                name,
                f"shape {list(rows.shape)}",
                f"[..., {frequencies.shape[0]}]",
                "pass one position an axis",
            )
    angle = (start - end) @ frequencies
    return torch.polar(torch.ones_like(angle), angle)


def _check(frequencies: Tensor) -> None:
    if frequencies.dim() != 2 or 0 in frequencies.shape or not frequencies.is_floating_point():
        raise ArgumentError(
            "frequencies",
            f"{frequencies.dtype} {list(frequencies.shape)}",
            "floating [n, m], a row an axis of positions",
            "pass rotary_frequencies(64)",
        )
    if not bool(frequencies.detach().isfinite().all()):
        raise ArgumentError("frequencies", "NaN or infinity", "finite numbers", "leave them out")
