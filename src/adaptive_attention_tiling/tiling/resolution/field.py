"""The resolution of the tiles of a sequence as a field that relaxes and diffuses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics.chain_diffusion import distances
from .chain import before_each, lengths_like
from .energy import AbstractEnergy
from .proximal import Proximal, descend, polish
from .sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class ResolutionField:
    """dR/dt = -grad E(R) + diffusion Laplacian(R) on a chain of tiles, R in [minimum, 1].

    With h_i the length of tile i and d_i = (h_i + h_{i+1}) / 2 the distance of two centres, in
    the inner product <u, v> = sum_i h_i u_i v_i and without flux through the ends,

        E(R) = sum_i h_i e_i(R_i),
        (Laplacian R)_i = ((R_{i+1} - R_i) / d_i - (R_i - R_{i-1}) / d_{i-1}) / h_i,
        F(R) = E(R) + diffusion / 2 sum_i (R_{i+1} - R_i)^2 / d_i;

    the flow descends F. A step is implicit, backward Euler with the bounds as constraints:

        R' = argmin over [minimum, 1] of  <R' - R, R' - R> / (2 dt) + F(R'),

    so F(R') <= F(R) - <R' - R, R' - R> / (2 dt) for every dt > 0: energy never increases. Inside
    the bounds the step is of first order in time. Source: finite volumes for the Laplacian
    (Eymard, Gallouet and Herbin, 2000), minimising movements for the step (De Giorgi, 1993).

    A causal field relaxes each tile against the one before it, as that is after the step:

        R'_i = argmin of  h_i (R'_i - R_i)^2 / (2 dt) + h_i e_i(R'_i)
                          + diffusion / 2 (R'_i - R'_{i-1})^2 / d_{i-1},

    and no tile depends on later ones: a sequence in pieces gives what the whole gives, bit for
    bit. It is no gradient flow, and F may increase; what never increases is each tile's own
    h_i e_i + diffusion / 2 (R_i - R'_{i-1})^2 / d_{i-1}.

    Attributes:
        diffusion: >= 0, in squared units of length per unit of time.
        minimum: R_min, in (0, 1).
        causal: one-sided as above.
    """

    diffusion: float | Tensor
    minimum: float = 1 / 16
    causal: bool = False

    def __post_init__(self) -> None:
        if not bool(torch.as_tensor(self.diffusion).detach().ge(0).all()):
            raise ArgumentError("diffusion", self.diffusion, "a number >= 0", "pass diffusion=0")
        if not 0 < self.minimum < 1:
            raise ArgumentError(
                "minimum", self.minimum, "a number between 0 and 1", "pass minimum=1/16"
            )

    def total_energy(
        self,
        resolution: Float[Tensor, "*n M"],
        energy: AbstractEnergy,
        *,
        lengths: Float[Tensor, "*n M"] | None = None,
    ) -> Float[Tensor, "*n"]:
        """F(R)."""
        lengths = lengths_like(resolution, lengths)
        rough = (resolution.diff(dim=-1).square() / distances(lengths)).sum(-1)
        return (lengths * energy.value(resolution)).sum(-1) + 0.5 * self.diffusion * rough

    def step(
        self,
        resolution: Float[Tensor, "*n M"],
        energy: AbstractEnergy,
        dt: float,
        *,
        lengths: Float[Tensor, "*n M"] | None = None,
        before: tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]] | None = None,
    ) -> Float[Tensor, "*n M"]:
        """R after a step of `dt`; differentiable once in R, the energy's tensors and diffusion.

        Solved in float64 whatever the dtype of R. Values of R outside the bounds are moved to them
        first.

        Args:
            lengths: of the tiles; None is 1 for each.
            before: of a causal field, the stepped resolution and the length of the tile before
                the first one given here.
        """
        self._check(dt, before)
        start = resolution.double().clamp(self.minimum, 1.0)
        lengths = lengths_like(start, lengths)
        energy = energy.map(lambda x: x.to(start).expand_as(start))
        if self.causal:
            return self._sweep(start, energy, dt, lengths, before, resolution.dtype).to(resolution)
        problem = Proximal(
            start=start,
            energy=energy,
            lengths=lengths,
            dt=dt,
            tie=self.diffusion / distances(lengths),
            minimum=self.minimum,
        )
        return polish(problem, descend(problem)).to(resolution)

    def _sweep(
        self,
        start: Tensor,
        energy: AbstractEnergy,
        dt: float,
        lengths: Tensor,
        before: tuple[Tensor, Tensor] | None,
        dtype: torch.dtype,
    ) -> Tensor:
        distance = before_each(lengths, None if before is None else before[1])
        return Sweep(
            start=start,
            energy=energy,
            lengths=lengths,
            dt=dt,
            tie=self.diffusion / distance,  # 0 where there is no tile before
            before=start[..., 0] if before is None else before[0].to(start),
            minimum=self.minimum,
            dtype=dtype,
        ).solve()

    def _check(self, dt: float, before: tuple[Tensor, Tensor] | None) -> None:
        if not 0 < dt < math.inf:
            raise ArgumentError("dt", dt, "a finite number > 0", "pass dt=1.0")
        if before is not None and not self.causal:
            raise ArgumentError(
                "before", "a tile", "None: all tiles depend on each other", "use causal=True"
            )
