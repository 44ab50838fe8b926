"""Products of short Euclidean steps on a grid of several axes, applied axis by axis.

A step of length e is K W: W = e^(-e V) place by place, K = e^(-e T) a product of one kernel for
each axis, never formed as a whole: d g^(d + 1) multiplications for a wave of g^d places. Traces of
(K W)^N are those of the symmetric (W^(1/2) K W^(1/2))^N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import ArgumentError
from .sinc_grid import sinc_kinetic

_CHUNK = 2**21
_MOST_STATES = 8192
_LOST = 1e-4  # weight of the largest momentum that is refused


class TransferMatrix:
    """Steps of a particle on the grid of all combinations of some axes.

    Args:
        axes: equally spaced places along each.
        masses: m along each.

    Feit, Fleck and Steiger, Solution of the Schroedinger equation by a spectral method (1982).
    """

    def __init__(self, axes: Sequence[Float[Tensor, " g"]], masses: Sequence[float]) -> None:
        self.axes = tuple(axes)
        self.spacings = [float(axis[-1] - axis[0]) / (len(axis) - 1) for axis in axes]
        self.places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        self.kinetic = [sinc_kinetic(axis, mass) for axis, mass in zip(axes, masses, strict=True)]
        self._masses = list(masses)
        self._modes = [torch.linalg.eigh(kinetic) for kinetic in self.kinetic]

    def check_traces(self, time: float) -> None:
        """Raise an ArgumentError if the grid is too large or too coarse for tr e^(-t H)."""
        size = self.places[..., 0].numel()
        if size > _MOST_STATES:
            raise ArgumentError(
                "points",
                f"{size} places",
                f"up to {_MOST_STATES} for traces",
                "use fewer, or sample_paths",
            )
        for spacing, mass in zip(self.spacings, self._masses, strict=True):
            if math.exp(-time * (math.pi / spacing) ** 2 / (2 * mass)) > _LOST:
                raise ArgumentError(
                    "points",
                    f"a spacing of {spacing:.3g}",
                    "one that holds the momenta at this temperature",
                    "use more points or a lower temperature",
                )

    def kernels(self, step: Tensor) -> list[Tensor]:
        """e^(-e T) of each axis, e a number without axes, real or complex."""
        return [
            (modes * torch.exp(-step * energies)) @ modes.mT.to(step.dtype)
            for energies, modes in self._modes
        ]

    def along(self, kernels: Sequence[Tensor], wave: Tensor) -> Tensor:
        """The product of the kernels, each along its axis of [*b, *g]."""
        count = len(kernels)
        for a, kernel in enumerate(kernels):
            wave = (wave.movedim(a - count, -1).to(kernel.dtype) @ kernel).movedim(-1, a - count)
        return wave

    def diagonal(
        self, step: Tensor, weights: Tensor, slices: int, factors: dict[int, Tensor]
    ) -> Tensor:
        """The diagonal of (K W)^N [*g], with factors [*g] before some of the steps.

        Columns go through the steps in chunks; gradients compute each chunk a second time, so that
        memory does not grow with g^(2 d).

        Args:
            step: e.
            weights: W, [*g].
            slices: N.
            factors: by the number of the step.
        """
        kernels = self.kernels(step)
        tracked = any(x.requires_grad for x in (weights, *kernels, *factors.values()))

        def column(start: int, stop: int) -> Tensor:
            at, wave = self._columns(start, stop)
            for k in range(slices):
                wave = wave * factors[k] if k in factors else wave
                wave = self.along(kernels, wave * weights)
            return wave.flatten(1).gather(1, at[:, None])[:, 0]

        found = []
        for start, stop in self._chunks(1):
            if tracked and torch.is_grad_enabled():
                found.append(checkpoint(column, start, stop, use_reentrant=False))
            else:
                found.append(column(start, stop))
        return torch.cat(found).reshape(weights.shape)

    def response(self, step: Tensor, weights: Tensor, slices: int) -> tuple[Tensor, Tensor]:
        """<x> [d] and its derivative in a force J [d, d] that adds -J . x to V.

        Tangents of the columns go through the steps beside them.
        """
        count, kernels = len(self.axes), self.kernels(step)
        pull, found = step * self.places.movedim(-1, 0)[:, None], []
        for start, stop in self._chunks(1 + count):
            at, wave = self._columns(start, stop)
            slopes = torch.zeros(count, *wave.shape).to(wave)
            for _ in range(slices):
                slopes = self.along(kernels, (slopes + pull * wave) * weights)
                wave = self.along(kernels, wave * weights)
            both = torch.cat([wave[None], slopes]).flatten(2)
            found.append(both.gather(2, at[None, :, None].expand(1 + count, -1, 1))[..., 0])
        density, slopes = torch.cat(found, 1).tensor_split([1])
        places, total = self.places.flatten(0, -2), density.sum()
        mean = density[0] @ places / total
        return mean, places.mT @ slopes.mT / total - slices * step * mean[:, None] * mean

    def around(self, place: Float[Tensor, "n d"]) -> Tensor:
        """sinc functions around places, on the grid: [n, *g]."""
        count = len(self.axes)
        wave = torch.ones(len(place), *(1,) * count).to(self.places)
        for a, (axis, spacing) in enumerate(zip(self.axes, self.spacings, strict=True)):
            line = torch.sinc((place[:, a, None] - axis) / spacing)
            wave = wave * line.reshape(len(place), *(-1 if c == a else 1 for c in range(count)))
        return wave

    def _columns(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Numbers of places, and the unit waves there."""
        at = torch.arange(start, stop)
        wave = torch.zeros(stop - start, self.places[..., 0].numel()).to(self.places)
        return at, wave.scatter(1, at[:, None], 1.0).unflatten(1, self.places.shape[:-1])

    def _chunks(self, waves: int) -> Iterator[tuple[int, int]]:
        size = self.places[..., 0].numel()
        chunk = max(_CHUNK // (size * waves), 1)
        return ((start, min(start + chunk, size)) for start in range(0, size, chunk))
