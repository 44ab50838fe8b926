"""Mean curvature flow of meshes: spheres, ellipsoids that turn round, laws of any step."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    flow_singularities,
    icosphere,
    mean_curvature_flow,
    mean_curvature_step,
)
from adaptive_attention_tiling.mathematics.dynamics.surface_flow import (
    cotangent_laplacian,
    mean_curvature,
    mesh_area,
    mesh_volume,
    vertex_areas,
)

DOUBLE = torch.float64
MESHES = [icosphere(k) for k in range(3)]


def stretched(k, height):
    vertices, faces = MESHES[k]
    return vertices * torch.tensor([1.0, 1.0, height], dtype=DOUBLE), faces


def reference_laplacian(vertices, faces):
    """-(cot a + cot b) / 2 over each edge, one triangle and one angle at a time."""
    matrix = torch.zeros(len(vertices), len(vertices), dtype=DOUBLE)
    for face in faces.tolist():
        for turn in range(3):
            tip, i, j = face[turn:] + face[:turn]
            one, two = vertices[i] - vertices[tip], vertices[j] - vertices[tip]
            angle = torch.acos(one @ two / one.norm() / two.norm())
            for row, column, sign in ((i, j, -1), (j, i, -1), (i, i, 1), (j, j, 1)):
                matrix[row, column] += sign / (2 * float(angle.tan()))
    return matrix


def test_meshes_of_spheres():
    for k, (vertices, faces) in enumerate(MESHES):
        assert len(vertices) == 10 * 4**k + 2
        assert len(faces) == 20 * 4**k
        torch.testing.assert_close(vertices.norm(dim=-1), torch.ones(len(vertices), dtype=DOUBLE))
        assert float(vertex_areas(vertices, faces).sum()) == pytest.approx(
            float(mesh_area(vertices, faces))
        )
    golden = (1 + math.sqrt(5)) / 2
    edge = 2 / math.sqrt(1 + golden**2)
    assert float(mesh_area(*MESHES[0])) == pytest.approx(5 * math.sqrt(3) * edge**2)
    assert float(mesh_volume(*MESHES[0])) == pytest.approx(5 / 12 * (3 + math.sqrt(5)) * edge**3)
    areas = [4 * math.pi - float(mesh_area(*mesh)) for mesh in MESHES]
    assert 1.7 < math.log2(areas[1] / areas[2]) < 2.1
    corner = torch.cross(*(MESHES[1][0][MESHES[1][1][:, k]] for k in (1, 2)), dim=-1)
    assert bool(((corner * MESHES[1][0][MESHES[1][1][:, 0]]).sum(-1) > 0).all())


def test_the_cotangent_laplacian_is_its_reference():
    generator = torch.Generator().manual_seed(0)
    vertices, faces = MESHES[1]
    rough = vertices + 0.05 * torch.randn(2, *vertices.shape, dtype=DOUBLE, generator=generator)
    found = cotangent_laplacian(rough, faces)
    for one, points in zip(found, rough, strict=True):
        torch.testing.assert_close(one, reference_laplacian(points, faces))
        assert float(torch.linalg.eigvalsh(one)[0]) > -1e-12
    # The Dirichlet energy of the embedding is twice the area.
    energy = torch.einsum("...ia,...ij,...ja->...", rough, found, rough)
    torch.testing.assert_close(energy, 2 * mesh_area(rough, faces))


def test_golden_spheres_shrink_as_r2_minus_4_t():
    errors = []
    for k, steps in ((0, 2), (1, 8), (2, 32)):
        vertices, faces = MESHES[k]
        for _ in range(steps):
            vertices = mean_curvature_step(vertices, faces, 0.1 / steps)
        radius = vertices.norm(dim=-1)
        errors.append(float((radius - math.sqrt(0.6)).abs().max()))
    assert errors[2] < 0.005
    assert 1.8 < math.log2(errors[1] / errors[2]) < 2.3
    bend = mean_curvature(2 * MESHES[2][0], MESHES[2][1])
    assert float(bend.mean()) == pytest.approx(1, rel=0.02)


def test_a_sphere_is_gone_at_a_quarter():
    vertices, faces = MESHES[1]
    ends = []
    for share in (0.04, 0.02):
        flow = mean_curvature_flow(vertices, faces, share=share, largest_curvature=300.0)
        (end,) = flow_singularities(flow, 50.0)
        assert end.kind == "point"
        ends.append(end.time)
    # Late by three times the share.
    assert ends[0] - ends[1] == pytest.approx(0.25 * 3 * 0.02, rel=0.1)
    assert 2 * ends[1] - ends[0] == pytest.approx(0.25, rel=2e-3)
    # 1 / r^2, and more at the twelve corners of five triangles.
    assert 1 < float(flow.curvatures[0]) < 1.3


def test_the_singular_state_is_kept_whatever_every_is():
    flow = mean_curvature_flow(*MESHES[0], share=0.1, largest_curvature=20.0, every=7)
    assert flow.singular
    assert float(flow.curvatures[-2]) < 20 <= float(flow.curvatures[-1])


def test_an_ellipsoid_turns_round_with_even_triangles():
    vertices, faces = stretched(1, 1.5)
    flow = mean_curvature_flow(vertices, faces, share=0.03, largest_curvature=300.0)
    assert flow.singular
    assert bool((flow.volumes.diff() < 0).all())
    assert bool((flow.enclosed_volumes.diff() < 0).all())
    ratio = flow.volumes**3 / (36 * math.pi * flow.enclosed_volumes**2)
    sphere = mesh_area(*MESHES[1]) ** 3 / (36 * math.pi * mesh_volume(*MESHES[1]) ** 2)
    assert float(ratio[0]) > 1.08 * float(sphere)
    assert float(ratio[-1]) == pytest.approx(float(sphere), rel=0.01)
    (end,) = flow_singularities(flow, 50.0)
    assert end.kind == "point"
    # Between the ends of the spheres inside it and around it (the comparison principle).
    assert 0.25 < end.time < 0.25 * 1.5**2
    assert flow.places[0].abs().tolist() == pytest.approx(
        vertices[vertices[:, 2].argmax()].abs().tolist(), abs=1e-9
    )


def test_the_area_never_grows_and_batches_are_loops():
    generator = torch.Generator().manual_seed(1)
    vertices, faces = stretched(1, 2.0)
    rough = vertices + 0.05 * torch.randn(2, *vertices.shape, dtype=DOUBLE, generator=generator)
    for step in (1e-4, 0.05, 10.0):
        after = mean_curvature_step(rough, faces, step)
        assert bool((mesh_area(after, faces) < mesh_area(rough, faces)).all())
        for one, alone in zip(after, rough, strict=True):
            torch.testing.assert_close(one, mean_curvature_step(alone, faces, step))
    single = mean_curvature_step(rough.float(), faces, 0.05)
    torch.testing.assert_close(single, mean_curvature_step(rough, faces, 0.05).float(), rtol=0,
                               atol=1e-5)  # fmt: skip


def test_a_step_solves_its_equations():
    vertices, faces = stretched(1, 1.4)
    after = mean_curvature_step(vertices, faces, 0.03)
    pull = cotangent_laplacian(vertices, faces) @ after
    a, b, c = (vertices[corner] for corner in faces.unbind(1))
    normals = torch.zeros_like(vertices)
    for face, area in zip(faces.tolist(), torch.linalg.cross(b - a, c - a) / 6, strict=True):
        for vertex in face:
            normals[vertex] += area
    speed = (normals * (after - vertices)).sum(-1) / 0.03
    sizes = normals.norm(dim=-1)
    bend = -speed / sizes
    masses = vertex_areas(vertices, faces)
    torch.testing.assert_close((bend * masses / sizes)[:, None] * normals, pull, rtol=0, atol=1e-11)
    assert float(bend.min()) > 0.5


def test_gradients():
    vertices, faces = stretched(0, 1.3)
    vertices.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: mean_curvature_step(v, faces, 0.05), (vertices,), fast_mode=True
    )


V, F = MESHES[0]
BALL, FACES = MESHES[1]
NECK = BALL * torch.tensor([1, 1, 4.0]) * (0.15 + BALL[:, 2:].square()).clamp(max=1)
FLAT = V.clone()
FLAT[F[0, 0]] = (FLAT[F[0, 1]] + FLAT[F[0, 2]]) / 2


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: mean_curvature_step(V, F, -1.0), "step: got -1.0"),
        (lambda: mean_curvature_step(V[:, :2], F, 0.1), r"vertices: got torch.float64 \[12, 2\]"),
        (lambda: mean_curvature_step(V.long(), F, 0.1), "vertices: got torch.int64"),
        (lambda: mean_curvature_step(V[:0], F[:0], 0.1), r"faces: got torch.int64 \[0, 3\]"),
        (
            lambda: mean_curvature_flow(NECK, FACES, largest_curvature=1e12, share=0.25),
            "vertices: got a mesh that collapsed",
        ),
        (
            lambda: mean_curvature_flow(V.float(), F, largest_curvature=1e38, share=0.25),
            "vertices: got a mesh that collapsed",
        ),
        (lambda: mean_curvature_step(V * math.nan, F, 0.1), "vertices: got"),
        (lambda: mean_curvature_step(V[:11], F, 0.1), "from 0 to 10"),
        (lambda: mean_curvature_step(V, F.int(), 0.1), "faces: got torch.int32"),
        (lambda: mean_curvature_step(V, F[1:], 0.1), "not run once each way"),
        (lambda: mean_curvature_step(V, F[[0, *range(20)]], 0.1), "not run once each way"),
        (lambda: mean_curvature_step(V, F.repeat(2, 1), 0.1), "not run once each way"),
        (lambda: mean_curvature_step(V, torch.cat([F[:1].flip(1), F[1:]]), 0.1), "each way"),
        (lambda: mean_curvature_step(torch.cat([V, V[:1]]), F, 0.1), "a vertex without faces"),
        (lambda: mean_curvature_step(FLAT, F, 0.1), "a triangle without area"),
        (lambda: mean_curvature_flow(V, F, time=0.0), "time: got 0.0"),
        (lambda: mean_curvature_flow(V, F, share=0.3), "share: got 0.3"),
        (lambda: mean_curvature_flow(V, F, every=0), "every: got 0"),
        (lambda: mean_curvature_flow(V, F, largest_curvature=-1.0), "largest_curvature: got"),
        (lambda: mean_curvature_flow(V[None], F), "expected one mesh"),
        (lambda: icosphere(-1), "subdivisions: got -1"),
    ],
)
def test_what_is_no_surface_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
