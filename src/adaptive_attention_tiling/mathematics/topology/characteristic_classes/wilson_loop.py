"""Berry phases and Wilson loops of bands along closed paths of the Brillouin torus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ....errors import ArgumentError
from .band_hamiltonians import Hamiltonian
from .chern_lattice import band_states, determinant_links


def berry_phase(
    hamiltonian: Hamiltonian, path: Float[Tensor, "*b m d"], bands: int | Sequence[int] = 1
) -> Float[Tensor, "*b"]:
    """gamma = arg prod_j det <u(k_j)|u(k_(j+1))>, in (-pi, pi], from the last point to the first.

    This is the phase of links, minus that of the connection i <u|du>. Differentiable in the
    Hamiltonian's parameters.

    Args:
        hamiltonian: k [*b, d] -> Hermitian [*b, n, n].
        path: m points; H must be the same matrix where the path closes, at k_(m+1) = k_1 or a
            period away.
        bands: the number of lowest bands, or their places from 0.

    Source: King-Smith and Vanderbilt, PRB 47, 1651 (1993), equation 15.
    """
    states = _states_on(hamiltonian, path, bands)
    links = determinant_links(states, states.roll(-1, -3))
    return (links / links.detach().abs()).prod(-1).angle()


def zak_phase(
    hamiltonian: Hamiltonian, points: int = 200, bands: int | Sequence[int] = 1
) -> Float[Tensor, ""]:
    """The Berry phase of a chain's bands around k = 0 .. 2 pi; pi is also -pi.

    Source: Zak, PRL 62, 2747 (1989).
    """
    path = 2 * math.pi * torch.arange(points, dtype=torch.float64) / max(1, points)
    return berry_phase(hamiltonian, path[:, None], bands)


def wilson_loop(
    hamiltonian: Hamiltonian, path: Float[Tensor, "*b m d"], bands: int | Sequence[int] = 1
) -> Complex[Tensor, "*b s s"]:
    """W = prod_j P_j, P_j the unitary part U V^dagger of the overlaps <u_a(k_j)|u_b(k_(j+1))>.

    Another gauge of the first point's states turns W into g^dagger W g.
    """
    states = _states_on(hamiltonian, path, bands)
    left, _, right = torch.linalg.svd(states.mH @ states.roll(-1, -3))
    steps = left @ right
    loop: Tensor = steps[..., 0, :, :]
    for j in range(1, steps.shape[-3]):
        loop = loop @ steps[..., j, :, :]
    return loop


def wilson_spectrum(
    hamiltonian: Hamiltonian,
    grid: tuple[int, int] = (64, 64),
    bands: int | Sequence[int] = 1,
) -> Float[Tensor, "n2 s"]:
    """The phases of W's eigenvalues around k_1 at each k_2, sorted in (-pi, pi].

    Their sum winds with k_2 as often as the bands' Chern number says; with this convention
    sum_a theta_a(k_2) turns by -2 pi C over a period. Source: Yu, Qi, Bernevig, Fang and Dai, PRB
    84, 075119 (2011).
    """
    first, second = (2 * math.pi * torch.arange(n, dtype=torch.float64) / n for n in grid)
    paths = torch.stack(torch.meshgrid(second, first, indexing="ij")[::-1], -1)  # [n2, n1, 2]
    phases: Tensor = torch.linalg.eigvals(wilson_loop(hamiltonian, paths, bands)).angle()
    return phases.sort(-1).values


def _states_on(hamiltonian: Hamiltonian, path: Tensor, bands: int | Sequence[int]) -> Tensor:
    if path.dim() < 2 or path.shape[-2] < 3:
        raise ArgumentError(
            "path", f"shape {list(path.shape)}", "[*b, m, d], m >= 3", "pass points of k"
        )
    return band_states(hamiltonian, path, bands)[0]
