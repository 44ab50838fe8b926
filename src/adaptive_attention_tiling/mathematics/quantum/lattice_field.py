"""Real scalar fields on a periodic lattice: their action, draws of them, two-point functions.

Lattice spacing is 1; masses and couplings are in its units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .hybrid_monte_carlo import SampledChains, hybrid_monte_carlo


@dataclass(frozen=True)
class ScalarField:
    """A field phi with weight e^(-S) and S of fourth order.

        S = sum_x (sum_a (phi(x + a) - phi(x))^2 / 2 + m^2 phi(x)^2 / 2 + g phi(x)^4 / 24)

    With g = 0 its two-point function is `lattice_propagator`; with one site it is the field of
    `zero_dimensional_partition_function`; in one dimension it is a path of a particle.

    Args:
        shape: of the lattice, in any number of dimensions; ends are joined.
        mass_squared: m^2, above 0 unless g is.
        coupling: g >= 0.

    Montvay and Münster, Quantum Fields on a Lattice (1994), section 2.1.
    """

    shape: tuple[int, ...]
    mass_squared: float
    coupling: float = 0.0

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise ArgumentError("shape", self.shape, "lengths of at least 1", "pass (16, 16)")
        if not 0 <= self.coupling < math.inf:
            raise ArgumentError("coupling", self.coupling, "a number >= 0", "pass coupling=0.0")
        if not math.isfinite(self.mass_squared) or (self.mass_squared <= 0 and not self.coupling):
            raise ArgumentError(
                "mass_squared", self.mass_squared, "above 0 without coupling", "pass 1.0"
            )

    def action(self, field: Float[Tensor, "*b *x"]) -> Float[Tensor, "*b"]:
        """S; a negative m^2 has two wells at phi^2 = -6 m^2 / g."""
        axes = self._axes(field)
        gradient = sum((field.roll(-1, axis) - field).square() for axis in axes)
        square = field.square()
        density = (gradient + self.mass_squared * square) / 2 + self.coupling / 24 * square.square()
        return density.sum(axes)

    def two_point_function(self, field: Float[Tensor, "*b *x"]) -> Float[Tensor, "*b *x"]:
        """V^-1 sum_y phi(y) phi(y + x) of each field, by fast Fourier transforms.

        Its mean over draws is <phi(0) phi(x)>.
        """
        axes = self._axes(field)
        wave = torch.fft.rfftn(field, dim=axes)
        found: Tensor = torch.fft.irfftn(wave.abs().square(), s=self.shape, dim=axes)
        return found / math.prod(self.shape)

    def sample(
        self,
        *,
        chains: int = 64,
        draws: int = 200,
        burn_in: int = 50,
        leapfrog_steps: int = 10,
        step_length: float = 0.4,
        dtype: torch.dtype = torch.float64,
        generator: torch.Generator | None = None,
    ) -> SampledChains:
        """Fields [chains, draws, *shape], by hybrid Monte Carlo from phi = 0.

        Chains slow down as the correlation length grows; with two deep wells they stay in one, and
        no error bar tells.

        Args:
            chains: run at once, independent of each other.
            draws: kept of each chain.
            burn_in: left out before.
            leapfrog_steps: of one move.
            step_length: of each, in units of the fastest free oscillation, (4 d + |m^2|)^(-1/2).
            dtype: float64 or float32.
            generator: of random numbers.
        """
        if chains < 1:
            raise ArgumentError("chains", chains, "at least 1", "pass chains=64")
        if not step_length > 0:
            raise ArgumentError("step_length", step_length, "above 0", "pass 0.4")
        fastest = math.sqrt(4 * len(self.shape) + abs(self.mass_squared))
        return hybrid_monte_carlo(
            self.action,
            torch.zeros(chains, *self.shape, dtype=dtype),
            step_length / fastest,
            draws=draws,
            burn_in=burn_in,
            leapfrog_steps=leapfrog_steps,
            generator=generator,
        )

    def _axes(self, field: Tensor) -> tuple[int, ...]:
        count = len(self.shape)
        if field.shape[-count:] != self.shape:
            raise ArgumentError(
                "field", list(field.shape), f"[..., {list(self.shape)}]", "name every site"
            )
        return tuple(range(-count, 0))
