"""Energies of particles in several dimensions, in products of functions of one axis each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def product_spectrum(
    kinetic: Sequence[Float[Tensor, "g g"]], values: Float[Tensor, "*g"], kept: int
) -> tuple[Float[Tensor, " c"], Float[Tensor, "*g c"]]:
    """Energies, increasing, and vectors with sum psi^2 = 1, from c = kept^d functions.

    Each axis alone has its kinetic energy and the potential along it through the lowest place; the
    basis are products of its lowest eigenvectors.

    Args:
        kinetic: T of each axis.
        values: V on the grid.
        kept: functions along an axis, from 1 to the points; kept^d up to 2048.

    Carney, Sprandel and Kern, Variational approaches to vibration-rotation spectroscopy (1978).
    """
    count = len(kinetic)
    if not 1 <= kept <= min(map(len, kinetic)) or kept**count > 2048:
        raise ArgumentError("kept", kept, "1 to the points, with a power up to 2048", "keep fewer")
    low = torch.unravel_index(values.detach().argmin(), values.shape)
    sums, basis = torch.zeros(1).to(values), torch.ones(1, 1).to(values)
    lines = torch.zeros_like(values)
    for a, momentum in enumerate(kinetic):
        line = values[tuple(slice(None) if c == a else low[c] for c in range(count))]
        energies, waves = torch.linalg.eigh(momentum + line.diag())
        sums = (sums[:, None] + energies[:kept]).flatten()
        basis = torch.einsum("ij,kl->ikjl", basis, waves[:, :kept]).flatten(2).flatten(0, 1)
        lines = lines + line.reshape([-1 if c == a else 1 for c in range(count)])
    coupling = basis.mT @ ((values - lines).reshape(-1, 1) * basis)
    found, mixed = torch.linalg.eigh(sums.diag() + coupling)
    return found, (basis @ mixed).reshape(*values.shape, -1)
