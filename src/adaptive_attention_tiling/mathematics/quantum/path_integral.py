"""Path integrals of one particle on a line: H = p^2 / 2 m + V(x), with hbar = 1.

`GridPathIntegral` has the same in more dimensions.

Two ways to the same numbers. `spectrum` diagonalises H in a basis of sinc functions on a grid,
exact up to the grid; `sliced_partition_function` multiplies transfer matrices of N time steps,
with the error of order N^-2 that a discretised path integral has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .sinc_grid import (
    Potential,
    check_ends,
    check_grid_dtype,
    check_positive,
    inverse_temperature,
    sampled,
    sinc_kinetic,
)


class PathIntegralFramework:
    """Sums over paths of a particle in a potential.

    Wave functions must have died away at the ends of the grid, and their momenta must stay below
    pi / spacing; both are up to the caller, and a second grid shows it.

    Args:
        potential: V, elementwise in x; parameters inside of it get gradients.
        mass: m > 0.
        half_width: the grid goes from minus this to this.
        points: of the grid, at least 8.
        dtype: float64 or float32.

    Feynman and Hibbs, Quantum Mechanics and Path Integrals (1965), chapters 3 and 10.
    """

    def __init__(
        self,
        potential: Potential,
        *,
        mass: float = 1.0,
        half_width: float = 10.0,
        points: int = 128,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        check_positive("mass", mass)
        check_grid_dtype(dtype)
        if not 0 < half_width < math.inf or points < 8:
            raise ArgumentError(
                "points", f"{points} up to {half_width}", "at least 8 up to a width > 0", "add some"
            )
        self.potential = potential
        self.mass = mass
        self.grid = torch.linspace(-half_width, half_width, points, dtype=dtype)
        self.spacing = 2 * half_width / (points - 1)

    def action_functional(
        self,
        path: Float[Tensor, "*b n"],
        duration: float,
        *,
        euclidean: bool = True,
        periodic: bool = False,
    ) -> Float[Tensor, "*b"]:
        """S = sum_k e (m (x_(k+1) - x_k)^2 / 2 e^2 + s (V(x_k) + V(x_(k+1))) / 2).

        s = 1 and weight e^(-S) in Euclidean time, s = -1 and weight e^(i S) in real time.

        Args:
            path: x_0 to x_(n-1), equally spaced in time.
            duration: from the first to the last; around, if periodic.
            euclidean: which of the two.
            periodic: x_0 follows x_(n-1).

        Feynman and Hibbs (1965), chapters 2 and 10.
        """
        check_positive("duration", duration)
        if path.dim() < 1 or path.shape[-1] < 2:
            raise ArgumentError("path", list(path.shape), "[..., n], n >= 2", "add points")
        if periodic:
            path = torch.cat([path, path[..., :1]], -1)
        step = duration / (path.shape[-1] - 1)
        kinetic = self.mass / (2 * step) * path.diff(dim=-1).square().sum(-1)
        values = self.potential(path)
        potential = step * (values[..., 1:] + values[..., :-1]).sum(-1) / 2
        return kinetic + potential if euclidean else kinetic - potential

    def hamiltonian(self, source: Float[Tensor, "*b"] | None = None) -> Float[Tensor, "*b g g"]:
        """H - J x in sinc functions, see `sinc_kinetic`.

        Args:
            source: J, 0 by default.

        Colbert and Miller, A novel discrete variable representation for quantum mechanical reactive
        scattering (1992), equation A7.
        """
        kinetic = sinc_kinetic(self.grid, self.mass)
        values = self._on_grid("potential", self.potential)
        if source is not None:
            values = values - source[..., None] * self.grid
        return kinetic + torch.diag_embed(values)

    def spectrum(self) -> tuple[Float[Tensor, " g"], Float[Tensor, "g g"]]:
        """Energies, increasing, and wave functions psi_n(x) [g, n] with sum_x h psi^2 = 1.

        Gradients of wave functions need different energies; those of energies do not.
        """
        values, vectors = torch.linalg.eigh(self.hamiltonian())
        return values, vectors / math.sqrt(self.spacing)

    def propagator(
        self,
        initial: Float[Tensor, "*b"],
        final: Float[Tensor, "*b"],
        time: float | complex,
    ) -> Complex[Tensor, "*b"]:
        """K = <final| exp(-t H) |initial> for a complex Euclidean time t with Re t > 0.

        t = tau is Euclidean time, t = i T + eta real time T with damping eta: without damping a
        kernel has all momenta in it, which no grid holds. With it, momenta above
        sqrt(2 m log(1 / error) / eta) are gone.

        Args:
            initial: x, inside of the grid.
            final: y.
            time: t.

        Feynman and Hibbs (1965), chapter 4.
        """
        if not 0 < complex(time).real < math.inf:
            raise ArgumentError(
                "time", time, "a real part above 0", "add a damping to real times, i T + eta"
            )
        for name, place in (("initial", initial), ("final", final)):
            if not bool((place.detach().abs() <= self.grid[-1]).all()):
                raise ArgumentError(name, "places off the grid", "inside", "widen the grid")
        values, vectors = torch.linalg.eigh(self.hamiltonian())
        ends = [self._interpolate(place) @ vectors for place in (initial, final)]
        weights = torch.exp(-complex(time) * values)
        found: Tensor = (ends[0] * ends[1] * weights).sum(-1) / self.spacing
        return found

    def partition_function(self, temperature: float | Tensor) -> Float[Tensor, "*b"]:
        """Z = tr exp(-H / T), temperature in units of energy.

        Feynman and Hibbs (1965), chapter 10.
        """
        beta = inverse_temperature(temperature, self.grid)
        energies, vectors = torch.linalg.eigh(self.hamiltonian())
        weights = torch.exp(-beta[..., None] * (energies - energies.detach()[0]))
        check_ends(weights.detach() @ vectors.detach().square().mT, 1)
        return weights.sum(-1) * torch.exp(-beta * energies.detach()[0])

    def sliced_partition_function(self, temperature: float, slices: int) -> Float[Tensor, ""]:
        """Z_N = tr M^N, M(x, y) = sqrt(m / 2 pi e) exp(-m (x - y)^2 / 2 e - e (V(x) + V(y)) / 2).

        The integral over all closed paths of N steps e = 1 / (T N), weighted with
        `action_functional`; Z_N = Z + O(N^-2). The grid's spacing must stay below sqrt(e / m).

        Feynman and Hibbs (1965), chapter 10; Trotter, On the product of semi-groups
        of operators (1959).
        """
        beta = float(inverse_temperature(temperature, self.grid))
        if slices < 1:
            raise ArgumentError("slices", slices, "at least 1", "pass slices=16")
        step = beta / slices
        if self.spacing > math.sqrt(step / self.mass):
            raise ArgumentError(
                "slices",
                f"{slices}, a width of {math.sqrt(step / self.mass):.3g}",
                f"wider than the spacing {self.spacing:.3g}",
                "use more points or fewer slices",
            )
        gap = self.grid[:, None] - self.grid
        half = torch.exp(-step / 2 * self._on_grid("potential", self.potential))
        matrix = torch.exp(-self.mass * gap.square() / (2 * step)) * half[:, None] * half
        matrix = matrix * (self.spacing * math.sqrt(self.mass / (2 * math.pi * step)))
        values, vectors = torch.linalg.eigh(matrix)
        check_ends(vectors.detach().square() @ values.detach().pow(slices), 1)
        total: Tensor = values.pow(slices).sum()
        return total

    def correlation_function(
        self, operators: Sequence[Potential], times: Sequence[float], temperature: float
    ) -> Float[Tensor, ""]:
        """<O_1(tau_1) O_2(tau_2) ...> at a temperature, in Euclidean time and time ordered.

        tr(e^(-(beta - tau_n) H) O_n ... e^(-(tau_2 - tau_1) H) O_1 e^(-tau_1 H)) / Z.

        Args:
            operators: O_k, functions of x.
            times: tau_k, from 0 to beta = 1 / temperature.
            temperature: in units of energy.

        Feynman and Hibbs (1965), chapters 7 and 10.
        """
        beta = float(inverse_temperature(temperature, self.grid))
        if not operators or len(operators) != len(times):
            raise ArgumentError(
                "times", f"{len(times)} for {len(operators)} operators", "as many", "pass one each"
            )
        if not all(0 <= tau <= beta for tau in times):
            raise ArgumentError("times", list(times), f"from 0 to {beta:.6g}", "fold them by beta")
        values, vectors = torch.linalg.eigh(self.hamiltonian())
        lifted = values - values[0]
        order = sorted(range(len(times)), key=lambda k: times[k])
        product, now = torch.eye(len(values), dtype=values.dtype, device=values.device), 0.0
        for k in order:
            operator = self._on_grid("operators", operators[k])
            matrix = vectors.mT @ (operator[:, None] * vectors)
            product = matrix @ (torch.exp(-(times[k] - now) * lifted)[:, None] * product)
            now = times[k]
        total = (torch.exp(-(beta - now) * lifted) * product.diagonal()).sum()
        return total / torch.exp(-beta * lifted).sum()

    def effective_action(
        self, field: Float[Tensor, "*b"], temperature: float
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Gamma(phi) = max_J (J phi - w(J)) of a constant mean path, for each unit of time, and J.

        w(J) = T log tr exp(-(H - J x) / T). Gamma is convex, and its gradient is J; at low
        temperatures its least value is the energy of the ground state.

        Args:
            field: phi, the mean of x, well inside of the grid.
            temperature: T > 0, in units of energy.

        Zinn-Justin, Quantum Field Theory and Critical Phenomena (2002), section 6.2.
        """
        beta = float(inverse_temperature(temperature, self.grid))
        if not bool((field.detach().abs() < self.grid[-1]).all()):
            raise ArgumentError("field", "means off the grid", "inside", "widen the grid")
        with torch.no_grad():
            source = self._source(field.detach(), beta)
        energies = torch.linalg.eigvalsh(self.hamiltonian(source))
        return source * field + torch.logsumexp(-beta * energies, -1) / -beta, source

    def _source(self, field: Tensor, beta: float) -> Tensor:
        """J with <x>_J = phi, by Newton's method with steps that are halved if they miss."""
        source, best = torch.zeros_like(field), torch.full_like(field, torch.inf)
        rounding = torch.finfo(field.dtype).eps
        step, kept = torch.zeros_like(field), torch.zeros_like(field)
        for _ in range(60):
            mean, slope = self._response(source, beta)
            miss = field - mean
            better = miss.abs() < best
            best = torch.where(better, miss.abs(), best)
            kept = torch.where(better, source, kept)
            step = torch.where(better, miss / slope, step / 2)
            if bool((best <= 256 * rounding * (1 + field.abs())).all()) or not bool(step.any()):
                return kept
            source = kept + step
        if not bool((best <= math.sqrt(rounding)).all()):
            raise ArgumentError(
                "field", "a mean that no source gives", "reachable", "widen the grid"
            )
        return kept

    def _response(self, source: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """<x>_J and its derivative in J."""
        values, vectors = torch.linalg.eigh(self.hamiltonian(source))
        weights = torch.softmax(-beta * values, -1)
        matrix = vectors.mT @ (self.grid[:, None] * vectors)
        mean = (weights * matrix.diagonal(dim1=-2, dim2=-1)).sum(-1)
        gap = values[..., :, None] - values[..., None, :]
        flat = gap.abs() < 1e-9
        drop = weights[..., None, :] - weights[..., :, None]
        kernel = torch.where(flat, beta * weights[..., None, :], drop / torch.where(flat, 1.0, gap))
        return mean, (kernel * matrix.square()).sum((-2, -1)) - beta * mean.square()

    def _on_grid(self, name: str, function: Potential) -> Tensor:
        return sampled(name, function, self.grid, self.grid.shape)

    def _interpolate(self, place: Tensor) -> Tensor:
        return torch.sinc((place[..., None] - self.grid) / self.spacing)
