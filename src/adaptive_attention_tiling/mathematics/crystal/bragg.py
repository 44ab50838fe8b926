"""Bragg peaks of sampled densities and the reciprocal lattice that they span."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .lattice import minkowski_reduced
from .primitive_cell import row_echelon

_MOST_PEAKS = 32
_LARGEST_DENOMINATOR = 4
_LEAST_CYCLES = 2.5


class BraggPeaks(NamedTuple):
    """Wavevectors at which a density scatters more than its background, strongest first."""

    wavevectors: Tensor
    """[p, n] in radians a unit of length, one of each k and -k."""
    strengths: Tensor
    """|F(k)|^2 over the background, which is about 1 on average without a pattern [p]."""


class Scattering(NamedTuple):
    """The structure factor on a grid of wavevectors."""

    strength: Tensor
    """|F(k)|^2 over the background; 0 where the extent holds too few cycles."""
    background: Tensor


def scattering(
    density: Float[Tensor, "*g"], white: Tensor | float, shells: bool = True, padding: int = 2
) -> Scattering:
    """|F(k)|^2 and its background.

    The background is the lower quartile of the shell of like |k|, scaled to the mean of an
    exponential law, and no less than `white`: smooth noise is told from a pattern, and a pattern
    without noise does not divide by 0. Wavevectors with less than 2.5 cycles along every axis
    count as 0.

    Args:
        density: samples times a window, [n_1, ..., n_d].
        white: what white noise of the whole variance would give.
        shells: whether the background is told shell by shell; otherwise it is `white`.
        padding: how many times finer than the extent asks for the grid of wavevectors is.
    """
    sides, kept, levels = _wavevectors(tuple(density.shape), padding)
    power = torch.fft.fftn(density, s=sides).abs().square()
    background = torch.full_like(power, float(white))
    if shells:
        background = _background(power, levels).clamp(min=float(white))
    return Scattering(power / background * kept.to(power.device), background)


def bragg_peaks(
    scattered: Scattering,
    threshold: float,
    places: Float[Tensor, "m d"],
    values: Float[Tensor, " m"],
    spacing: Float[Tensor, " d"],
) -> BraggPeaks:
    """Local maxima above a threshold, moved to the maximum of |sum_i v_i exp(-i k . x_i)|^2.

    Args:
        scattered: of `scattering`.
        threshold: least strength.
        places: x of all samples or points, about their middle.
        values: v of them, windowed.
        spacing: of the grid that was scattered.
    """
    coarse = scattered.strength
    top = coarse
    for axis in range(coarse.dim()):
        # The largest of three neighbours along each axis, and so of the whole neighbourhood.
        top = torch.stack([top, top.roll(1, axis), top.roll(-1, axis)]).amax(0)
    sides = torch.tensor(coarse.shape, device=coarse.device)
    found = ((coarse == top) & (coarse > threshold)).nonzero()
    number = torch.where(2 * found > sides, found - sides, found)
    # The first entry that is not 0 is positive in one of k and -k.
    first = number.gather(1, (number != 0).to(torch.int8).argmax(1, keepdim=True))[:, 0]
    found, number = found[first > 0], number[first > 0]
    best = coarse[tuple(found.T)].argsort(descending=True)[:_MOST_PEAKS]
    step = 2 * math.pi / (sides * spacing)
    refined = _climbed(number[best] * step, places, values, step)
    # What only the grid of samples had, mirrored from beyond its reach, is not there any more.
    power = (values * torch.exp(-1j * (refined @ places.mT))).sum(1).abs().square()
    strengths = power / scattered.background[tuple(found[best].T)]
    kept = strengths > threshold
    order = strengths[kept].argsort(descending=True)
    return BraggPeaks(refined[kept][order], strengths[kept][order])


def reciprocal_basis(peaks: BraggPeaks, resolution: Float[Tensor, " d"]) -> Float[Tensor, "r d"]:
    """Rows that generate the peaks as whole combinations; r directions have any.

    Peaks come in by strength. One that is a fraction of the lattice so far, with a denominator of
    at most 4, makes it finer; one that is none is left out. Rows are fitted to all that are in.

    Args:
        peaks: of `bragg_peaks`.
        resolution: 2 pi over the extent along each axis.
    """
    size = peaks.wavevectors.shape[1]
    scaled = peaks.wavevectors / resolution
    basis = scaled[:0]
    used: list[int] = []
    for index, peak in enumerate(scaled):
        grown = _grown(basis, peak, size)
        if grown is None:
            continue
        used.append(index)
        basis = _fitted(_reduced(grown), scaled[used], peaks.strengths[used])
    return _reduced(basis * resolution)


def direct_lattice(reciprocal: Float[Tensor, "r d"]) -> Float[Tensor, "r d"]:
    """Reduced vectors a_i in the span of the b_j, with a_i . b_j = 2 pi delta_ij before."""
    return _reduced(2 * math.pi * torch.linalg.pinv(reciprocal).mT)


@lru_cache(maxsize=8)
@torch.inference_mode(False)  # what is kept serves training too
def _wavevectors(shape: tuple[int, ...], padding: int) -> tuple[list[int], Tensor, list[Tensor]]:
    """Sides of the grid, where there are enough cycles, and numbers of each shell's wavevectors."""
    sides = [padding * side for side in shape]
    cycles = [torch.fft.fftfreq(side, dtype=torch.float64) * side / padding for side in sides]
    grid = torch.stack(torch.meshgrid(*cycles, indexing="ij"), -1)
    kept = grid.abs().amax(-1) >= _LEAST_CYCLES
    radius = (grid / torch.tensor(shape)).norm(dim=-1)
    shells = (8 * radius).floor().long().masked_fill(~kept, -1).flatten()
    numbers = [(shells == shell).nonzero()[:, 0] for shell in range(int(shells.max()) + 1)]
    return sides, kept, [inside for inside in numbers if len(inside) >= 8]


def _background(power: Tensor, shells: list[Tensor]) -> Tensor:
    """The mean of an exponential law with the lower quartile of each shell, over all of it."""
    flat, level = power.flatten(), torch.zeros_like(power).flatten()
    for inside in shells:
        number = inside.to(power.device)
        level[number] = flat[number].kthvalue(len(number) // 4 + 1).values / -math.log(0.75)
    return level.reshape(power.shape)


def _climbed(wavevectors: Tensor, places: Tensor, values: Tensor, step: Tensor) -> Tensor:
    """Newton's method for the maximum near each wavevector, within a step of the grid."""
    start, x = wavevectors, places
    for _ in range(5):
        waves = values * torch.exp(-1j * (wavevectors @ x.mT))
        value = waves.sum(1)
        first = -1j * (waves @ x.to(waves))
        second = -torch.einsum("pm,mi,mj->pij", waves, x.to(waves), x.to(waves))
        gradient = 2 * (value.conj()[:, None] * first).real
        bend = 2 * (
            first.conj()[:, :, None] * first[:, None] + value.conj()[:, None, None] * second
        )
        move = -torch.linalg.solve(bend.real, gradient[..., None])[..., 0]
        wavevectors = start + (wavevectors + move - start).clamp(-step, step)
    return wavevectors


def _grown(basis: Tensor, peak: Tensor, size: int) -> Tensor | None:
    """Rows that generate the basis and the peak; None where the peak does not fit."""
    if not len(basis):
        return peak[None]
    share = torch.linalg.lstsq(basis.T, peak[:, None]).solution[:, 0]
    if len(basis) < size and float((peak - share @ basis).norm()) > 1:
        return torch.cat([basis, peak[None]])
    for denominator in range(1, _LARGEST_DENOMINATOR + 1):
        whole = (denominator * share).round()
        gap = peak - whole / denominator @ basis
        if float(gap.norm()) < (0.5 if denominator == 1 else 0.25):
            rows = [[denominator * (i == j) for j in range(len(basis))] for i in range(len(basis))]
            fine = row_echelon([*rows, [int(w) for w in whole.tolist()]], len(basis))
            return basis.new_tensor(fine) / denominator @ basis
    return None


def _fitted(basis: Tensor, peaks: Tensor, strengths: Tensor) -> Tensor:
    """Least squares over the peaks, whose places err as 1 / sqrt(strength)."""
    whole = (peaks @ torch.linalg.pinv(basis)).round()
    weights = strengths.sqrt()[:, None]
    if int(torch.linalg.matrix_rank(whole)) < len(basis):
        return basis
    fitted: Tensor = torch.linalg.lstsq(weights * whole, weights * peaks).solution
    return fitted


def _reduced(rows: Tensor) -> Tensor:
    """Short vectors of a lattice of any rank."""
    if not len(rows):
        return rows
    frame = torch.linalg.qr(rows.mT).Q
    reduced: Tensor = minkowski_reduced(rows @ frame).basis @ frame.mT
    return reduced
