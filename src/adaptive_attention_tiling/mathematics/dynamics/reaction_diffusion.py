"""Reaction and diffusion on periodic grids, and other semilinear equations u' = L u + N(u)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .exponential_integrators import EXPLICIT_REACH, STEPPERS, Step
from .periodic_grid import PeriodicGrid
from .symplectic_integrators import check_steps

Reaction = Callable[[Tensor], Tensor]


class SemilinearFlow:
    """u' = L u + N(u) with L diagonal in Fourier modes; differentiable in all that enters.

    Args:
        grid: of fields [*b, *grid, s].
        operator: L of each mode, [*modes, s, s].
        nonlinearity: N, [..., s] to [..., s], point by point.
    """

    def __init__(
        self,
        grid: PeriodicGrid,
        operator: Float[Tensor, "*modes s s"],
        nonlinearity: Reaction,
    ) -> None:
        self.grid = grid
        self.operator = operator
        self.nonlinearity = nonlinearity

    def rate(self, field: Float[Tensor, "*b *grid s"]) -> Float[Tensor, "*b *grid s"]:
        """L u + N(u)."""
        self._check(field)
        return self.linear_rate(field) + self.nonlinearity(field)

    def linear_rate(self, field: Float[Tensor, "*b *grid s"]) -> Float[Tensor, "*b *grid s"]:
        """L u, of a field that is taken as it is."""
        spectrum = self.grid.transform(field)
        return self.grid.inverse((self.operator.to(spectrum) @ spectrum[..., None])[..., 0])

    def stability_limit(self, method: str) -> float:
        """The largest step at which no decaying mode of L grows; infinite unless explicit.

        Exact for L with real eigenvalues: 2 / |lambda| for "euler", dx^2 / (2 d D) with the
        Laplacian by differences, and 2.785 / |lambda| for "rk4".
        """
        if method not in EXPLICIT_REACH:
            return math.inf
        rates = torch.linalg.eigvals(self.operator.detach())
        decaying = rates[rates.real < 0]
        if len(decaying) == 0:
            return math.inf
        if method == "euler":
            return float((-2 * decaying.real / decaying.abs().square()).min())
        return float((EXPLICIT_REACH[method] / decaying.abs()).min())

    def stepper(self, field: Float[Tensor, "*b *grid s"], step: float, method: str) -> Step:
        """One step of a method in the field's dtype, of a spectrum and a rate N of spectra.

        Raises:
            ArgumentError: no such method, a step <= 0, or an explicit one beyond `stability_limit`.
        """
        if method not in STEPPERS:
            raise ArgumentError("method", repr(method), f"one of {sorted(STEPPERS)}", "use etdrk4")
        if not 0 < step < math.inf:
            raise ArgumentError("step", step, "a number > 0", "diffusion has no way back")
        limit = self.stability_limit(method)
        if step > limit * (1 + 1e-12):
            raise ArgumentError(
                "step", step, f"at most {limit:.6g}, where {method} stops being stable",
                "take smaller steps, or method='etdrk4'",
            )  # fmt: skip
        return STEPPERS[method](self.operator.to(field), step)

    def evolve(
        self,
        field: Float[Tensor, "*b *grid s"],
        *,
        step: float,
        steps: int,
        method: str = "etdrk4",
        every: int | None = None,
    ) -> Float[Tensor, "*t *b *grid s"]:
        """The field after equal steps, or with `every` the start and each field so many apart.

        Args:
            step: in time, > 0.
            method: "etdrk2", "etdrk4", "imex_euler", "imex_ars2", and the explicit "euler" and
                "rk4", which need small steps.
            every: must divide steps.

        Raises:
            ArgumentError: an explicit step beyond `stability_limit`, which the message names; a
                field that does not stay finite, as where N runs away.
        """
        self._check(field)
        check_steps(step, steps)
        if every is not None and (every < 1 or steps % every):
            raise ArgumentError("every", every, f"a divisor of {steps}", "pass every=steps")
        advance = self.stepper(field, step, method)

        def rate(spectrum: Tensor) -> Tensor:
            return self.grid.transform(self.nonlinearity(self.grid.inverse(spectrum)))

        spectrum, kept = self.grid.transform(field), [field]
        for number in range(1, steps + 1):
            spectrum = advance(spectrum, rate)
            if every is not None and number % every == 0:
                kept.append(self.grid.inverse(spectrum))
        found = self.grid.inverse(spectrum) if every is None else torch.stack(kept)
        if not bool(found.isfinite().all()):
            raise ArgumentError(
                "step", step, "one that keeps the field finite", "take smaller steps, or fewer"
            )
        return found

    def _check(self, field: Tensor) -> None:
        self.grid.check(field)
        if field.shape[-1] != self.operator.shape[-1]:
            raise ArgumentError(
                "field", list(field.shape), f"{self.operator.shape[-1]} species last", "add an axis"
            )


def reaction_diffusion(
    grid: PeriodicGrid,
    diffusion: Float[Tensor, "s s"] | Float[Tensor, " s"],
    reaction: Reaction,
    *,
    anisotropy: Float[Tensor, "d d"] | None = None,
) -> SemilinearFlow:
    """u' = D div(A grad u) + f(u).

    Args:
        diffusion: D, one number for each species [s], or a matrix [s, s] with cross diffusion; its
            eigenvalues must not have negative real parts.
        reaction: f, [..., s] to [..., s], point by point.
        anisotropy: A, symmetric [d, d]; the identity if None.

    Source: Murray, Mathematical Biology II (2003), section 2.2.
    """
    matrix = torch.diag_embed(diffusion) if diffusion.dim() == 1 else diffusion
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError("diffusion", list(diffusion.shape), "[s] or [s, s]", "pass one D each")
    if not bool((torch.linalg.eigvals(matrix.detach()).real >= 0).all()):
        raise ArgumentError(
            "diffusion", matrix.tolist(), "eigenvalues >= 0", "diffusion has no way back"
        )
    symbol = grid.minus_laplacian(anisotropy).to(matrix)
    return SemilinearFlow(grid, -symbol[..., None, None] * matrix, reaction)


def swift_hohenberg(grid: PeriodicGrid, drive: float | Tensor) -> SemilinearFlow:
    """u' = r u - (1 + Laplacian)^2 u - u^3, one species: stripes of wave number 1 for r > 0.

    Source: Cross and Hohenberg, Rev. Mod. Phys. 65 (1993), equation 3.1.
    """
    symbol = drive - (1 - grid.minus_laplacian()).square()
    return SemilinearFlow(grid, symbol[..., None, None], lambda u: -(u**3))


def swift_hohenberg_energy(
    grid: PeriodicGrid, field: Float[Tensor, "*b *grid 1"], drive: float | Tensor
) -> Float[Tensor, "*b"]:
    """F / volume = mean of -r u^2 / 2 + ((1 + Laplacian) u)^2 / 2 + u^4 / 4, which never grows."""
    symbol = (1 - grid.minus_laplacian()).to(field)[..., None]
    bent = grid.inverse(symbol * grid.transform(field))
    density = -drive * field.square() / 2 + bent.square() / 2 + field**4 / 4
    return grid.mean(density)[..., 0]
