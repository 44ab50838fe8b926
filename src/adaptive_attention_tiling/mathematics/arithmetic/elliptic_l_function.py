"""The L-function of an elliptic curve over Q on the whole plane, its functional equation, BSD.

With a_n of the curve, N its conductor and theta(y) = sum_n a_n exp(-2 pi n y / sqrt N),

    Lambda(s) = (sqrt N / 2 pi)^s Gamma(s) L(s) = int_0^inf theta(y) y^s dy / y,
    theta(1/y) = w y^2 theta(y),    Lambda(s) = w Lambda(2 - s),    w = 1 or -1,

so that Lambda(s) = int_1^inf theta(y) (y^s + w y^(2-s)) dy / y: the series of incomplete gamma
functions, summed under the integral. Sources: Cohen, A Course in Computational Algebraic Number
Theory, section 7.5; Cremona, Algorithms for Modular Elliptic Curves, section 2.13; modularity is
the theorem of Wiles, Breuil, Conrad, Diamond and Taylor (2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Shaped
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError
from .elliptic_coefficients import l_coefficients
from .elliptic_curve import EllipticCurve
from .gamma import as_complex, reciprocal_gamma
from .local_reduction import conductor as conductor_of
from .local_reduction import tamagawa_product

_LARGEST_CONDUCTOR = 10**8
_DIGITS = 40.0  # theta is cut where its terms pass exp(-40)
_NODES = 160


@dataclass(frozen=True, eq=False)
class EllipticLFunction:
    """L(E, s) and its derivatives, in float64.

    Args:
        curve: E over Q, any model.
        conductor: N; None finds it by Tate's algorithm. It is checked against the functional
            equation either way.

    Raises:
        ArgumentError: a conductor below 11 or above 10^8.
        CorrectnessError: theta keeps no functional equation with this conductor.
    """

    curve: EllipticCurve
    conductor: int
    root_number: int
    _weights: Tensor  # theta(y) times the quadrature weight in ln y
    _logarithms: Tensor  # ln y

    def __init__(self, curve: EllipticCurve, conductor: int | None = None) -> None:
        found = conductor_of(curve) if conductor is None else conductor
        if not 11 <= found <= _LARGEST_CONDUCTOR:
            raise ArgumentError(
                "conductor", found, f"11 to {_LARGEST_CONDUCTOR}", "leave it to Tate's algorithm"
            )
        step = 2 * math.pi / math.sqrt(found)
        # theta is asked for at y >= 1/1.3.
        coefficients = l_coefficients(curve, math.ceil(1.3 * _DIGITS / step)).double()
        stop = math.log(max(_DIGITS / step, math.e))
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        logarithms = stop / 2 * (1 + torch.from_numpy(nodes))
        theta = _theta(coefficients, step, logarithms.exp())
        object.__setattr__(self, "curve", curve)
        object.__setattr__(self, "conductor", found)
        object.__setattr__(self, "root_number", _root_number(coefficients, step, found))
        object.__setattr__(self, "_weights", stop / 2 * torch.from_numpy(weights) * theta)
        object.__setattr__(self, "_logarithms", logarithms)

    def completed(self, s: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
        """Lambda(s) = (sqrt N / 2 pi)^s Gamma(s) L(s); w Lambda(2 - s) by construction."""
        s = as_complex(s).to(torch.cdouble)[..., None]
        u = self._logarithms
        kernel = torch.exp(s * u) + self.root_number * torch.exp((2 - s) * u)
        return (self._weights * kernel).sum(-1)

    def __call__(self, s: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
        """L(s), batched and differentiable any number of times.

        Where |Im s| <= 5, 0 <= Re s <= 4 and N <= 10^4 the error is below 1e-11; it grows with
        1 / |Gamma(s)|, by a factor of 5 a unit of |Im s|, and left of 1 with N.
        """
        s = as_complex(s).to(torch.cdouble)
        scale = torch.exp(-s * math.log(math.sqrt(self.conductor) / (2 * math.pi)))
        return scale * reciprocal_gamma(s) * self.completed(s)

    def derivative(self, order: int = 0) -> float:
        """L^(r)(1), the r-th derivative in the middle of the strip, r = order.

        For the least r with L^(r)(1) != 0 it is (2 pi / sqrt N) times that of Lambda.
        """
        if isinstance(order, bool) or not isinstance(order, int) or order < 0:
            raise ArgumentError("order", order, "an integer >= 0", "pass order=1 for L'(1)")
        s = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        value = self(s).real
        for _ in range(order):
            (value,) = torch.autograd.grad(value, s, create_graph=True)
        return float(value.detach())

    def completed_derivative(self, order: int = 0) -> float:
        """Lambda^(r)(1) = (1 + (-1)^r w) int_1^inf theta(y) (ln y)^r dy, 0 for half of r."""
        if (-1) ** order != self.root_number:
            return 0.0
        u = self._logarithms
        return float(2 * (self._weights * u.exp() * u**order).sum())

    def analytic_rank(self, tolerance: float = 1e-8) -> int:
        """The least r with |Lambda^(r)(1)| > tolerance: how often L vanishes at 1.

        That a derivative is below the tolerance proves nothing: beyond rank 1 this is numerical
        evidence, though the parity of the rank is exact.
        """
        for order in range(12):
            if abs(self.completed_derivative(order)) > tolerance:
                return order
        raise CorrectnessError("twelve derivatives of Lambda at 1 are below the tolerance")


@dataclass(frozen=True)
class BirchSwinnertonDyer:
    """L^(r)(1) / r! = Omega R (prod c_p) |Sha| / |torsion|^2, in numbers.

    Args:
        rank: r, analytic.
        leading: L^(r)(1) / r!.
        period: Omega, the least real period of the minimal model, times 2 where the real curve
            has two components.
        regulator: R = det of canonical heights on a basis, in the normalisation
            lim h(x(2^n P)) / 4^n (twice Silverman's).
        tamagawa: prod c_p.
        torsion: the number of rational torsion points.
    """

    rank: int
    leading: float
    period: float
    regulator: float
    tamagawa: int
    torsion: int

    @property
    def sha(self) -> float:
        """What the formula says of |Sha|: close to a square number, or something is amiss."""
        product = self.period * self.regulator * self.tamagawa
        return self.leading * self.torsion**2 / product


def birch_swinnerton_dyer(
    l_function: EllipticLFunction, torsion: int, regulator: float = 1.0
) -> BirchSwinnertonDyer:
    """The numbers of the conjecture of Birch and Swinnerton-Dyer; see `BirchSwinnertonDyer`.

    Args:
        l_function: of the curve.
        torsion: the order of the rational torsion group.
        regulator: 1 for rank 0.
    """
    rank = l_function.analytic_rank()
    leading = l_function.derivative(rank) / math.factorial(rank)
    curve = l_function.curve
    return BirchSwinnertonDyer(
        rank, leading, real_period(curve), regulator, tamagawa_product(curve), torsion
    )


def real_period(curve: EllipticCurve) -> float:
    """Omega = int over E(R) of dx / |2 y + a1 x + a3| on the minimal model, by means of Gauss.

    With e1 > e2 > e3 the roots of 4 x^3 + b2 x^2 + 2 b4 x + b6 it is
    2 pi / agm(sqrt(e1 - e3), sqrt(e1 - e2)); with one real root e and z = sqrt(3 e^2 + b2 e/2 +
    b4/2) it is 2 pi / agm(2 sqrt z, sqrt(3 e + b2/4 + 2 z)).

    Source: Cohen (1993), algorithm 7.4.7.
    """
    model = curve.minimal_model()
    b2, b4, b6 = (float(b) for b in model.b_invariants[:3])
    roots = np.roots([4, b2, 2 * b4, b6])
    for _ in range(2):
        slopes = 12 * roots**2 + 2 * b2 * roots + 2 * b4
        roots = roots - (4 * roots**3 + b2 * roots**2 + 2 * b4 * roots + b6) / slopes
    if model.discriminant > 0:
        third, second, first = np.sort(roots.real)
        return 2 * math.pi / _agm(math.sqrt(first - third), math.sqrt(first - second))
    e = float(roots[np.abs(roots.imag).argmin()].real)
    z = math.sqrt(3 * e * e + b2 / 2 * e + b4 / 2)
    return 2 * math.pi / _agm(2 * math.sqrt(z), math.sqrt(3 * e + b2 / 4 + 2 * z))


def _agm(a: float, b: float) -> float:
    """The common limit of arithmetic and geometric means, a, b > 0; quadratic convergence."""
    while abs(a - b) > 4e-16 * a:
        a, b = (a + b) / 2, math.sqrt(a * b)
    return a


def _theta(
    coefficients: Float[Tensor, " n"], step: float, y: Float[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """sum_n a_n exp(-step n y)."""
    n = torch.arange(1, len(coefficients) + 1, dtype=torch.float64)
    return torch.stack([(coefficients * torch.exp(-step * n * each)).sum() for each in y])


def _root_number(coefficients: Tensor, step: float, conductor: int) -> int:
    """w of theta(1/y) = w y^2 theta(y), from several y."""
    y = torch.linspace(1.02, 1.3, 8, dtype=torch.float64)
    left = _theta(coefficients, step, 1 / y)
    right = y.square() * _theta(coefficients, step, y)
    found = float((left @ right) / (right @ right))
    rounded = 1 if found > 0 else -1
    if float((left - rounded * right).abs().max()) > 1e-9 * float(right.abs().max()):
        raise CorrectnessError(
            f"theta keeps no functional equation with conductor {conductor}: theta(1/y) is "
            f"{found:.6f} y^2 theta(y), and should be 1 or -1 of it; check the conductor"
        )
    return rounded
