"""Ends of flows foretold from their records, and flows at kept volume or curvature."""

import math
from dataclasses import dataclass

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    GeometricFlow,
    PeriodicGrid,
    cigar_metric,
    rotational_curvatures,
    rotational_ricci_flow,
)
from adaptive_attention_tiling.mathematics.dynamics.sampled_metric import principal_curvatures
from adaptive_attention_tiling.mathematics.geometry import RiemannianStructure

DOUBLE = torch.float64
FLOW = GeometricFlow(PeriodicGrid((4, 4), (1.0, 1.0)))


def profile(points, neck=1.0):
    height = torch.linspace(0, math.pi, points, dtype=DOUBLE).sin()
    height[-1] = 0
    return height * (1 - (1 - neck) * height.square())


@dataclass
class Told:
    times: torch.Tensor
    curvatures: torch.Tensor
    volumes: torch.Tensor
    dimension: int = 3

    @property
    def places(self):
        return torch.arange(len(self.times))[:, None]


def told(curvature, volume=lambda t: torch.ones_like(t), end=0.99, dimension=3):
    t = torch.linspace(0, end, 100, dtype=DOUBLE)
    return Told(t, curvature(t), volume(t), dimension)


@pytest.mark.parametrize("bound", [20.0, 150.0])
@pytest.mark.parametrize(
    ("dimension", "end"),
    [pytest.param(2, 1 / 2, id="S^2 T=1/2"), pytest.param(3, 1 / 4, id="S^3 T=1/4")],
)
def test_golden_extinction_is_foretold(dimension, end, bound):
    flow = rotational_ricci_flow(
        profile(11), math.pi, dimension=dimension, largest_curvature=bound, every=1
    )
    (found,) = FLOW.detect_singularities(flow, 10.0)
    assert found.time == pytest.approx(end, rel=5e-4)
    assert found.kind == "point"
    assert found.rate == pytest.approx(1 / (2 * (dimension - 1)), rel=0.04)
    assert FLOW.detect_singularities(flow, 1000.0) == []


def test_a_neck_is_told_from_a_point_with_its_time_and_place():
    flow = rotational_ricci_flow(profile(31, 0.15), math.pi, largest_curvature=300.0, every=1)
    (found,) = FLOW.detect_singularities(flow, 100.0)
    assert found.kind == "neck"
    assert float(found.place) == pytest.approx(float(flow.lengths[-1]) / 2)
    # As seen by a flow to 20 times the curvature, on a finer grid: logarithms die out slowly.
    finer = rotational_ricci_flow(profile(41, 0.15), math.pi, largest_curvature=6000.0, every=1)
    assert found.time == pytest.approx(float(finer.times[-1]) + 1 / 12000, rel=0.015)
    (later,) = FLOW.detect_singularities(finer, 100.0)
    assert later.time == pytest.approx(float(finer.times[-1]) + 1 / 12000, rel=1e-3)
    assert 1 / 2 < later.rate < found.rate < 0.61  # 1/2 in the limit


def test_a_dumbbell_surface_ends_as_gauss_and_bonnet_say_and_round():
    flow = rotational_ricci_flow(
        profile(25, 0.5), math.pi, dimension=2, largest_curvature=50.0, every=5
    )
    # A(0) = 2 pi int psi ds, of sin s (1 - sin^2 s / 2): 2 - 2/3.
    assert float(flow.volumes[0]) == pytest.approx(2 * math.pi * 4 / 3, rel=1e-5)
    (found,) = FLOW.detect_singularities(flow, 30.0)
    assert found.time == pytest.approx(float(flow.volumes[0]) / (8 * math.pi), rel=0.01)
    assert found.kind == "point"
    normal = FLOW.normalize_flow(flow)
    torch.testing.assert_close(normal.volumes, flow.volumes[:1].expand_as(flow.volumes))
    K = rotational_curvatures(normal.radii, normal.lengths)[0] * normal.volumes[0] / (4 * math.pi)
    spread = K.amax(-1) - K.amin(-1)
    assert float(spread[0]) > 3
    assert float(spread[-1]) < 0.02
    assert bool((spread[::10].diff() < 0).all())


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_normalised_flow_of_a_round_sphere_stands_still(dimension):
    flow = rotational_ricci_flow(
        profile(13), math.pi, dimension=dimension, largest_curvature=50.0, every=1
    )
    normal = FLOW.normalize_flow(flow, "ricci")
    torch.testing.assert_close(normal.radii, normal.radii[:1].expand_as(normal.radii), rtol=0,
                               atol=1e-3)  # fmt: skip
    # psi = 1 / (1 - t / T), whose integral is -T log(1 - t / T).
    end = 1 / (2 * (dimension - 1))
    clock = -end * (1 - flow.times[:-3] / end).log()
    torch.testing.assert_close(normal.times[:-3], clock, rtol=2e-3, atol=0)
    blown = FLOW.normalize_flow(flow, "curvature")
    torch.testing.assert_close(blown.curvatures, torch.ones_like(blown.curvatures))
    assert FLOW.normalize_flow(flow, "none") is flow


def test_a_normalised_record_obeys_hamiltons_normalised_equation():
    grid = PeriodicGrid((12, 3, 3), (2 * math.pi,) * 3)
    x = grid.coordinates()
    metric = (0.6 * x[..., 0].sin()).exp()[..., None, None] * torch.eye(3, dtype=DOUBLE)
    flow = GeometricFlow(grid)
    record = flow.evolve(metric, time=0.02, share=0.1, every=1)
    blown = flow.normalize_flow(record, "curvature")
    torch.testing.assert_close(blown.curvatures, torch.ones_like(record.times))
    sizes = principal_curvatures(blown.metrics[-1], flow.compute_ricci_tensor(blown.metrics[-1]))
    assert float(sizes.abs().max()) == pytest.approx(1, rel=1e-9)
    assert blown.places.equal(record.places)
    kept = flow.normalize_flow(record)
    torch.testing.assert_close(kept.volumes, kept.volumes[:1].expand_as(kept.volumes))
    middle = len(kept.times) // 2
    g = kept.metrics[middle]
    tensor = flow.compute_ricci_tensor(g)
    figures = flow.flow_metrics(g, tensor)
    mean = figures.total_scalar_curvature / figures.volume
    change = (kept.metrics[middle + 1] - kept.metrics[middle - 1]) / (
        kept.times[middle + 1] - kept.times[middle - 1]
    )
    torch.testing.assert_close(change, -2 * tensor + 2 / 3 * mean * g, rtol=0, atol=1e-4)
    assert float(mean.abs()) > 0.01


def test_the_cigar_never_ends():
    times = torch.linspace(0, 5, 30, dtype=DOUBLE)
    places = torch.tensor([[0.0, 0.0], [0.5, 0.0], [1.0, 2.0]], dtype=DOUBLE)
    cigar = RiemannianStructure(lambda x: cigar_metric(x, times[:, None]), 2, checks=False)
    largest = cigar.scalar_curvature(places.repeat(30, 1, 1)).amax(-1) / 2
    torch.testing.assert_close(largest, torch.full_like(largest, 2.0))
    for threshold in (1e-3, 1.0, 1.9):
        assert (
            FLOW.detect_singularities(Told(times, largest, torch.ones_like(times)), threshold) == []
        )


@pytest.mark.parametrize(
    ("curvature", "volume", "kind"),
    [
        (lambda t: 0.5 / (1 - t), lambda t: (1 - t) ** 1.5, "point"),
        (lambda t: 0.5 / (1 - t), lambda t: (1 - t) ** 1.4, "point"),
        (lambda t: 0.5 / (1 - t), lambda t: 1 - t, "collapse"),
        (lambda t: 0.5 / (1 - t), lambda t: (1 - t) ** 0.5, "collapse"),
        (lambda t: 0.5 / (1 - t), lambda t: 2 - t, "neck"),
        (lambda t: 0.5 / (2.2 - t), torch.ones_like, None),  # not twice as large
        (lambda t: (4 * t).exp(), torch.ones_like, None),  # immortal: |K| (T - t) is not bounded
        (lambda t: 1.3 / (1 - t), torch.ones_like, None),
        (lambda t: 0.5 / (1 - t) ** 3, torch.ones_like, None),  # far from a line
        (lambda t: 0.2 / (1 - t) ** 0.3, torch.ones_like, None),  # bent, and else alike
        (lambda t: 60 - 40 * t, torch.ones_like, None),
    ],
)
def test_which_records_end(curvature, volume, kind):
    record = told(curvature, volume)
    found = FLOW.detect_singularities(record, 0.3)
    assert [one.kind for one in found] == ([] if kind is None else [kind])
    for one in found:
        assert one.time == pytest.approx(1, rel=1e-9)
        assert one.rate == pytest.approx(0.5, rel=1e-6)
        assert one.place.tolist() == [99]


@pytest.mark.parametrize("kind", ["walk", "walk of logarithms", "noise"])
def test_chance_seldom_looks_like_an_end(kind):
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 40, generator=g, dtype=DOUBLE)
    sizes = {
        "walk": noise.cumsum(-1).abs() + 0.01,
        "walk of logarithms": (0.3 * noise.cumsum(-1)).exp(),
        "noise": noise.abs(),
    }[kind]
    times = torch.linspace(0, 1, 40, dtype=DOUBLE)
    ones = torch.ones_like(times)
    found = sum(len(FLOW.detect_singularities(Told(times, row, ones), 1e-9)) for row in sizes)
    assert found <= 3


def test_records_with_few_equal_or_infinite_states_end_nowhere():
    t = torch.tensor([0.0, 0.82, 0.87, 0.9, 0.95], dtype=DOUBLE)
    ones = torch.ones_like(t)
    assert len(FLOW.detect_singularities(Told(t, 0.5 / (1 - t), ones), 1.0)) == 1
    grown = FLOW.detect_singularities(Told(t, 0.5 / (1.6 - t), ones), 0.3)  # 2.5 times as large
    assert grown[0].time == pytest.approx(1.6)
    few = Told(t[[0, 2, 3, 4]], 0.5 / (1 - t[[0, 2, 3, 4]]), ones[1:])  # 3 of the last fourfold
    assert FLOW.detect_singularities(few, 1.0) == []
    for sizes in (ones.cumsum(0), 0.5 / (1 - t)):
        assert FLOW.detect_singularities(Told(0 * t, sizes, ones), 1.0) == []
    for last in (math.inf, math.nan):
        sizes = torch.cat([0.5 / (1 - t[:-1]), t.new_tensor([last])])
        assert FLOW.detect_singularities(Told(t, sizes, ones), 1.0) == []


@pytest.mark.parametrize(
    ("change", "told_as"),
    [
        (lambda t, k, v: (t[:0], k[:0], v[:0]), "0 times"),
        (lambda t, k, v: (t, k[1:], v), "100 times, 99 curvatures"),
        (lambda t, k, v: (t.flip(0), k, v), "times that fall"),
        (lambda t, k, v: (t * math.nan, k, v), "times that fall"),
        (lambda t, k, v: (t, k, 0 * v), "a state without volume"),
        (lambda t, k, v: (t, k, math.inf * v), "a state without volume"),
    ],
)
def test_what_is_no_record_is_told(change, told_as):
    record = told(lambda t: 0.5 / (1 - t))
    record = Told(*change(record.times, record.curvatures, record.volumes))
    with pytest.raises(ArgumentError, match=rf"^flow: got {told_as}"):
        FLOW.detect_singularities(record, 1.0)


def test_bad_thresholds_and_normalisations_are_told():
    record = told(lambda t: 1 / (1 - t))
    for threshold in (0.0, -1.0, math.nan):
        with pytest.raises(ArgumentError, match="threshold: got"):
            FLOW.detect_singularities(record, threshold)
    flow = rotational_ricci_flow(profile(11), math.pi, dimension=2, time=0.01)
    with pytest.raises(ArgumentError, match="normalization: got 'yamabe'"):
        FLOW.normalize_flow(flow, "yamabe")
    flat = GeometricFlow(PeriodicGrid((4, 4), (1.0, 1.0))).evolve(
        torch.eye(2, dtype=DOUBLE).repeat(4, 4, 1, 1), time=0.01
    )
    with pytest.raises(ArgumentError, match="flow: got a state without"):
        FLOW.normalize_flow(flat, "curvature")
