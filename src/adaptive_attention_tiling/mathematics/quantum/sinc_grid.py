"""Grids of sinc functions: kinetic energies, functions on them, and what they must hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

Potential = Callable[[Tensor], Tensor]


def sinc_kinetic(grid: Float[Tensor, " g"], mass: float) -> Float[Tensor, "g g"]:
    """p^2 / 2 m in sinc functions: T_ij = (-1)^(i-j) / (2 m h^2) (pi^2 / 3, or 2 / (i - j)^2).

    Colbert and Miller (1992), equation A7.
    """
    gap = torch.arange(len(grid), device=grid.device)
    gap = gap[:, None] - gap
    square = torch.where(gap == 0, 1, gap.square()).to(grid.dtype)
    sign = 1 - 2 * (gap % 2).to(grid.dtype)
    spacing = float(grid[-1] - grid[0]) / (len(grid) - 1)
    return sign * torch.where(gap == 0, math.pi**2 / 3, 2 / square) / (2 * mass * spacing**2)


def sampled(
    name: str, function: Potential, places: Float[Tensor, ...], shape: Sequence[int]
) -> Float[Tensor, "*g"]:
    """A function on a grid, or an ArgumentError with its name if it has another shape or NaN."""
    values = function(places)
    if values.shape != torch.Size(shape) or not bool(values.detach().isfinite().all()):
        raise ArgumentError(
            name,
            f"{list(values.shape)}, or not finite",
            f"finite {list(shape)}",
            "give one number for each place, or narrow the grid",
        )
    return values


def for_each(name: str, value: float | Sequence[float], count: int) -> list[float]:
    """One number above 0 for each axis, or an ArgumentError with the name."""
    found = [float(value)] * count if isinstance(value, (int, float)) else list(map(float, value))
    if len(found) != count or not all(0 < x < math.inf for x in found):
        raise ArgumentError(name, value, f"one number above 0, or {count}", "name every axis")
    return found


def check_ends(density: Float[Tensor, "*b"], dimensions: int) -> None:
    """Raise an ArgumentError if the last axes hold a density that is 1e-4 of its most at an end."""
    most = density.flatten(-dimensions).amax(-1)
    for a in range(-dimensions, 0):
        ends = density.movedim(a, 0)[[0, -1]].movedim(0, -1)
        if not bool((ends.flatten(-dimensions).amax(-1) <= 1e-4 * most).all()):
            raise ArgumentError(
                "half_width",
                f"paths that leave the grid along axis {a + dimensions}",
                "a density that dies away inside",
                "widen the grid, or lower the temperature",
            )


def check_grid_dtype(dtype: torch.dtype) -> None:
    """Raise an ArgumentError unless a grid can have this precision."""
    if dtype not in (torch.float64, torch.float32):
        raise ArgumentError("dtype", dtype, "float64 or float32", "pass torch.float64")


def inverse_temperature(temperature: float | Tensor, like: Tensor) -> Tensor:
    """1 / T in the dtype of another tensor, or an ArgumentError unless both are above 0."""
    found = 1 / torch.as_tensor(temperature, dtype=like.dtype, device=like.device)
    if not bool(((found.detach() > 0) & found.detach().isfinite()).all()):
        raise ArgumentError("temperature", temperature, "numbers above 0", "pass temperature=1.0")
    return found


def checked_time(time: float | complex) -> complex:
    """A finite Euclidean time with a real part of at least 0, or an ArgumentError."""
    moment = complex(time)
    if not (math.isfinite(moment.real) and math.isfinite(moment.imag) and moment.real >= 0):
        raise ArgumentError("time", time, "finite with a real part >= 0", "turn time around")
    return moment


def check_positive(name: str, value: float) -> None:
    """Raise an ArgumentError unless this is a number above 0."""
    if not 0 < value < math.inf:
        raise ArgumentError(name, value, "a number above 0", f"pass {name}=1.0")
