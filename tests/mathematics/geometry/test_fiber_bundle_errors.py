import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry.fiber_bundle import (
    Atlas,
    BundlePoint,
    Chart,
    FiberBundle,
    Path,
    StructureGroup,
    TangentVector,
    circle_atlas,
    euclidean_atlas,
    flat_connection,
    monopole_bundle,
    sphere_atlas,
    trivial_bundle,
)

O1 = StructureGroup(1, isometric=True)
O2 = StructureGroup(2, isometric=True)
POLE = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
EAST = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)


def constant(*rows):
    matrix = torch.tensor(rows, dtype=torch.float64)
    return lambda points: matrix.expand(*points.shape[:-1], *matrix.shape)


def three_arcs():
    """The circle by three arcs that all meet each other, and all three nowhere."""
    angle = 2 * math.pi / 3

    def arc(k):
        turn = torch.tensor(
            [
                [math.cos(k * angle), -math.sin(k * angle)],
                [math.sin(k * angle), math.cos(k * angle)],
            ],
            dtype=torch.float64,
        )

        def coordinates(points):
            turned = points @ turn
            return torch.atan2(turned[..., 1:], turned[..., :1])

        def point(x):
            return torch.cat([x.cos(), x.sin()], -1) @ turn.mT

        return Chart(
            f"arc {k}", 1, coordinates, point, lambda points: 0.9 + (points @ turn)[..., 0]
        )

    return Atlas(tuple(arc(k) for k in range(3)), circle_atlas().samples)


def arcs_with(*signs):
    pairs = [("arc 0", "arc 1"), ("arc 1", "arc 2"), ("arc 2", "arc 0")]
    transitions = {pair: constant([sign]) for pair, sign in zip(pairs, signs, strict=True)}
    connections = {f"arc {k}": flat_connection(O1) for k in range(3)}
    return FiberBundle(three_arcs(), O1, transitions, connections)


def over_circle(transitions, connections=None, group=O1):
    flat = flat_connection(group)
    return FiberBundle(
        circle_atlas(), group, transitions, connections or {"east": flat, "west": flat}
    )


def slanted(x):
    return torch.ones(*x.shape, 1, 1, dtype=x.dtype)


def test_three_charts_with_transitions_that_agree_are_a_bundle():
    assert arcs_with(1.0, 1.0, 1.0).is_flat()
    assert arcs_with(1.0, -1.0, -1.0).is_flat()


def test_a_triple_that_contradicts_itself_is_named_with_its_defect():
    message = r"transitions: got charts \('arc 0', 'arc 1', 'arc 2'\) with a defect of 2"
    with pytest.raises(ArgumentError, match=message):
        arcs_with(1.0, 1.0, -1.0)


def up(points):
    """1 on the upper half, -1 on the lower."""
    return torch.where(points[..., 1:] > 0, 1.0, -1.0).to(points.dtype)[..., None]


BROKEN = {
    "inverse": (
        lambda: over_circle({("east", "west"): up, ("west", "east"): constant([1.0])}),
        r"\('east', 'west', 'east'\) with a defect of 2",
    ),
    "no transition": (lambda: over_circle({}), "none between 'east' and 'west'"),
    "outside of the group": (
        lambda: over_circle({("east", "west"): constant([2.0])}),
        r"transitions\['east', 'west'\]: got matrices 3 away from O\(1\)",
    ),
    "determinant of -1": (
        lambda: over_circle({("east", "west"): up}, group=StructureGroup(1, True, True)),
        r"transitions\['east', 'west'\]: got matrices 2 away from SO\(1\)",
    ),
    "trace in the algebra": (
        lambda: trivial_bundle(euclidean_atlas(1), StructureGroup(1, unimodular=True), slanted),
        r"connections\['all'\]: got matrices 1 away from the Lie algebra of SL\(1, R\)",
    ),
    "singular": (
        lambda: over_circle({("east", "west"): constant([0.0])}, group=StructureGroup(1)),
        r"nan away from GL\(1, R\)",
    ),
    "outside of the algebra": (
        lambda: over_circle({("east", "west"): up}, {"east": slanted, "west": slanted}),
        r"connections\['east'\]: got matrices 2 away from the Lie algebra of O\(1\)",
    ),
    "connections that differ": (
        lambda: over_circle(
            {("east", "west"): up},
            {"east": slanted, "west": flat_connection(O1)},
            StructureGroup(1),
        ),
        r"connections: got charts \('east', 'west'\) with a defect of 1",
    ),
    "a chart without connection": (
        lambda: over_circle({("east", "west"): up}, {"east": flat_connection(O1)}),
        r"connections: got \['east'\], expected \['east', 'west'\]",
    ),
    "components of another shape": (
        lambda: trivial_bundle(euclidean_atlas(2), O2, flat_connection(O1)),
        r"shape \[8, 2, 1, 1\] at coordinates \[8, 2\], expected \[8, 2, 2, 2\]",
    ),
    "two charts are not trivial": (
        lambda: trivial_bundle(sphere_atlas(), O2),
        "atlas: got 2 charts, expected one",
    ),
    "samples off the manifold": (
        lambda: Atlas(sphere_atlas().charts, 2 * sphere_atlas().samples),
        "samples: got a point .* away from the manifold",
    ),
    "charts of one name": (
        lambda: Atlas(sphere_atlas().charts[:1] * 2, sphere_atlas().samples),
        "names that differ",
    ),
    "samples of integers": (
        lambda: Atlas(sphere_atlas().charts, torch.ones(2, 3, dtype=torch.int64)),
        r"samples: got torch.int64 \[2, 3\]",
    ),
    "sphere of dimension 0": (lambda: sphere_atlas(0), "dimension: got 0"),
    "group of size 0": (lambda: StructureGroup(0), "size: got 0"),
    "path without pieces": (lambda: Path(torch.sin, pieces=0), "pieces: got 0"),
    "path of one vertex": (lambda: Path.through(POLE[None]), r"vertices: got shape \[1, 3\]"),
}


@pytest.mark.parametrize(("build", "message"), BROKEN.values(), ids=BROKEN)
def test_parts_that_do_not_go_together_are_told(build, message):
    with pytest.raises(ArgumentError, match=message):
        build()


def ring(t):
    angle = 2 * math.pi * t
    return torch.stack([0.6 * angle.cos(), 0.6 * angle.sin(), torch.full_like(t, 0.8)], -1)


START = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
ONE = torch.ones(1, dtype=torch.complex128)

MISUSED = {
    "point off the manifold": (
        lambda b: b.local_trivialization(2 * POLE),
        "point: got a point .* away from the manifold",
    ),
    "NaN": (lambda b: b.curvature(POLE * math.nan), "point: got NaN or infinity"),
    "point of another width": (
        lambda b: b.curvature(POLE[:2]),
        r"shape \[2\], expected \[..., 3\]",
    ),
    "points of no common chart": (
        lambda b: b.local_trivialization(torch.stack([POLE, -POLE])),
        "points that lie in no chart together",
    ),
    "chart that does not hold the point": (
        lambda b: b.curvature(POLE, "south"),
        "chart: got 'south'.* pass 'north'",
    ),
    "unknown chart": (lambda b: b.curvature(POLE, "west"), r"chart: got 'west', expected one of"),
    "tangent off the manifold": (
        lambda b: b.connection_form(TangentVector(3 * POLE, EAST)),
        "tangent_vector: got a point",
    ),
    "vector off the tangent space": (
        lambda b: b.connection_form(TangentVector(POLE, EAST + 0.5 * POLE)),
        "tangent_vector: got a vector 0.5 out of the tangent space",
    ),
    "NaN vector": (
        lambda b: b.connection_form(TangentVector(POLE, EAST * math.nan)),
        "tangent_vector: got a vector nan out",
    ),
    "vectors of another shape": (
        lambda b: b.connection_form(TangentVector(POLE, EAST[None])),
        r"tangent_vector: got vectors \[1, 3\] at points \[3\]",
    ),
    "open loop": (lambda b: b.holonomy(Path(lambda t: ring(t / 2))), r"loop: got ends 1.2 apart"),
    "path off the manifold": (
        lambda b: b.transport(Path.through(torch.stack([POLE, EAST]))),
        "path: got a point .* away",
    ),
    "one step through both poles": (
        lambda b: b.transport(
            Path(lambda t: torch.stack([(math.pi * t).sin(), 0 * t, (math.pi * t).cos()], -1)),
            steps=1,
        ),
        "a step that lies in no chart",
    ),
    "no steps": (lambda b: b.transport(Path(ring), steps=0), "steps: got 0"),
    "order": (
        lambda b: b.transport(Path(ring), order=3),
        r"order: got 3, expected one of \[2, 4\]",
    ),
    "fibre elsewhere": (
        lambda b: b.parallel_transport(BundlePoint(POLE, "north", ONE), Path(ring)),
        "section: got fibres 0.6 away from the path's start",
    ),
    "fibre of another width": (
        lambda b: b.parallel_transport(BundlePoint(START, "north", ONE.repeat(2)), Path(ring)),
        r"fiber: got shape \[2\], expected \[1\]",
    ),
    "fibre of NaN": (
        lambda b: b.bundle_projection(BundlePoint(START, "north", ONE * math.nan)),
        "fiber: got NaN",
    ),
    "fibre outside of the group": (
        lambda b: b.frames().bundle_projection(BundlePoint(START, "north", 2 * ONE[None])),
        r"fiber: got matrices 3 away from U\(1\)",
    ),
    # Its transition would not be one function of points: exp(-i phi / 2).
    "charge of a half": (lambda b: monopole_bundle(0.5), "charge: got 0.5, expected an integer"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use(monopole_bundle(1))
