"""Mean curvature flow of closed triangle meshes by implicit steps of the cotangent Laplacian.

Vertices may slide along the surface. Where they move along the normal alone, as in the schemes of
Dziuk (1990) and Desbrun et al. (1999), they pile up at tips: an ellipsoid of axes 1, 1, 1.5 with
162 vertices then ends far from round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

_MAX_STEPS = 100_000


@dataclass(frozen=True)
class SurfaceFlow:
    """A flow of closed triangle meshes.

    Args:
        times: of the states, [t].
        vertices: [t, v, 3].
        faces: [f, 3].
        singular: whether curvature reached the bound, before the time was over.
    """

    times: Float[Tensor, " t"]
    vertices: Float[Tensor, "t v 3"]
    faces: Int[Tensor, "f 3"]
    singular: bool
    dimension = 2

    @property
    def volumes(self) -> Float[Tensor, " t"]:
        """The areas, a surface's volumes of dimension 2."""
        return mesh_area(self.vertices, self.faces)

    @property
    def enclosed_volumes(self) -> Float[Tensor, " t"]:
        """What lies inside."""
        return mesh_volume(self.vertices, self.faces)

    @property
    def curvatures(self) -> Float[Tensor, " t"]:
        """The largest (H / 2)^2 of each state, 1 / r^2 of a sphere."""
        return mean_curvature(self.vertices, self.faces).square().amax(-1) / 4

    @property
    def places(self) -> Float[Tensor, "t 3"]:
        """The vertex of largest H^2."""
        worst = mean_curvature(self.vertices, self.faces).square().argmax(-1)
        return self.vertices[torch.arange(len(worst)), worst]


def mesh_area(vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "*b"]:
    """The sum of the triangles' areas."""
    found: Tensor = _double_normals(vertices, faces).norm(dim=-1).sum(-1) / 2
    return found


def mesh_volume(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b"]:
    """The volume inside, |sum over faces of det(a, b, c)| / 6."""
    corner = vertices[..., faces[:, 0], :]
    return (corner * _double_normals(vertices, faces)).sum((-1, -2)).abs() / 6


def cotangent_laplacian(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b v v"]:
    """L of int |grad u|^2 = u^T L u for linear elements: L_ij = -(cot a + cot b) / 2 on an edge.

    a and b are the angles that face the edge, rows sum to 0, and no eigenvalue is negative.

    Source: Pinkall and Polthier, Computing discrete minimal surfaces and their conjugates (1993).
    """
    matrix = vertices.new_zeros(*vertices.shape[:-1], vertices.shape[-2])
    for own, first, second in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        i, j = faces[:, first], faces[:, second]
        tip = vertices[..., faces[:, own], :]
        one, two = vertices[..., i, :] - tip, vertices[..., j, :] - tip
        cot = (one * two).sum(-1) / torch.linalg.cross(one, two).norm(dim=-1) / 2
        # Rows of the flattened matrix, so that batches add up at once.
        flat = matrix.flatten(-2)
        v = vertices.shape[-2]
        for place, sign in ((i * v + j, -1), (j * v + i, -1), (i * v + i, 1), (j * v + j, 1)):
            flat = flat.index_add(-1, place, sign * cot)
        matrix = flat.unflatten(-1, (v, v))
    return matrix


def vertex_areas(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b v"]:
    """A third of the triangles at each vertex."""
    thirds = _double_normals(vertices, faces).norm(dim=-1) / 6
    found = vertices.new_zeros(vertices.shape[:-1])
    for corner in faces.unbind(1):
        found = found.index_add(-1, corner, thirds)
    return found


def mean_curvature(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"]
) -> Float[Tensor, "*b v"]:
    """|H| at each vertex, the sum of the principal curvatures: |L x| / area.

    Its mean converges as h^2; at single vertices of irregular meshes it need not converge.

    Source: Desbrun, Meyer, Schröder and Barr, Implicit fairing of irregular meshes (1999).
    """
    pull = cotangent_laplacian(vertices, faces) @ vertices
    found: Tensor = pull.norm(dim=-1) / vertex_areas(vertices, faces)
    return found


def mean_curvature_step(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"], step: float
) -> Float[Tensor, "*b v 3"]:
    """The mesh a time later under x_t = -H n.

        n_i . (x_i' - x_i) / step = -h_i,    h_i m_i n_i = (L x')_i

    with n_i the unit vector along the areas at vertex i, m_i a third of them and L the cotangent
    Laplacian, all of the old mesh. Motion along the surface is free, and goes where L spreads
    vertices. The area never grows, whatever the step; errors are step + h^2. Differentiable; the
    dense system of v vertices costs 9 v^3.

    Args:
        vertices: of a closed surface.
        faces: triangles, every edge in two of them and run once each way.
        step: > 0.

    Raises:
        ArgumentError: a step <= 0; no closed oriented mesh; a triangle without area.

    Source: Barrett, Garcke and Nürnberg, On the parametric finite element approximation of evolving
    hypersurfaces in R^3, J. Comput. Phys. 227 (2008), section 2; there the mean N_i / m_i stands
    for n_i, N_i a third of the area vectors, which shrinks coarse spheres faster.
    """
    if not 0 < step < math.inf:
        raise ArgumentError("step", step, "a number > 0", "surfaces do not flow back")
    check_mesh(vertices, faces)
    return _stepped(vertices, faces, step)


def mean_curvature_flow(
    vertices: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    *,
    time: float = math.inf,
    largest_curvature: float = 1e3,
    share: float = 0.01,
    every: int = 1,
) -> SurfaceFlow:
    """The flow of a closed mesh for a time, or until (H / 2)^2 reaches a bound somewhere.

    Each step is `share` of 4 / max H^2. A sphere then ends late by three times this share.

    Raises:
        ArgumentError: as `mean_curvature_step`; options that make no sense; a mesh that collapsed.
    """
    check_mesh(vertices, faces)
    _check_options(vertices, time, largest_curvature, share, every)
    now, kept, state = 0.0, [], vertices
    for number in range(_MAX_STEPS):
        bound = float(mean_curvature(state.detach(), faces).square().max()) / 4
        if not math.isfinite(bound):
            raise _collapse()
        singular = not bound < largest_curvature
        if number % every == 0 or singular or now >= time:
            kept.append((now, state))
        if singular or now >= time:
            break
        size = min(share / bound, time - now)
        state = _stepped(state, faces, size)
        now = time if size == time - now else now + size
    else:
        raise CorrectnessError(f"{_MAX_STEPS} steps end at time {now:.6g}")
    times, meshes = zip(*kept, strict=True)
    return SurfaceFlow(vertices.new_tensor(times), torch.stack(meshes), faces, singular)


def check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Raise unless this is a closed oriented mesh of triangles with area."""
    shape = vertices.dim() >= 2 and vertices.shape[-1] == 3 and vertices.is_floating_point()
    if not shape or not bool(vertices.isfinite().all()):
        raise ArgumentError(
            "vertices", f"{vertices.dtype} {list(vertices.shape)}", "finite floating [*b, v, 3]",
            "pass points",
        )  # fmt: skip
    count = vertices.shape[-2]
    shape = faces.dim() == 2 and faces.shape[1] == 3 and faces.dtype == torch.int64
    shape = shape and len(faces) > 0
    if not shape or not bool(((faces >= 0) & (faces < count)).all()):
        raise ArgumentError(
            "faces", f"{faces.dtype} {list(faces.shape)}", f"int64 [f, 3] from 0 to {count - 1}",
            "number vertices from 0",
        )  # fmt: skip
    edges = torch.cat([faces, faces.roll(-1, 1)], 0).reshape(2, -1)
    ways = torch.stack([edges[0] * count + edges[1], edges[1] * count + edges[0]])
    there, back = (way.sort().values for way in ways)
    if not torch.equal(there, back) or bool((there.diff() == 0).any()):
        raise ArgumentError(
            "faces", "an edge that is not run once each way", "a closed oriented surface",
            "close the mesh and orient its faces alike",
        )  # fmt: skip
    if not bool((torch.bincount(faces.flatten(), minlength=count) > 0).all()):
        raise ArgumentError("faces", "a vertex without faces", "one or more", "leave it out")
    sizes = _double_normals(vertices.detach(), faces).norm(dim=-1)
    if not bool((sizes > torch.finfo(vertices.dtype).eps * sizes.amax(-1, keepdim=True)).all()):
        raise ArgumentError("vertices", "a triangle without area", "area > 0", "collapse it")


def _stepped(vertices: Tensor, faces: Tensor, step: float) -> Tensor:
    count = vertices.shape[-2]
    normals = torch.zeros_like(vertices)
    thirds = _double_normals(vertices, faces) / 6
    for corner in faces.unbind(1):
        normals = normals.index_add(-2, corner, thirds)
    masses = vertex_areas(vertices, faces)
    sizes = normals.norm(dim=-1, keepdim=True)
    units = normals / torch.where(sizes == 0, 1, sizes)
    moving = units[..., :, None] * units[..., None, :] * (masses / step)[..., None, None]
    one = torch.eye(3, dtype=vertices.dtype, device=vertices.device)
    matrix = torch.einsum("...ij,ab->...iajb", cotangent_laplacian(vertices, faces), one)
    spread = torch.diag_embed(moving.movedim(-3, -1))  # [*b, 3, 3, v, v]
    matrix = (matrix + torch.einsum("...abij->...iajb", spread)).flatten(-2).flatten(-3, -2)
    right = (moving @ vertices[..., None]).flatten(-3, -2)
    factor, info = torch.linalg.cholesky_ex(matrix)
    if bool(info.any()):
        raise _collapse()
    return torch.cholesky_solve(right, factor).reshape(*vertices.shape[:-2], count, 3)


def _collapse() -> ArgumentError:
    return ArgumentError(
        "vertices", "a mesh that collapsed", "triangles with area",
        "end the flow at a smaller largest_curvature, or take a smaller share",
    )  # fmt: skip


def _double_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    a, b, c = (vertices[..., corner, :] for corner in faces.unbind(1))
    found: Tensor = torch.linalg.cross(b - a, c - a)
    return found


def _check_options(vertices: Tensor, time: float, bound: float, share: float, every: int) -> None:
    if vertices.dim() != 2:
        raise ArgumentError("vertices", list(vertices.shape), "one mesh", "flow each on its own")
    if not time > 0:
        raise ArgumentError("time", time, "a number > 0", "pass time=0.1")
    if not 0 < bound < math.inf:
        raise ArgumentError("largest_curvature", bound, "a number > 0", "pass 1e3")
    if not 0 < share <= 0.25:
        raise ArgumentError("share", share, "in (0, 0.25]", "pass share=0.01")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ArgumentError("every", every, "an integer >= 1", "pass every=1")
