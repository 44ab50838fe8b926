"""The height of a point: Weil's, or the canonical one of what acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ....errors import ArgumentError
from ..elliptic_curve import EllipticCurve, Point
from ..rational_map import RationalMap
from .call_silverman import call_silverman_height
from .elliptic import canonical_height
from .weil import projective_height, rational_height


def arithmetic_height(
    point: int | Fraction | Sequence[int | Fraction] | Point,
    system: EllipticCurve | RationalMap | None = None,
) -> float:
    """h(point) in nats: the height that the system makes functorial.

    Args:
        point: a rational, or coordinates of a projective point, where system is None; a point of
            the curve (PARI's normalisation); a point of the line, None for infinity, of a map.
        system: None for Weil's height; a curve, h(nP) = n^2 h(P); a map, h(f(x)) = d h(x).

    Raises:
        ArgumentError: for points that do not fit the system.
    """
    if isinstance(system, EllipticCurve) and (point is None or isinstance(point, tuple)):
        return canonical_height(system, None if point is None else _pair(point))
    if isinstance(system, RationalMap) and (point is None or isinstance(point, int | Fraction)):
        return call_silverman_height(system, point)
    if system is None and isinstance(point, int | Fraction):
        return rational_height(point)
    if system is None and point is not None and not isinstance(point, int | Fraction):
        return projective_height(point)
    raise ArgumentError(
        "point", repr(point), "a point of the system", "pass (x, y) to curves, x to maps"
    )


def _pair(point: Sequence[int | Fraction]) -> tuple[Fraction, Fraction]:
    if len(point) != 2:
        raise ArgumentError("point", repr(point), "(x, y)", "pass an affine point of the curve")
    return Fraction(point[0]), Fraction(point[1])
