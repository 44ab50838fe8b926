"""Period doubling: superstable cycles of the logistic map and Feigenbaum's constants."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


class PeriodDoubling(NamedTuple):
    """What superstable cycles of periods 1, 2, 4, ... tell of the onset of chaos."""

    parameters: Tensor
    """r_n [n] at which the cycle of period 2^n holds the critical point 1/2."""
    ratios: Tensor
    """(r_n - r_{n-1}) / (r_{n+1} - r_n), which come to delta = 4.6692016091 [n - 2]."""
    onset: Tensor
    """r_infinity = 3.5699456719, extrapolated with the last ratio."""


def period_doubling(doublings: int = 10) -> PeriodDoubling:
    """Superstable parameters of x -> r x (1 - x), by Newton's method in 50 decimal digits.

    Double precision loses the ratios' digits at about period 2^10, for differences of r_n fall by
    delta each time.

    Args:
        doublings: up to period 2^doublings, 3 to 16; the time doubles with each.

    Feigenbaum, J. Stat. Phys. 19 (1978) 25.
    """
    if not 3 <= doublings <= 16:
        raise ArgumentError("doublings", doublings, "3 to 16", "pass 10")
    with localcontext() as context:
        context.prec = 50
        found = [Decimal(2), 1 + Decimal(5).sqrt()]
        delta = Decimal("4.669")
        for order in range(2, doublings + 1):
            step = found[-1] - found[-2]
            found.append(_superstable(found[-1] + step / delta, 2**order, abs(step)))
            delta = step / (found[-1] - found[-2])
        steps = [later - earlier for earlier, later in pairwise(found)]
        ratios = [earlier / later for earlier, later in pairwise(steps)]
        onset = found[-1] + steps[-1] / (ratios[-1] - 1)
    parameters, quotients = (
        torch.tensor([float(value) for value in values], dtype=torch.float64)
        for values in (found, ratios)
    )
    return PeriodDoubling(parameters, quotients, parameters.new_tensor(float(onset)))


def _superstable(guess: Decimal, period: int, scale: Decimal) -> Decimal:
    for _ in range(20):
        value, slope = Decimal("0.5"), Decimal(0)
        for _ in range(period):
            slope = value * (1 - value) + guess * (1 - 2 * value) * slope
            value = guess * value * (1 - value)
        change = (value - Decimal("0.5")) / slope
        guess -= change
        # The next change would be of the size of this one's square.
        if abs(change) <= scale * Decimal("1e-15"):
            break
    return guess


def feigenbaum_function(degree: int = 11) -> Float[Tensor, " n"]:
    """Coefficients c of g(x) = 1 + c_1 x^2 + c_2 x^4 + ..., the fixed point of doubling.

    g(x) = alpha g(g(x / alpha)) with alpha = 1 / g(1) = -2.5029078751, solved at as many
    places of [0, 1] as there are coefficients.

    Args:
        degree: number of coefficients, 2 to 14.

    Cvitanovic, Universality in Chaos, 2nd edition (1989), equation 1.16; Feigenbaum,
    J. Stat. Phys. 21 (1979) 669.
    """
    if not 2 <= degree <= 14:
        raise ArgumentError("degree", degree, "2 to 14", "pass 11")

    def defect(c: Tensor) -> Tensor:
        powers, place = _places(c)
        shrink = 1 + c.sum()
        inner = _even_value(c, shrink * place, powers)
        return shrink * _even_value(c, place, powers) - _even_value(c, inner, powers)

    coefficients = torch.zeros(degree, dtype=torch.float64)
    coefficients[:2] = torch.tensor([-1.5, 0.1], dtype=torch.float64)
    for _ in range(30):
        slope = torch.func.jacrev(defect)(coefficients)
        coefficients = coefficients - torch.linalg.solve(slope, defect(coefficients))
    return coefficients


def doubling_bifurcations(count: int = 5) -> Float[Tensor, " n"]:
    """r at which the logistic map's cycles of periods 1, 2, 4, ... lose stability: 3, 1 + sqrt 6...

    There f^p(x) = x and the cycle's multiplier (f^p)'(x) is -1, and a cycle of twice the period is
    born; solved by Newton's method from between the superstable cycles of both periods.

    Args:
        count: 1 to 8.

    Strogatz, Nonlinear Dynamics and Chaos (1994), section 10.3.
    """
    if not 1 <= count <= 8:
        raise ArgumentError("count", count, "1 to 8", "pass 5")
    superstable = period_doubling(max(3, count)).parameters.tolist()
    found = []
    for order in range(count):
        # The onset lies about 0.7 of the way between the two.
        r = 0.3 * superstable[order] + 0.7 * superstable[order + 1]
        found.append(_onset(r, 2**order))
    return torch.tensor(found, dtype=torch.float64)


def _onset(r: float, period: int) -> float:
    start = 0.5
    for _ in range(200 * period):
        start = r * start * (1 - start)
    for _ in range(12):
        x, slope, by_r = start, 1.0, 0.0
        bend, slope_by_r = 0.0, 0.0
        for _ in range(period):
            # Derivatives of the orbit and of its multiplier by the start and by r.
            inner = r * (1 - 2 * x)
            bend = inner * bend - 2 * r * slope**2
            slope_by_r = inner * slope_by_r + (1 - 2 * x - 2 * r * by_r) * slope
            by_r, slope = x * (1 - x) + inner * by_r, inner * slope
            x = r * x * (1 - x)
        gap, excess = x - start, slope + 1
        determinant = (slope - 1) * slope_by_r - by_r * bend
        start -= (gap * slope_by_r - excess * by_r) / determinant
        r -= ((slope - 1) * excess - bend * gap) / determinant
    return r


def doubling_operator(coefficients: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """R(g)(x) = alpha g(g(x / alpha)), alpha = 1 / g(1), of g(x) = 1 + sum_k c_k x^(2k).

    The block map of period doubling: its fixed point is `feigenbaum_function`, whose only relevant
    eigenvalue is delta = 4.6692016091. R(g) is cut at g's degree.

    Args:
        coefficients: c, with g(1) unlike 0.

    Feigenbaum, J. Stat. Phys. 21 (1979) 669; Collet and Eckmann, Iterated Maps on the Interval as
    Dynamical Systems (1980), section III.3.
    """
    one = torch.ones_like(coefficients[..., :1])
    outer = torch.cat([one, coefficients], -1)
    shrink = outer.sum(-1, keepdim=True)
    inner = outer * shrink ** (2 * torch.arange(outer.shape[-1], device=outer.device))
    square = _cut_product(inner, inner)
    power = torch.cat([one, torch.zeros_like(coefficients)], -1)
    total = power
    for c in coefficients.unbind(-1):
        power = _cut_product(power, square)
        total = total + c[..., None] * power
    return total[..., 1:] / shrink


def _cut_product(one: Float[Tensor, "*b n"], other: Float[Tensor, "*b n"]) -> Tensor:
    """Of two power series with n terms."""
    size = one.shape[-1]
    number = torch.arange(size, device=one.device)
    lag = number[:, None] - number
    shifted = torch.where(lag >= 0, other[..., lag.clamp(min=0)], 0.0)
    product: Tensor = (shifted @ one[..., None])[..., 0]
    return product


def _places(coefficients: Tensor) -> tuple[Tensor, Tensor]:
    size = coefficients.shape[-1]
    powers = torch.arange(1, size + 1, device=coefficients.device)
    return powers, (powers.to(coefficients) / size).sqrt()


def _even_value(coefficients: Tensor, x: Tensor, powers: Tensor) -> Tensor:
    """1 + sum_k c_k x^(2k) at places [*b, m]."""
    return 1 + (coefficients[..., None, :] * x[..., None].square() ** powers).sum(-1)
