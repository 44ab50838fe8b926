"""Changes of scale, and how far they change a pattern."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...errors import ArgumentError

Function = Callable[[Tensor], Tensor]


class Rescaling(NamedTuple):
    """f(x) to b^y f(b x), which keeps f with f(b x) = b^-y f(x).

    Args:
        factor: b > 0, other than 1.
        exponent: y, twice the scaling dimension where f is a correlation.
    """

    factor: float
    exponent: float


def before_and_after(
    pattern: Tensor | Function, transformation: Callable[[Any], Any] | Rescaling,
    points: Tensor | None, seed: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A pattern, or a function's values at the points, and the same after the transformation.

    Raises:
        ArgumentError: another kind; values of another shape; a transformation that changes nothing,
            of which every pattern would be a fixed point, or a function that is 0.
    """
    whole = isinstance(pattern, Tensor) and not pattern.is_floating_point()
    if whole or not (callable(pattern) or isinstance(pattern, Tensor)):
        got = pattern.dtype if isinstance(pattern, Tensor) else type(pattern).__name__
        raise ArgumentError("pattern", got, "a tensor of real numbers or a function", "pass one")
    if isinstance(transformation, Rescaling):
        return _rescaled(pattern, transformation, _checked(points))
    if not callable(transformation):
        raise ArgumentError(
            "scale_transformation", type(transformation).__name__,
            "a map from pattern to pattern, from function to function, or a Rescaling",
            "pass one of these",
        )  # fmt: skip
    with torch.no_grad():
        if isinstance(pattern, Tensor):
            found = pattern, transformation(pattern)
            generator = torch.Generator().manual_seed(seed)
            noise = torch.randn(pattern.shape, generator=generator, dtype=torch.float64)
            size = pattern.abs().max().clamp(min=1e-3) if pattern.numel() else 1
            other = pattern + 1e-3 * size * noise.to(pattern)
            probed = other, transformation(other)
        else:
            at = _checked(points)
            found = pattern(at), transformation(pattern)(at)

            def bent(x: Tensor) -> Tensor:
                return pattern(x) * (1 + 1e-3 * (1.7 * x + 0.3).sin())

            probed = bent(at), transformation(bent)(at)
    before, after = found
    if not isinstance(after, Tensor) or after.shape != before.shape or not before.numel():
        raise ArgumentError(
            "scale_transformation", f"a {list(before.shape)} made other",
            "as many numbers as before", "keep the space of patterns",
        )  # fmt: skip
    rounding = 64 * torch.finfo(probed[0].dtype).eps * float(probed[0].abs().max())
    if float((probed[1] - probed[0]).abs().max()) <= rounding:
        raise ArgumentError(
            "scale_transformation", "one that changes nothing", "one that moves other patterns",
            "every pattern is a fixed point of this one",
        )  # fmt: skip
    return before.detach(), after.detach()


def _rescaled(pattern: Tensor | Function, change: Rescaling, at: Tensor) -> tuple[Tensor, Tensor]:
    b, y = change
    if not 0 < b < math.inf or b == 1 or not math.isfinite(y):
        raise ArgumentError("scale_transformation", tuple(change), "b > 0, not 1, y finite", "pass")
    if isinstance(pattern, Tensor):
        raise ArgumentError("pattern", "a tensor", "a function, beside a Rescaling", "pass f(x)")
    with torch.no_grad():
        found = pattern(at).detach(), (b**y * pattern(b * at)).detach()
    if bool((found[0] == 0).all()):
        raise ArgumentError("pattern", "0 at all points", "one that is not 0", "choose points")
    return found


def _checked(points: Tensor | None) -> Tensor:
    if points is None or not points.is_floating_point() or not points.numel():
        raise ArgumentError(
            "points", None if points is None else list(points.shape),
            "floating, one or more, where functions are compared",
            "pass PatternValidation(points=...)",
        )  # fmt: skip
    return points.detach()
