"""Canonical heights on elliptic curves over Q, place by place.

Everything is in the normalisation of PARI and the LMFDB, h(P) = lim h(x(2^n P)) / 4^n, which is
twice Silverman's (h(x)/2 in the limit); `canonical_height` knows both by name. Local heights are
those with lambda_v(P) - log|x(P)|_v -> 0 as P -> O, which obey

    lambda_v(2P) = 4 lambda_v(P) - log|2y + a1 x + a3|_v^2

and have no discriminant in them, so that they belong to one Weierstrass equation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError
from ..elliptic_curve import EllipticCurve, Point
from ..places import INFINITE_PLACE, Place
from ..primes import check_prime, factor, valuation
from ..rational import log_of_rational
from .green_function import green_function
from .integral_green import integral_green

Normalisation = Literal["pari", "silverman"]


def archimedean_local_height(
    invariants: Float[Tensor, "*b 4"],
    abscissa: Float[Tensor, "*b"],
    iterations: int | None = None,
) -> Float[Tensor, "*b"]:
    """lambda_inf = G(x, 1), with G the Green function of the duplication map in x.

    x(2P) = (x^4 - b4 x^2 - 2 b6 x - b8) / (4 x^3 + b2 x^2 + 2 b4 x + b6). Batched, with
    gradients in x and the b's. Lengths are measured in the curve's own, the largest of
    |b_2k|^(1/k), so that the size of the coefficients costs no digits; curves near to singular
    ones cost some, as 1/discriminant then in these lengths. First derivatives are accurate;
    second ones are not, since their terms do not decay.

    Args:
        invariants: (b2, b4, b6, b8).
        abscissa: x of points other than O; the formula also holds for x of no rational point.
        iterations: steps of the Green function; None takes what first derivatives need.
    """
    if invariants.shape[-1:] != (4,):
        raise ArgumentError(
            "invariants", f"{list(invariants.shape)}", "[*b, 4]", "pass (b2, b4, b6, b8)"
        )
    roots = [b.detach().abs() ** (1 / k) for k, b in enumerate(invariants.unbind(-1), start=1)]
    scale = torch.stack(roots, -1).amax(-1)
    b2, b4, b6, b8 = (b / scale**k for k, b in enumerate(invariants.unbind(-1), start=1))
    zero, one = torch.zeros_like(b2), torch.ones_like(b2)
    numerator = torch.stack([-b8, -2 * b6, -b4, zero, one], -1)
    denominator = torch.stack([b6, 2 * b4, b2, 4 * one, zero], -1)
    # With T = diag(1, S) the forms of b_2k / S^k are T F T^-1, so that G(X, 1) = G_S(X, S).
    point = torch.stack(torch.broadcast_tensors(abscissa, scale), -1)
    return green_function(numerator, denominator, point, iterations)


def finite_local_height(curve: EllipticCurve, point: Point, prime: int) -> Fraction:
    """The rational r in lambda_p(P) = r log p, exactly.

    For good and bad reduction and for models that are not minimal: the formula is used on the
    minimal model, where lambda_p is smaller by v_p(u^2) log p.

    Source: Silverman, Computing heights on elliptic curves, Math. Comp. 51 (1988), theorem 5.2,
    doubled and without its v(discriminant)/12.

    Raises:
        ArgumentError: for O, where it is infinite, points off the curve and p that is no prime.
    """
    check_prime("prime", prime)
    _finite_abscissa(curve, point)
    change = curve.minimal_substitution()
    local = _local_height_of_minimal(curve.substitute(change), change.apply(point), prime)
    return local - 2 * valuation(change.u, prime)


def elliptic_local_heights(curve: EllipticCurve, point: Point) -> dict[Place, float]:
    """lambda_v at "infinity" and at each prime where it is not 0; they sum to `canonical_height`.

    Raises:
        ArgumentError: for O and for points off the curve.
    """
    x = _finite_abscissa(curve, point)
    change = curve.minimal_substitution()
    model, u = curve.substitute(change), change.u
    on_model = (x - change.r) / u**2
    at_infinity = _green_of_rational(model, on_model) - math.log(on_model.denominator)
    heights: dict[Place, float] = {INFINITE_PLACE: at_infinity + 2 * log_of_rational(u)}
    bad = curve.discriminant * u.numerator * u.denominator
    suspects = factor(bad.numerator).keys() | factor(bad.denominator * x.denominator).keys()
    for prime in sorted(suspects):
        local = finite_local_height(curve, point, prime)
        if local:
            heights[prime] = float(local) * math.log(prime)
    return heights


def canonical_height(
    curve: EllipticCurve, point: Point, normalisation: Normalisation = "pari"
) -> float:
    """The Neron-Tate height: quadratic in P, h(nP) = n^2 h(P), and 0 just for torsion.

    The Green function of the coprime integers (X : Z) of x on the minimal model, and an exact
    rational multiple of log p for each prime of bad reduction; only the discriminant is
    factored, not the point. Torsion gives 0 exactly.

    Args:
        normalisation: "pari" (also the LMFDB's), lim h(x(2^n P)) / 4^n, or "silverman", half.

    Raises:
        ArgumentError: for points off the curve and for other normalisations.
    """
    if normalisation not in ("pari", "silverman"):
        raise ArgumentError(
            "normalisation", repr(normalisation), '"pari" or "silverman"', "name one of the two"
        )
    _checked(curve, point)
    if point is None or curve.torsion_order(point) is not None:
        return 0.0
    change = curve.minimal_substitution()
    model, image = curve.substitute(change), change.apply(point)
    assert image is not None
    finite = 0.0
    for prime in factor(int(model.discriminant)):
        local = _local_height_of_minimal(model, image, prime)
        denominators = max(0, -valuation(image[0], prime)) if image[0] else 0
        finite += float(local - denominators) * math.log(prime)
    height = _green_of_rational(model, image[0]) + finite
    return height if normalisation == "pari" else height / 2


def height_pairing(curve: EllipticCurve, first: Point, second: Point) -> float:
    """<P, Q> = (h(P + Q) - h(P - Q)) / 4, bilinear, with <P, P> = h(P) in PARI's normalisation.

    PARI's ellheight(E, P, Q) is this number.
    """
    total = canonical_height(curve, curve.add(first, second))
    return (total - canonical_height(curve, curve.add(first, curve.negate(second)))) / 4


def regulator(curve: EllipticCurve, points: Sequence[Point]) -> float:
    """det <P_i, P_j>: the squared volume of the lattice the points span; 1 for no points."""
    if not points:
        return 1.0
    rows = [[height_pairing(curve, p, q) for q in points] for p in points]
    return float(torch.tensor(rows, dtype=torch.float64).det())


def _local_height_of_minimal(model: EllipticCurve, point: Point, prime: int) -> Fraction:
    """The coefficient of log p on a model minimal at p."""
    assert point is not None
    x, y = point
    tangent = 3 * x * x + 2 * model.a2 * x + model.a4 - model.a1 * y
    vertical = 2 * y + model.a1 * x + model.a3
    if _order(tangent, prime) <= 0 or _order(vertical, prime) <= 0:
        return Fraction(max(0, -_order(x, prime))) if x else Fraction(0)
    return _at_singular_reduction(model, x, _order(vertical, prime), prime)


def _at_singular_reduction(
    model: EllipticCurve, x: Fraction, vertical: float, prime: int
) -> Fraction:
    discriminant = valuation(model.discriminant, prime)
    if _order(model.c_invariants[0], prime) == 0:
        component = min(Fraction(discriminant, 2), Fraction(min(vertical, discriminant)))
        return -component * (discriminant - component) / discriminant
    b2, b4, b6, b8 = model.b_invariants
    thrice = _order(3 * x**4 + b2 * x**3 + 3 * b4 * x**2 + 3 * b6 * x + b8, prime)
    if thrice >= 3 * vertical:
        return Fraction(-2 * int(vertical), 3)
    return Fraction(-int(thrice), 4)


def _green_of_rational(model: EllipticCurve, x: Fraction) -> float:
    """G(X, Z) of duplication at the coprime integers of x, on an integral model."""
    b2, b4, b6, b8 = (int(b) for b in model.b_invariants)
    numerator, denominator = (-b8, -2 * b6, -b4, 0, 1), (b6, 2 * b4, b2, 4, 0)
    return integral_green(numerator, denominator, x.numerator, x.denominator)


def _order(number: Fraction, prime: int) -> float:
    """v_p with v_p(0) = infinity."""
    return valuation(number, prime) if number else math.inf


def _checked(curve: EllipticCurve, point: Point) -> None:
    if point is not None:
        curve.point(*point)


def _finite_abscissa(curve: EllipticCurve, point: Point) -> Fraction:
    if point is None:
        raise ArgumentError("point", "O", "a point other than O", "local heights are infinite at O")
    return curve.point(*point)[0]
