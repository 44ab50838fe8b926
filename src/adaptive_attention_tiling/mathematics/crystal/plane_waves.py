"""Bands of a particle in a periodic potential: plane waves, and the Kronig-Penney comb."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .lattice import check_lattice, whole_vectors


def plane_wave_hamiltonian(
    wavevector: Float[Tensor, "*b n"],
    reciprocal: Float[Tensor, "n n"],
    harmonics: Int[Tensor, "h n"],
    amplitudes: Tensor,
    most: int = 8,
) -> Tensor:
    """H_GG'(k) = |k + G|^2 delta_GG' + V(G - G'), complex [*b, m, m], m = (2 most + 1)^n.

    Energies are in units of hbar^2 / (2 M): H = -Laplace + V, V(x) = sum_g V_g exp(i g . x).
    Its lowest eigenvalues, `torch.linalg.eigvalsh`, fall to the bands as `most` grows.

    Args:
        wavevector: k, in radians a unit of length.
        reciprocal: reciprocal primitive vectors as rows.
        harmonics: g as whole combinations of those rows, each with its opposite.
        amplitudes: V_g [h], real or complex, V_-g the conjugate of V_g.
        most: largest entry of the G kept.

    Ashcroft and Mermin, Solid State Physics (1976), equation 8.38.
    """
    check_lattice(reciprocal)
    size = len(reciprocal)
    if wavevector.dim() < 1 or wavevector.shape[-1] != size:
        raise ArgumentError(
            "wavevector", f"shape {list(wavevector.shape)}", f"[..., {size}]", "pass k"
        )
    if most < 1:
        raise ArgumentError("most", most, "a whole number >= 1", "keep a few waves")
    _check_potential(harmonics, amplitudes, size)
    whole = whole_vectors(size, most).to(reciprocal.device)
    waves = whole.to(reciprocal) @ reciprocal
    kinetic = (wavevector[..., None, :] + waves).square().sum(-1)
    like = ((whole[:, None] - whole)[:, :, None] == harmonics).all(-1)
    number = torch.promote_types(amplitudes.dtype, kinetic.to(torch.complex64).dtype)
    if kinetic.dtype == torch.float64:
        number = torch.complex128
    matrix: Tensor = torch.diag_embed(kinetic.to(number)) + like.to(number) @ amplitudes.to(number)
    return matrix


def kronig_penney_bands(
    phase: Float[Tensor, "*b"], strength: Float[Tensor, ""] | float, count: int
) -> Float[Tensor, "*b count"]:
    """The roots x_j = alpha_j a of cos(k a) = cos x + P sin(x) / x, lowest band first.

    A comb of repulsive delta walls a apart; energies are x^2 in units of hbar^2 / (2 M a^2).
    Band j lies in ((j - 1) pi, j pi] and touches j pi. Differentiable in both (in the phase but
    at a multiple of pi, where bands are flat, the derivative of cos is 0).

    Args:
        phase: k a, in radians.
        strength: P = M a V / hbar^2 > 0 of the walls V delta(x - n a).
        count: bands.

    Kronig and Penney, Proc. R. Soc. A 130 (1931) 499; Kittel, Introduction to Solid State
    Physics, 8th edition (2005), chapter 7, equation 21b.
    """
    walls = torch.as_tensor(strength, dtype=phase.dtype, device=phase.device)
    if walls.dim() or not 0 < float(walls.detach()) < math.inf:
        raise ArgumentError("strength", strength, "one number > 0", "pass P = M a V / hbar^2")
    if count < 1:
        raise ArgumentError("count", count, "a whole number >= 1", "ask for a band")
    if not bool(phase.detach().isfinite().all()):
        raise ArgumentError("phase", "NaN or infinity", "finite numbers", "pass k a")
    band = torch.arange(count, dtype=phase.dtype, device=phase.device)
    target = phase.cos()[..., None]
    low = (band * math.pi).expand(*phase.shape, count)
    high = low + math.pi
    with torch.no_grad():
        for _ in range(60):
            middle = (low + high) / 2
            # Within its interval the right side falls in odd bands and rises in even ones.
            below = (_comb(middle, walls) - target) * torch.cos(band * math.pi) > 0
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        root = (low + high) / 2
    with torch.enable_grad():
        inner = root.clone().requires_grad_()
        (slope,) = torch.autograd.grad(_comb(inner, walls.detach()).sum(), inner)
    # One Newton step: exact to rounding, and the gradient of an implicit function.
    bands: Tensor = root - (_comb(root, walls) - target) / slope
    return bands


def _comb(x: Tensor, walls: Tensor) -> Tensor:
    return x.cos() + walls * torch.sinc(x / math.pi)


def _check_potential(harmonics: Tensor, amplitudes: Tensor, size: int) -> None:
    if harmonics.dim() != 2 or harmonics.shape[1] != size or harmonics.is_floating_point():
        raise ArgumentError(
            "harmonics",
            f"{harmonics.dtype} of shape {list(harmonics.shape)}",
            f"whole numbers [h, {size}]",
            "pass g in reciprocal primitive vectors",
        )
    if amplitudes.shape != harmonics.shape[:1]:
        raise ArgumentError(
            "amplitudes", f"shape {list(amplitudes.shape)}", f"[{len(harmonics)}]", "one for each g"
        )
    if not bool(amplitudes.detach().isfinite().all()):
        raise ArgumentError("amplitudes", "NaN or infinity", "finite numbers", "pass V_g")
    like = (harmonics[:, None] == -harmonics).all(-1).to(amplitudes)
    once = (harmonics[:, None] == harmonics).all(-1).sum(1) == 1
    back = like @ amplitudes.detach().conj()
    error = (back - amplitudes.detach()).abs()
    if not bool(once.all()) or bool((error > 1e-6 * amplitudes.detach().abs()).any()):
        raise ArgumentError(
            "amplitudes",
            "V_-g other than the conjugate of V_g, or a g given twice",
            "a real potential",
            "list g and -g, each once",
        )
