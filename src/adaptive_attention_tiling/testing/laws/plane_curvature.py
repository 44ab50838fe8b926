"""The least and the largest sectional curvature at a point, over all planes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...mathematics.geometry.curvature import riemann
from ...mathematics.geometry.jets import MetricJet
from .balance import divided, lengths_of

_ROUNDS = 20


def frame_of(metric: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """E^i_a [*b, i, a] with E^T g E diagonal, 1 or -1 each."""
    lengths = lengths_of(metric).to(metric)
    values, vectors = torch.linalg.eigh(divided(metric, lengths))
    frame: Tensor = vectors / values.abs().sqrt()[..., None, :] / lengths[..., :, None]
    return frame


def in_frame(tensor: Tensor, frame: Float[Tensor, "*b n n"]) -> Tensor:
    """T_ij... E^i_a E^j_b ..., each index of T [*b, n, ..., n] turned."""
    batch = frame.dim() - 2
    for axis in range(batch, tensor.dim()):
        moved = tensor.movedim(axis, -1)
        wide = frame.reshape(
            *frame.shape[:-2], *(1,) * (moved.dim() - batch - 2), *frame.shape[-2:]
        )
        tensor = (moved @ wide).movedim(-1, axis)
    return tensor


def sectional_range(
    jet: MetricJet, bounds: tuple[float, float], planes: int, seed: int
) -> tuple[Float[Tensor, two * b], str]:
    """Least and largest K, and what the search may have missed.

    The curvature operator R_[ab][cd] acts on bivectors, of which all are planes for n <= 3; its
    eigenvalues are then the extremes, and bounds of K for any n.
    """
    curvature = in_frame(riemann(jet), frame_of(jet.metric))
    n = curvature.shape[-1]
    finite = curvature.isfinite().flatten(-4).all(-1)
    curvature = torch.where(finite[..., None, None, None, None], curvature, 0.0)
    pairs = torch.triu_indices(n, n, 1)
    rows = curvature[..., pairs[0], pairs[1], :, :][..., pairs[0], pairs[1]]
    operator = torch.linalg.eigvalsh((rows + rows.mT) / 2)
    extremes = torch.stack([operator[..., 0], operator[..., -1]])
    if n <= 3:
        return torch.where(finite, extremes, math.nan), ""
    found = torch.stack([_least(curvature, planes, seed), -_least(-curvature, planes, seed)])
    found = torch.where(finite, found, math.nan)
    least, largest = float(extremes[0].min()), float(extremes[1].max())
    told = f"; planes missed from {planes} starts, though K stays in [{least:.6g}, {largest:.6g}]"
    return found, "" if bounds[0] <= least and largest <= bounds[1] else told


def _least(curvature: Float[Tensor, "*b n n n n"], planes: int, seed: int) -> Float[Tensor, "*b"]:
    """min K(u, v), v the best for u and then u the best for v, which never raises K."""
    n = curvature.shape[-1]
    flat = curvature.reshape(-1, n, n, n, n)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(len(flat), planes, n, generator=generator, dtype=torch.float64)
    u = torch.nn.functional.normalize(start, dim=-1).to(flat)
    beyond = 2 * n**2 * flat.abs().flatten(1).amax(1)[:, None, None, None]
    best = u.new_empty(0)
    for _ in range(_ROUNDS):
        jacobi = torch.einsum("zabcd,zpa,zpc->zpbd", flat, u, u)
        # Lifted along u, so that the least eigenvector is orthogonal to it.
        lifted = (jacobi + jacobi.mT) / 2 + beyond * u[..., :, None] * u[..., None, :]
        values, vectors = torch.linalg.eigh(lifted)
        best, u = values[..., 0], vectors[..., 0]
    found: Tensor = best.amin(1).reshape(curvature.shape[:-4])
    return found
