"""Triangle meshes of the unit sphere."""

from __future__ import annotations

import math
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


def icosphere(
    subdivisions: int, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "v 3"], Int[Tensor, "f 3"]]:
    """A unit sphere: the icosahedron with each triangle parted in four `subdivisions` times.

    It has 10 * 4^k + 2 vertices, faces seen counterclockwise from outside.
    """
    if isinstance(subdivisions, bool) or not isinstance(subdivisions, int) or subdivisions < 0:
        raise ArgumentError("subdivisions", subdivisions, "an integer >= 0", "pass 2")
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    points = torch.tensor(
        [p[-turn:] + p[:-turn] for turn in range(3) for p in corners], dtype=dtype
    )
    near = (torch.cdist(points, points) - 2).abs() < 1e-6
    faces = torch.tensor(
        [f for f in combinations(range(12), 3) if all(near[a, b] for a, b in combinations(f, 2))]
    )
    a, b, c = points[faces].unbind(1)
    inward = (a * torch.linalg.cross(b - a, c - a)).sum(-1) < 0
    faces = torch.where(inward[:, None], faces.flip(1), faces)
    for _ in range(subdivisions):
        points, faces = _parted(points, faces)
    return points / points.norm(dim=-1, keepdim=True), faces


def _parted(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Each triangle in four, by the middles of its edges."""
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    unique, where = edges.unique(dim=0, return_inverse=True)
    ab, bc, ca = (where + len(points)).view(3, -1)
    a, b, c = faces.unbind(1)
    parts = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    middles = points[unique].mean(1)
    middles = middles / middles.norm(dim=-1, keepdim=True) * points[0].norm()
    return torch.cat([points, middles]), torch.cat([torch.stack(part, 1) for part in parts])
