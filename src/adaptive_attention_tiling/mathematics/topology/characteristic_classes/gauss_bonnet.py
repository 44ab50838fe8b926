"""The Euler number of a triangulated surface by its angles (discrete Gauss and Bonnet)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import ArgumentError


def angle_defects(
    vertices: Float[Tensor, "*b v d"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b v"]:
    """2 pi (pi at the boundary) less the angles of triangles at each vertex, in radians.

    These are the integrals of curvature over what is near a vertex; differentiable in the vertices.

    Args:
        vertices: positions in d >= 2 dimensions.
        faces: vertices of each triangle; each edge in one or two triangles.

    Raises:
        ArgumentError: indices out of range, an edge of three triangles, a triangle without area, a
            vertex of no triangle, or one at which the boundary meets itself.

    Source: Crane, de Goes, Desbrun and Schroder, Digital Geometry Processing with Discrete Exterior
    Calculus (2013), chapter 3; Polya (1954) for the boundary.
    """
    boundary = _checked_surface(vertices, faces)
    corners = vertices[..., faces, :]  # [*b, f, 3, d]
    one, other = corners.roll(-1, -2) - corners, corners.roll(1, -2) - corners
    angles = _angle(one, other)
    least = 8 * torch.finfo(angles.dtype).eps
    if not bool(((angles > least) & (angles < math.pi - least)).all()):
        raise ArgumentError(
            "vertices", "a triangle without area, or NaN", "three corners apart", "leave it out"
        )
    total = vertices.new_zeros(*vertices.shape[:-1])
    flat = faces.flatten().expand(*total.shape[:-1], -1)
    total = total.scatter_add(-1, flat, angles.flatten(-2))
    around = 2 * math.pi - math.pi * boundary.to(vertices)
    return around - total


def euler_number(
    vertices: Float[Tensor, "*b v d"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b"]:
    """chi = sum of angle defects / 2 pi: an integer up to rounding, wherever the vertices are."""
    return angle_defects(vertices, faces).sum(-1) / (2 * math.pi)


def _angle(first: Float[Tensor, "*b d"], second: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
    """2 atan2(|u - v|, |u + v|) of the unit vectors, accurate for all angles (Kahan, 2006)."""
    u, v = (x / x.norm(dim=-1, keepdim=True) for x in (first, second))
    return 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))


def _checked_surface(vertices: Tensor, faces: Tensor) -> Tensor:
    """Which vertices [v] lie on the boundary."""
    if faces.dim() != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64 or not len(faces):
        raise ArgumentError(
            "faces", f"{faces.dtype} {list(faces.shape)}", "int64 [f, 3]", "pass triangles"
        )
    if vertices.dim() < 2 or vertices.shape[-1] < 2 or not vertices.is_floating_point():
        raise ArgumentError(
            "vertices", f"{vertices.dtype} {list(vertices.shape)}", "floating [*b, v, d], d >= 2",
            "pass positions",
        )  # fmt: skip
    count = vertices.shape[-2]
    known = torch.bincount(faces.flatten().clamp(min=0), minlength=count)
    if int(faces.min()) < 0 or len(known) > count or int(known.min()) == 0:
        raise ArgumentError(
            "faces",
            f"vertices {int(faces.min())} to {int(faces.max())}",
            f"all of 0 to {count - 1}",
            "leave out vertices of no triangle",
        )
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    edges, triangles = edges.unique(dim=0, return_counts=True)
    if int(triangles.max()) > 2 or bool((edges[:, 0] == edges[:, 1]).any()):
        raise ArgumentError(
            "faces",
            f"an edge of {int(triangles.max())} triangles, or a corner twice in one",
            "edges of one or two triangles",
            "cut the surface where it branches",
        )
    ends = torch.bincount(edges[triangles == 1].flatten(), minlength=count)
    if int(ends.max()) > 2:
        raise ArgumentError(
            "faces",
            "a vertex at which the boundary meets itself",
            "two edges of the boundary at each of its vertices",
            "count such a vertex once for each of its fans",
        )
    boundary: Tensor = ends > 0
    return boundary
