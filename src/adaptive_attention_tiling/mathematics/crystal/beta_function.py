"""Beta functions: couplings as they run with the logarithm of length.

dK / dl = beta(K), l = ln(length), grows towards large scales. Books that follow momenta mu have
mu dK / d mu = -beta(K).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate
from .anomaly import check_colours
from .block_map import applied

Beta = Callable[[Tensor], Tensor]


def beta_flow(
    beta: Beta,
    couplings: Float[Tensor, "*b n"],
    log_scales: Float[Tensor, " t"],
    tolerance: float = 1e-10,
) -> Float[Tensor, "t *b n"]:
    """The solution of dK / dl = beta(K), K(log_scales[0]) = couplings, at each log_scale.

    Args:
        beta: takes and gives couplings [*b, n].
        couplings: where the flow begins.
        log_scales: l, rising (coarser) or falling (finer).
        tolerance: relative error of a step.

    Raises:
        ArgumentError: K runs to infinity before the last log_scale.
    """
    return integrate(
        lambda _, k: applied(beta, k),
        couplings,
        log_scales,
        relative_tolerance=tolerance,
        absolute_tolerance=1e-3 * tolerance,
    )


def phi4_beta(
    couplings: Float[Tensor, "*b 2"], epsilon: Tensor | float, components: int = 1, loops: int = 2
) -> Float[Tensor, "*b 2"]:
    """Beta function of the O(N) model with (g / 4!) (phi^2)^2 in 4 - epsilon dimensions.

        dr/dl = r (2 - (N + 2) g / 3 + 5 (N + 2) g^2 / 18)
        dg/dl = epsilon g - (N + 8) g^2 / 3 + (3 N + 14) g^3 / 3

    in minimal subtraction, g in units of 16 pi^2, r the squared mass. One loop has the fixed point
    g* = 3 epsilon / (N + 8), two loops give nu to second order in epsilon.

    Args:
        couplings: (r, g).
        epsilon: 4 - d.
        components: N >= 1.
        loops: 1 or 2.

    Kleinert and Schulte-Frohlinde, Critical Properties of phi^4-Theories (2001), sections 10.3 and
    10.5; their g is ours over 2.
    """
    if components < 1:
        raise ArgumentError("components", components, "a whole number >= 1", "pass N of O(N)")
    if loops not in (1, 2):
        raise ArgumentError("loops", loops, "1 or 2", "higher orders are not here")
    if couplings.shape[-1:] != (2,):
        raise ArgumentError("couplings", f"shape {list(couplings.shape)}", "[..., 2]", "(r, g)")
    r, g = couplings.unbind(-1)
    mass = 2 - (components + 2) / 3 * g
    quartic = epsilon - (components + 8) / 3 * g
    if loops == 2:
        mass = mass + 5 * (components + 2) / 18 * g.square()
        quartic = quartic + (3 * components + 14) / 3 * g.square()
    return torch.stack([r * mass, g * quartic], -1)


class GaugeBeta(NamedTuple):
    """Coefficients of da/dl = 2 b0 a^2 + 2 b1 a^3 with a = (g / 4 pi)^2, exact."""

    one_loop: Fraction
    """b0 > 0: asymptotic freedom."""
    two_loops: Fraction
    """b1; b0 > 0 > b1 has the fixed point a* = -b0 / b1."""

    def __call__(self, couplings: Float[Tensor, "*b 1"]) -> Float[Tensor, "*b 1"]:
        """beta of a."""
        b0, b1 = float(self.one_loop), float(self.two_loops)
        return 2 * couplings.square() * (b0 + b1 * couplings)


def gauge_beta(colours: int, flavours: int) -> GaugeBeta:
    """Running of SU(N) with n Dirac fermions in the fundamental representation.

    b0 = 11 N / 3 - 2 n / 3, b1 = 34 N^2 / 3 - n (13 N / 3 - 1 / N).

    Args:
        colours: N >= 2.
        flavours: n >= 0.

    Gross and Wilczek, Politzer, Phys. Rev. Lett. 30 (1973) 1343, 1346; Caswell, Phys. Rev. Lett.
    33 (1974) 244.
    """
    check_colours(colours)
    if flavours < 0:
        raise ArgumentError("flavours", flavours, "a whole number >= 0", "count Dirac fermions")
    return GaugeBeta(
        Fraction(11 * colours - 2 * flavours, 3),
        Fraction(34 * colours**2, 3)
        - flavours * (Fraction(13 * colours, 3) - Fraction(1, colours)),
    )
