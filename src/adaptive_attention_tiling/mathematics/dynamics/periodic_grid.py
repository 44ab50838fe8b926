"""Periodic boxes in one to three dimensions, and their Fourier modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True)
class PeriodicGrid:
    """Points of a periodic box; fields on it are [*b, *grid, s], the s species last.

    Args:
        points: how many along each axis, at least 3; one to three axes.
        lengths: of the box's sides.
        laplacian: "spectral" has the symbol -|k|^2, exact for smooth fields; "differences" the
            three-point one, -sum_i (2 - 2 cos(k_i h_i)) / h_i^2, with a maximum principle.
    """

    points: tuple[int, ...]
    lengths: tuple[float, ...]
    laplacian: str = "spectral"

    def __post_init__(self) -> None:
        if not 1 <= len(self.points) <= 3 or min(self.points) < 3:
            raise ArgumentError(
                "points", self.points, "one to three numbers >= 3", "pass points=(64,)"
            )
        if len(self.lengths) != len(self.points) or not all(
            0 < length < math.inf for length in self.lengths
        ):
            raise ArgumentError(
                "lengths", self.lengths, f"{len(self.points)} numbers > 0", "pass one a side"
            )
        if self.laplacian not in ("spectral", "differences"):
            raise ArgumentError(
                "laplacian", repr(self.laplacian), "spectral or differences", "use spectral"
            )

    @property
    def spacings(self) -> tuple[float, ...]:
        """h_i = length / points."""
        return tuple(a / n for a, n in zip(self.lengths, self.points, strict=True))

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | None = None
    ) -> Float[Tensor, "*grid d"]:
        """x of every point, in [0, length)."""
        axes = [
            torch.arange(n, dtype=dtype, device=device) * h
            for n, h in zip(self.points, self.spacings, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def wavenumbers(
        self, dtype: torch.dtype = torch.float64, device: torch.device | None = None
    ) -> Float[Tensor, "*modes d"]:
        """k of every mode of `transform`, the last axis halved."""
        found = []
        for axis, (n, h) in enumerate(zip(self.points, self.spacings, strict=True)):
            last = axis == len(self.points) - 1
            make = torch.fft.rfftfreq if last else torch.fft.fftfreq
            found.append(2 * math.pi * make(n, d=h, dtype=dtype, device=device))
        return torch.stack(torch.meshgrid(*found, indexing="ij"), -1)

    def minus_laplacian(
        self, anisotropy: Float[Tensor, "d d"] | None = None
    ) -> Float[Tensor, "*modes"]:
        """The symbol of -div(A grad), A the identity or `anisotropy`; |k|^2 if spectral."""
        dtype, device = (
            (torch.float64, None) if anisotropy is None else (anisotropy.dtype, anisotropy.device)
        )
        k = self.wavenumbers(dtype, device)
        h = k.new_tensor(self.spacings)
        once, squared = k, k.square()
        if self.laplacian == "differences":
            once, squared = (k * h).sin() / h, (2 - 2 * (k * h).cos()) / h.square()
        if anisotropy is None:
            return squared.sum(-1)
        _check_anisotropy(anisotropy, len(self.points))
        # The sign of a Nyquist wave number is nobody's, so that no odd power of it may enter.
        once = torch.where(((k * h).abs() - math.pi).abs() < 1e-6, 0.0, once)
        diagonal = anisotropy.diagonal()
        mixed = torch.einsum("...i,ij,...j->...", once, anisotropy, once)
        return mixed + ((squared - once.square()) * diagonal).sum(-1)

    def transform(self, field: Float[Tensor, "*b *grid s"]) -> Complex[Tensor, "*b *modes s"]:
        """The half spectrum of a real field."""
        found: Tensor = torch.fft.rfftn(field, dim=self._axes())
        return found

    def inverse(self, spectrum: Complex[Tensor, "*b *modes s"]) -> Float[Tensor, "*b *grid s"]:
        """The field of a half spectrum."""
        found: Tensor = torch.fft.irfftn(spectrum, s=self.points, dim=self._axes())
        return found

    def mean(self, field: Float[Tensor, "*b *grid s"]) -> Float[Tensor, "*b s"]:
        """The average over the box."""
        return field.mean(self._axes())

    def check(self, field: Tensor) -> None:
        """Raise an ArgumentError unless a field is real, finite and [*b, *grid, s]."""
        d = len(self.points)
        if not field.is_floating_point() or tuple(field.shape[-1 - d : -1]) != self.points:
            raise ArgumentError(
                "field", f"{field.dtype} {list(field.shape)}",
                f"real [*b, {', '.join(map(str, self.points))}, s]", "put the species last",
            )  # fmt: skip
        if not bool(field.isfinite().all()):
            raise ArgumentError("field", "entries that are not finite", "numbers", "mend the field")

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-1 - len(self.points), -1))


def _check_anisotropy(anisotropy: Tensor, axes: int) -> None:
    if tuple(anisotropy.shape) != (axes, axes):
        raise ArgumentError(
            "anisotropy", list(anisotropy.shape), f"[{axes}, {axes}]", "pass one row an axis"
        )
    detached = anisotropy.detach()
    if not torch.equal(detached, detached.mT) or bool(torch.linalg.eigvalsh(detached)[0] < 0):
        raise ArgumentError(
            "anisotropy", detached.tolist(), "a symmetric matrix without negative eigenvalues",
            "diffusion backwards has no solution",
        )  # fmt: skip
