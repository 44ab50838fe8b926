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
    powers = torch.arange(1, degree + 1)
    place = (torch.arange(1, degree + 1, dtype=torch.float64) / degree).sqrt()

    def value(c: Tensor, x: Tensor) -> Tensor:
        return 1 + (c * x[..., None].square() ** powers).sum(-1)

    def defect(c: Tensor) -> Tensor:
        shrink = value(c, torch.ones((), dtype=torch.float64))
        return shrink * value(c, place) - value(c, value(c, shrink * place))

    coefficients = torch.zeros(degree, dtype=torch.float64)
    coefficients[:2] = torch.tensor([-1.5, 0.1], dtype=torch.float64)
    for _ in range(30):
        slope = torch.func.jacrev(defect)(coefficients)
        coefficients = coefficients - torch.linalg.solve(slope, defect(coefficients))
    return coefficients
