"""Left-invariant metrics: round and Berger spheres, Nil, Sol, E(2)."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    LeftInvariantFlow,
    flow_singularities,
    left_invariant_curvatures,
    left_invariant_ricci_flow,
    nil_ricci_flow,
    normalized_flow,
)
from adaptive_attention_tiling.mathematics.geometry import RiemannianStructure

DOUBLE = torch.float64


def three(*values):
    return torch.tensor(values, dtype=DOUBLE)


SU2, NIL, SOL, E2, SL2 = (
    three(2, 2, 2), three(1, 0, 0), three(1, -1, 0), three(1, 1, 0), three(1, 1, -1)
)  # fmt: skip


@pytest.mark.parametrize(
    ("scales", "structure", "ricci"),
    [
        pytest.param(three(1, 1, 1), SU2, [2, 2, 2], id="unit S^3"),
        pytest.param(three(4, 4, 4), SU2, [0.5] * 3, id="S^3 of radius 2"),
        pytest.param(three(0.25, 1, 1), SU2, [0.5, 3.5, 3.5], id="Berger sphere"),
        pytest.param(three(1, 1, 1), NIL, [0.5, -0.5, -0.5], id="Nil"),
        pytest.param(three(1, 1, 1), SOL, [0, 0, -2], id="Sol"),
        pytest.param(three(2, 2, 3), E2, [0, 0, 0], id="flat E(2)"),
    ],
)
def test_golden_ricci_of_units(scales, structure, ricci):
    found, across = left_invariant_curvatures(scales, structure)
    assert found.tolist() == pytest.approx(ricci, abs=1e-14)
    # Ric_1 = K_12 + K_13.
    torch.testing.assert_close(across.roll(1, -1) + across.roll(-1, -1), found)


def test_curvature_is_that_of_the_metric_in_coordinates():
    # Nil: e_1 = d_z, e_2 = d_x, e_3 = d_y + x d_z, [e_2, e_3] = e_1; dual dz - x dy, dx, dy.
    A, B, C = 1.3, 0.7, 2.0

    def metric(place):
        x, zero = place[..., 0], torch.zeros_like(place[..., 0])
        rows = [
            [zero + B, zero, zero],
            [zero, C + A * x * x, -A * x],
            [zero, -A * x, zero + A],
        ]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    x = 0.8
    space = RiemannianStructure(metric, 3)
    tensor = space.ricci_tensor(three(x, 0.2, -1.0))
    frame = torch.stack([three(0, 0, 1), three(1, 0, 0), three(0, 1, x)])
    found = torch.einsum("ai,ij,bj->ab", frame, tensor, frame)
    expected = left_invariant_curvatures(three(A, B, C), NIL)[0] * three(A, B, C)
    torch.testing.assert_close(found, torch.diag(expected), rtol=0, atol=1e-12)


def test_golden_flows():
    end = 0.25 * (1 - torch.linspace(0, 6, 40, dtype=DOUBLE).neg().exp())
    flow = left_invariant_ricci_flow(three(1, 1, 1), SU2, end)
    torch.testing.assert_close(flow.scales, (1 - 4 * end)[:, None].expand(40, 3), rtol=1e-6, atol=0)
    (found,) = flow_singularities(flow, 10.0)
    assert found.time == pytest.approx(0.25, rel=1e-6)
    assert found.rate == pytest.approx(0.25, rel=1e-5)
    assert found.kind == "point"
    assert found.place.shape == (0,)
    still = normalized_flow(flow)
    torch.testing.assert_close(still.scales, torch.ones_like(still.scales))
    # Isenberg and Jackson's Nil, for ever: its curvature falls as 1 / t.
    times = torch.tensor([0.0, 0.1, 1.0, 30.0], dtype=DOUBLE)
    start = three(1.0, 2.0, 0.5)
    flow = left_invariant_ricci_flow(start, NIL, times)
    torch.testing.assert_close(flow.scales, nil_ricci_flow(start.expand(4, 3), times), rtol=1e-8,
                               atol=0)  # fmt: skip
    assert float(flow.curvatures[-1] * 30) == pytest.approx(1 / 4, rel=0.05)
    flat = left_invariant_ricci_flow(three(2, 2, 3), E2, times)
    torch.testing.assert_close(flat.scales, flat.scales[:1].expand(4, 3))


@pytest.mark.parametrize("squashed", [0.3, 3.0])
def test_berger_spheres_end_round(squashed):
    times, scales = [0.0], [three(squashed, 1, 1)]
    while len(times) < 45:
        bound = float(left_invariant_curvatures(scales[-1], SU2)[1].abs().max())
        step = three(0, 0.05 / bound)
        scales.append(left_invariant_ricci_flow(scales[-1], SU2, step).scales[-1])
        times.append(times[-1] + float(step[1]))
    flow = LeftInvariantFlow(torch.tensor(times, dtype=DOUBLE), torch.stack(scales), SU2)
    (found,) = flow_singularities(flow, 20.0)
    early = LeftInvariantFlow(flow.times[:35], flow.scales[:35], SU2)
    assert flow_singularities(early, 5.0)[0].time == pytest.approx(found.time, rel=0.01)
    assert found.kind == "point"
    shapes = flow.scales[:, 0] / flow.scales[:, 1]
    assert bool((((shapes - 1).abs()).diff() < 0).all())
    assert float((shapes[-1] - 1).abs()) < 0.1 * abs(squashed - 1)
    kept = normalized_flow(flow)
    torch.testing.assert_close(kept.volumes, kept.volumes[:1].expand_as(kept.volumes))


@pytest.mark.parametrize("structure", [NIL, SOL, SL2, E2])
def test_other_groups_last(structure):
    times = torch.linspace(0, 50, 12, dtype=DOUBLE)
    flow = left_invariant_ricci_flow(three(1.0, 2.0, 0.5), structure, times)
    assert float(flow.curvatures[-1]) < 0.1 * float(flow.curvatures[0])
    assert flow_singularities(flow, 1e-4) == []


def test_gradients():
    scales = three(1.0, 2.0, 0.5).requires_grad_()
    times = torch.tensor([0.0, 0.01], dtype=DOUBLE)
    assert torch.autograd.gradcheck(
        lambda s: left_invariant_ricci_flow(s, SU2, times).scales,
        (scales,),
        atol=1e-6,
        fast_mode=True,
    )
    assert torch.autograd.gradcheck(lambda s: left_invariant_curvatures(s, SU2), (scales,))
    batch = torch.stack([scales.detach(), three(1, 1, 1)])
    together = left_invariant_curvatures(batch, SU2)[0]
    assert torch.equal(together[0], left_invariant_curvatures(batch[0], SU2)[0])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: left_invariant_curvatures(three(1, 0, 1), SU2), "scales: got"),
        (lambda: left_invariant_curvatures(three(1, 1), SU2), r"scales: got \[2\]"),
        (lambda: left_invariant_curvatures(three(1, 1, 1), SU2 * math.nan), "scales: got"),
        (lambda: left_invariant_ricci_flow(torch.ones(2, 3), SU2, three(0, 1)), r"\[2, 3\]"),
        (lambda: left_invariant_ricci_flow(three(1, 1, 1), SU2, three(0, 1)), "max_steps: got"),
        (lambda: nil_ricci_flow(three(1, 1, 1), torch.tensor(-1.0)), "time: got -1.0"),
        (lambda: nil_ricci_flow(three(1, -1, -1), torch.tensor(1.0)), "time: got 1.0"),
    ],
)
def test_what_is_no_metric_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
