"""Path integrals of one particle in d dimensions: H = sum_a p_a^2 / 2 m_a + V(x), with hbar = 1.

A step of length e is M = e^(-e V / 2) e^(-e T) e^(-e V / 2). Its kinetic part, a product over the
axes, is applied axis by axis on a grid of g^d places, d g^(d + 1) multiplications each; results
have errors of order N^-2 in the number N of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .legendre import source_of_mean
from .product_spectrum import product_spectrum
from .sinc_grid import (
    Potential,
    check_ends,
    check_grid_dtype,
    check_positive,
    checked_time,
    for_each,
    inverse_temperature,
    sampled,
)
from .transfer_matrix import TransferMatrix


class GridPathIntegral:
    """Sums over paths of a particle in two, three or more dimensions.

    Waves are [*b, g_1, ..., g_d]. Traces cost g^(2 d) d g for each step: some seconds for 32^2 or
    16^3 places; more than 8192 places are refused there.

    Args:
        potential: V of places [..., d], gives [...]; parameters inside of it get gradients.
        dimensions: d.
        mass: m > 0, one for all axes or one for each.
        half_width: the grid goes from minus this to this; one for all or one for each.
        points: of the grid along an axis, at least 8; one for all or one for each.
        dtype: float64 or float32.

    Feynman and Hibbs, Quantum Mechanics and Path Integrals (1965), chapters 3 and 10; Feit, Fleck
    and Steiger, Solution of the Schroedinger equation by a spectral method (1982).
    """

    def __init__(
        self,
        potential: Potential,
        *,
        dimensions: int,
        mass: float | Sequence[float] = 1.0,
        half_width: float | Sequence[float] = 6.0,
        points: int | Sequence[int] = 24,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if dimensions < 1:
            raise ArgumentError("dimensions", dimensions, "at least 1", "pass dimensions=2")
        self.potential = potential
        check_grid_dtype(dtype)
        self.masses = for_each("mass", mass, dimensions)
        widths = for_each("half_width", half_width, dimensions)
        counts = [int(n) for n in for_each("points", points, dimensions)]
        if min(counts) < 8:
            raise ArgumentError("points", counts, "at least 8 along each axis", "add some")
        self.axes = [
            torch.linspace(-width, width, count, dtype=dtype)
            for width, count in zip(widths, counts, strict=True)
        ]
        self._steps = TransferMatrix(self.axes, self.masses)
        self.places, self.spacings = self._steps.places, self._steps.spacings

    @property
    def dimensions(self) -> int:
        """d."""
        return len(self.axes)

    def action_functional(
        self,
        path: Float[Tensor, "*b n d"],
        duration: float,
        *,
        euclidean: bool = True,
        periodic: bool = False,
    ) -> Float[Tensor, "*b"]:
        """S = sum_k e (sum_a m_a (x_(k+1) - x_k)_a^2 / 2 e^2 + s (V(x_k) + V(x_(k+1))) / 2).

        s = 1 and weight e^(-S) in Euclidean time, s = -1 and weight e^(i S) in real time.

        Args:
            path: x_0 to x_(n-1), equally spaced in time.
            duration: from the first to the last; around, if periodic.
            euclidean: which of the two.
            periodic: x_0 follows x_(n-1).

        Feynman and Hibbs (1965), chapters 2 and 10.
        """
        check_positive("duration", duration)
        if path.dim() < 2 or path.shape[-2] < 2 or path.shape[-1] != self.dimensions:
            raise ArgumentError(
                "path", list(path.shape), f"[..., n, {self.dimensions}], n >= 2", "add points"
            )
        if periodic:
            path = torch.cat([path, path[..., :1, :]], -2)
        step = duration / (path.shape[-2] - 1)
        masses = torch.tensor(self.masses, dtype=path.dtype, device=path.device)
        kinetic = (masses * path.diff(dim=-2).square()).sum((-2, -1)) / (2 * step)
        values = self.potential(path)
        potential = step * (values[..., 1:] + values[..., :-1]).sum(-1) / 2
        return kinetic + potential if euclidean else kinetic - potential

    def evolve(
        self, wave: Complex[Tensor, "*b *g"], time: float | complex, slices: int
    ) -> Complex[Tensor, "*b *g"]:
        """M^N psi, e^(-t H) psi up to order N^-2.

        Args:
            wave: psi on the grid, with the batch before, in the precision of the grid.
            time: t, in Euclidean time; i T for real time, which keeps norms to rounding.
            slices: N.
        """
        span, real = self.places.shape[:-1], self.places.dtype
        if wave.shape[wave.dim() - len(span) :] != span or wave.real.dtype != real:
            got, wanted = f"{wave.dtype} {list(wave.shape)}", f"{real} [..., {list(span)}]"
            raise ArgumentError("wave", got, wanted, "use the grid")
        moment = checked_time(time)
        if slices < 1:
            raise ArgumentError("slices", slices, "at least 1", "pass slices=16")
        step = torch.tensor(
            (moment if moment.imag else moment.real) / slices,
            dtype=wave.dtype.to_complex() if moment.imag else wave.dtype,
        )
        kernels, values = self._steps.kernels(step), self._on_grid("potential", self.potential)
        half, whole = torch.exp(-step / 2 * values), torch.exp(-step * values)
        wave = wave * half
        for k in range(slices):
            wave = self._steps.along(kernels, wave) * (whole if k < slices - 1 else half)
        return wave

    def propagator(
        self,
        initial: Float[Tensor, "*b d"],
        final: Float[Tensor, "*b d"],
        time: float | complex,
        slices: int,
    ) -> Complex[Tensor, "*b"]:
        """K = <final| M^N |initial>, <y| exp(-t H) |x> up to order N^-2.

        Args:
            initial: x, inside of the grid.
            final: y.
            time: t with Re t > 0: Euclidean time, or i T + damping for real time T; see
                `PathIntegralFramework.propagator`.
            slices: N.

        Feynman and Hibbs (1965), chapter 4.
        """
        if not 0 < complex(time).real < math.inf:
            raise ArgumentError(
                "time", time, "a real part above 0", "add a damping to real times, i T + eta"
            )
        for name, place in (("initial", initial), ("final", final)):
            self._check_last(name, place)
            if not bool((place.detach().abs() <= self.places.flatten(0, -2)[-1]).all()):
                raise ArgumentError(name, "places off the grid", "inside", "widen the grid")
        pair = torch.broadcast_tensors(initial, final)
        waves = [self._steps.around(place.reshape(-1, self.dimensions)) for place in pair]
        found = (self.evolve(waves[0], time, slices) * waves[1]).flatten(1).sum(-1)
        return found.reshape(pair[0].shape[:-1]) / math.prod(self.spacings)

    def partition_function(
        self, temperature: float | Float[Tensor, ""], slices: int
    ) -> Float[Tensor, ""]:
        """Z_N = tr M^N, the sum over closed paths of N steps; Z = Z_N + O(N^-2).

        Args:
            temperature: T > 0, in units of energy; the paths last 1 / T.
            slices: N.

        Feynman and Hibbs (1965), chapter 10; Trotter, On the product of semi-groups of operators
        (1959).
        """
        beta = self._checked_beta(temperature, slices)
        return self._log_weight(beta, slices).exp()

    def correlation_function(
        self,
        operators: Sequence[Potential],
        times: Sequence[float],
        temperature: float,
        slices: int,
    ) -> Float[Tensor, ""]:
        """<O_1(tau_1) O_2(tau_2) ...> over closed paths of N steps, time ordered.

        Args:
            operators: O_k of places [..., d].
            times: tau_k in [0, beta), whole multiples of beta / N, beta = 1 / temperature.
            temperature: in units of energy.
            slices: N.

        Feynman and Hibbs (1965), chapters 7 and 10.
        """
        beta = self._checked_beta(temperature, slices)
        if not operators or len(operators) != len(times):
            raise ArgumentError(
                "times", f"{len(times)} for {len(operators)} operators", "as many", "pass one each"
            )
        at = [tau * slices / float(beta.detach()) for tau in times]
        if not all(
            math.isfinite(n) and abs(n - round(n)) < 1e-6 and 0 <= round(n) < slices for n in at
        ):
            raise ArgumentError(
                "times",
                list(times),
                f"multiples of {float(beta.detach()) / slices:.6g}",
                "change slices",
            )
        factors: dict[int, Tensor] = {}
        for n, operator in zip(map(round, at), operators, strict=True):
            factors[n] = factors.get(n, 1.0) * sampled(
                "operators", operator, self.places, self.places.shape[:-1]
            )
        weights, _ = self._step_weights(beta / slices)
        density = self._steps.diagonal(beta / slices, weights, slices, {})
        check_ends(density.detach(), self.dimensions)
        return self._steps.diagonal(beta / slices, weights, slices, factors).sum() / density.sum()

    def effective_action(
        self, field: Float[Tensor, "*b d"], temperature: float, slices: int
    ) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b d"]]:
        """Gamma(phi) = max_J (J . phi - w(J)) of a mean path, for each unit of time, and J.

        w(J) = T log Z_N of V - J . x. Gamma is convex and its gradient is J.

        Args:
            field: phi, the mean of x, well inside of the grid.
            temperature: T > 0, in units of energy.
            slices: N.

        Zinn-Justin, Quantum Field Theory and Critical Phenomena (2002), section 6.2.
        """
        beta = self._checked_beta(temperature, slices)
        self._check_last("field", field)
        found, sources = [], []
        for phi in field.reshape(-1, self.dimensions):
            source = source_of_mean(lambda trial: self._response(trial, beta, slices), phi.detach())
            free = self._log_weight(beta, slices, source) / beta
            found.append((source * phi).sum() - free)
            sources.append(source)
        return torch.stack(found).reshape(field.shape[:-1]), torch.stack(sources).view_as(field)

    def spectrum(self, kept: int) -> tuple[Float[Tensor, " c"], Float[Tensor, "*g c"]]:
        """Energies, increasing, and waves with sum h^d psi^2 = 1, from c = kept^d functions.

        The basis are products of the lowest eigenfunctions of each axis alone, with the potential
        along it through the lowest place. Energies are upper bounds of the grid's and fall with
        every function that is added; how far the lowest ones still move tells the error.

        Args:
            kept: functions along an axis, from 1 to the points; kept^d up to 2048.

        Carney, Sprandel and Kern, Variational approaches to vibration-rotation spectroscopy (1978).
        """
        energies, waves = product_spectrum(
            self._steps.kinetic, self._on_grid("potential", self.potential), kept
        )
        return energies, waves / math.sqrt(math.prod(self.spacings))

    def _log_weight(self, beta: Tensor, slices: int, source: Tensor | None = None) -> Tensor:
        """log tr M^N, after a look at what leaves the grid."""
        weights, shift = self._step_weights(beta / slices, source)
        density = self._steps.diagonal(beta / slices, weights, slices, {})
        check_ends(density.detach(), self.dimensions)
        return density.sum().log() - beta * shift

    def _step_weights(self, step: Tensor, source: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """e^(-e (V - J . x - least)), and the least value."""
        values = self._on_grid("potential", self.potential)
        if source is not None:
            values = values - (self.places * source).sum(-1)
        least = values.detach().min()
        return torch.exp(-step * (values - least)), least

    @torch.no_grad()
    def _response(self, source: Tensor, beta: Tensor, slices: int) -> tuple[Tensor, Tensor]:
        weights, _ = self._step_weights(beta / slices, source)
        return self._steps.response(beta / slices, weights, slices)

    def _on_grid(self, name: str, function: Potential) -> Tensor:
        return sampled(name, function, self.places, self.places.shape[:-1])

    def _check_last(self, name: str, place: Tensor) -> None:
        if place.dim() < 1 or place.shape[-1] != self.dimensions:
            raise ArgumentError(name, list(place.shape), f"[..., {self.dimensions}]", "reshape")

    def _checked_beta(self, temperature: float | Tensor, slices: int) -> Tensor:
        beta = inverse_temperature(temperature, self.places)
        if beta.dim() or slices < 1:
            raise ArgumentError("slices", slices, "at least 1, one temperature", "pass slices=16")
        self._steps.check_traces(float(beta.detach()))
        return beta
