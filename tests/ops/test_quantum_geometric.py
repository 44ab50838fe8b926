from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import Lorentz
from adaptive_attention_tiling.mathematics.geometry.normal_coordinates import (
    klein_point,
    pairwise_square_difference,
    pairwise_square_distance,
)
from adaptive_attention_tiling.ops.fidelity_attention import fidelity_attention
from adaptive_attention_tiling.ops.quantum_geometric import (
    PatternFlow,
    QuantumGeometricState,
    RouteShares,
    blocks,
    dirichlet_energy,
    flow_patterns,
    measured_flow,
    quantum_geometric_attention,
)
from adaptive_attention_tiling.ops.quantum_geometric.reference import (
    reference_quantum_geometric_attention,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close, assert_monotone

H, G, M, E, N = 4, 2, 4, 3, 3

STAGES = {
    "plain": {},
    "gate": {"gate": True},
    "flow": {"flow": 2, "radius": 1.3},
    "flat flow": {"flow": 1, "radius": None},
    "routes": {"routes": 2},
    "near": {"near": 2.5},
    "all": {"gate": True, "flow": 2, "radius": 0.8, "routes": 3, "near": 0.7},
}


def drawn(length, stage, dtype=torch.float64, batch=1):
    """(query, key, value), and settings of a stage by name, all of them leaves."""
    B = batch
    source = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(shape, generator=source, dtype=torch.float64).to(dtype).requires_grad_()

    heads = normal(B, H, length, M), normal(B, G, length, M), normal(B, G, length, E)
    asked, settings = STAGES[stage], {"near": STAGES[stage].get("near", 1.0)}
    if "gate" in asked:
        settings["gate"] = normal(B, G, length)
    if "flow" in asked:
        settings["points"] = normal(B, G, length, N)
        settings["rates"] = normal(asked["flow"], H)
        settings["width"] = normal(G)
        settings["radius"] = asked["radius"]
    if "routes" in asked:
        settings["reads"] = normal(B, H, length, asked["routes"])
        settings["writes"] = normal(B, G, length, asked["routes"] + 1)
    return heads, settings


def attended(op, heads, settings, **more):
    """The output of an op that is given leaves as `drawn` makes them."""
    given = {"near": settings["near"], "background": 0.01}
    if "gate" in settings:
        given["gate"] = -settings["gate"].square()
    if "points" in settings:
        given["points"] = settings["points"]
        rates, width = settings["rates"].sigmoid(), 0.5 + settings["width"].square()
        given["flow"] = PatternFlow(rates=rates, width=width, radius=settings["radius"])
    if "reads" in settings:
        given["routes"] = RouteShares(settings["reads"].softmax(-1), settings["writes"])
    return op(*heads, **{**given, **more})


def whole(heads, settings, **more):
    return attended(quantum_geometric_attention, heads, settings, **more)[0]


def leaves_of(heads, settings):
    return [*heads, *(t for t in settings.values() if isinstance(t, torch.Tensor))]


def padded(length):
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[0, : length // 3] = False
    mask[0, -1] = mask[1, length // 2] = False
    return mask


CASES = [(stage, order, False) for stage in STAGES for order in (True, False)]


@pytest.mark.parametrize(
    ("stage", "is_causal", "padding"), [*CASES, ("all", True, True), ("all", False, True)]
)
def test_it_is_the_reference_with_every_gradient(monkeypatch, stage, is_causal, padding):
    monkeypatch.setattr(blocks, "SUPER_BLOCK", 4)  # so that sums are made and read
    length = 13 if padding else 9
    heads, settings = drawn(length, stage, batch=2 if padding else 1)
    mask = padded(length) if padding else None
    more = {"tile_size": 2 + padding, "is_causal": is_causal, "key_padding_mask": mask}
    out = whole(heads, settings, **more)
    wanted = attended(reference_quantum_geometric_attention, heads, settings, **more)
    assert_close(out, wanted)
    outer, leaves = torch.randn_like(out), leaves_of(heads, settings)
    gradients = torch.autograd.grad((out * outer).sum(), leaves)
    expected = torch.autograd.grad((wanted * outer).sum(), leaves)
    for n, (found, right) in enumerate(zip(gradients, expected, strict=True)):
        assert right.abs().max() > 1e-6
        assert_close(found, right, gradient=True, what=f"gradient {n}")


@pytest.mark.parametrize("is_causal", [True, False])
def test_float32_is_as_good_as_the_reference_in_float64(monkeypatch, is_causal):
    monkeypatch.setattr(blocks, "SUPER_BLOCK", 4)
    heads, settings = drawn(17, "all", torch.float32)
    more = {"tile_size": 4, "is_causal": is_causal}
    out = whole(heads, settings, **more)
    outer, leaves = torch.randn_like(out), leaves_of(heads, settings)
    gradients = torch.autograd.grad((out * outer).sum(), leaves)
    heads = [t.detach().double().requires_grad_() for t in heads]
    settings = {
        name: t.detach().double().requires_grad_() if isinstance(t, torch.Tensor) else t
        for name, t in settings.items()
    }
    wanted = attended(reference_quantum_geometric_attention, heads, settings, **more)
    assert_close(out, wanted.float())
    leaves = leaves_of(heads, settings)
    expected = torch.autograd.grad((wanted * outer).sum(), leaves)
    for n, (found, right) in enumerate(zip(gradients, expected, strict=True)):
        assert_close(found, right.float(), gradient=True, what=f"gradient {n}")


@pytest.mark.parametrize("tile_size", [1, 4, 40])
@pytest.mark.parametrize("is_causal", [True, False])
def test_plain_tiles_are_fidelity_attention(monkeypatch, tile_size, is_causal):
    monkeypatch.setattr(blocks, "SUPER_BLOCK", 8)
    (query, key, value), settings = drawn(23, "gate", batch=2)
    gate = -settings["gate"].square()
    out, _ = quantum_geometric_attention(
        query, key, value, tile_size=tile_size, is_causal=is_causal, gate=gate
    )
    plain = fidelity_attention(query, key, value, is_causal=is_causal, gate=gate, enable_gqa=True)
    assert_close(out, plain)


def read_in_pieces(heads, settings, cuts, mask=None, **more):
    state, parts = None, []
    for start, stop in pairwise([0, *cuts, heads[0].shape[2]]):
        piece = {n: t[..., start:stop, :] if t.dim() == 4 else t for n, t in tensors(settings)}
        if "gate" in settings:
            piece["gate"] = settings["gate"][..., start:stop]
        given = {**settings, **piece}
        out, state = attended(
            quantum_geometric_attention,
            [t[:, :, start:stop] for t in heads],
            given,
            is_causal=True,
            initial_state=state,
            return_state=True,
            key_padding_mask=None if mask is None else mask[:, start:stop],
            **more,
        )
        parts.append(out)
    return torch.cat(parts, 2), state


def tensors(settings):
    return [(n, t) for n, t in settings.items() if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("stage", ["plain", "all"])
@pytest.mark.parametrize("cuts", [(1, 2, 3), (8, 9, 20), (4,), range(1, 21)], ids=str)
@pytest.mark.parametrize("padding", [False, True], ids=["whole", "padded"])
def test_pieces_are_the_whole(monkeypatch, stage, cuts, padding):
    monkeypatch.setattr(blocks, "SUPER_BLOCK", 8)
    heads, settings = drawn(21, stage, batch=2)
    mask = padded(21) if padding else None
    with torch.no_grad():
        out, state = read_in_pieces(heads, settings, cuts, mask, tile_size=4)
        expected = whole(heads, settings, tile_size=4, is_causal=True, key_padding_mask=mask)
    assert_close(out, expected)
    tokens = torch.full((2,), 21) if mask is None else mask.sum(1)
    assert_bit_equal(state.length, tokens)
    copy = QuantumGeometricState.restore(state.snapshot())
    assert copy.bytes == state.bytes
    assert_bit_equal(copy.occupied().sum(1), tokens % 4)


def test_the_state_does_not_grow_and_has_gradients():
    heads, settings = drawn(21, "all")
    sizes = [read_in_pieces([t[:, :, :n] for t in heads], {
        name: (t[..., :n, :] if t.dim() == 4 else t[..., :n] if name == "gate" else t)
        if isinstance(t, torch.Tensor) else t for name, t in settings.items()
    }, (), tile_size=4)[1].bytes for n in (3, 21)]  # fmt: skip
    assert sizes[0] == sizes[1]
    out, _ = read_in_pieces(heads, settings, (10,), tile_size=4)
    expected = whole(heads, settings, tile_size=4, is_causal=True)
    outer, leaves = torch.randn_like(out), leaves_of(heads, settings)
    found = torch.autograd.grad((out * outer).sum(), leaves)
    right = torch.autograd.grad((expected * outer).sum(), leaves)
    for gradient, wanted in zip(found, right, strict=True):
        assert_close(gradient, wanted, gradient=True)


def adversarial(size, is_causal):
    """Rows and conductances that a flow finds hardest: all alike, spikes, two camps."""
    ones = torch.ones(size, size, dtype=torch.float64)
    camps = (torch.arange(size)[:, None] % 2 == torch.arange(size) % 2).double()
    conductances = torch.stack([ones, camps, 1 - camps, torch.rand(size, size).double()])
    conductances[3] = (conductances[3] + conductances[3].mT) / 2
    rows = torch.stack([torch.eye(size).double(), camps, torch.rand(size, size).double(), ones])
    patterns = rows[:, None].tril() if is_causal else rows[:, None]
    return patterns.expand(-1, 4, -1, -1), conductances


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_energy_falls_at_every_step(is_causal, size):
    patterns, conductance = adversarial(size, is_causal)
    steps = torch.full((6, 1, 1), 1 / max(1, size - 1), dtype=torch.float64)  # the longest allowed
    after, metrics = measured_flow(patterns, conductance, steps, is_causal=is_causal)
    for row in metrics.energy.flatten(1).mT:
        assert_monotone(row, decreasing=True, slack=1e-14)
    assert (metrics.energy >= 0).all()
    assert after.min() >= -1e-15
    assert_close(metrics.mass[-1], metrics.mass[0])
    assert_close(metrics.mass[0], patterns.sum(-1))
    if is_causal:
        assert_bit_equal(after, after.tril())
    if size > 1:  # and it falls where there is something to level
        assert metrics.energy[1].sum() < metrics.energy[0].sum()


def test_a_step_that_is_too_long_lets_the_energy_rise():
    patterns, conductance = adversarial(7, False)
    _, metrics = measured_flow(
        patterns, conductance, torch.full((3, 1, 1), 0.5).double(), is_causal=False
    )
    assert (metrics.energy[1:] > metrics.energy[:-1] + 1e-3).any()


def test_energy_is_counted_once_for_every_pair():
    patterns = torch.tensor([[9.0, 5.0, 2.0], [3.0, 1.0, 7.0], [1.0, 2.0, 4.0]]).double()
    conductance = torch.tensor([[9.0, 0.5, 0.25], [0.5, 9.0, 1.0], [0.25, 1.0, 9.0]]).double()
    last = 0.5 * 1 + 0.25 * 9 + 1.0 * 4
    causal = dirichlet_energy(patterns, conductance, is_causal=True)
    assert_close(causal, torch.tensor([0.0, 0.5 * 4, last]).double())
    both = dirichlet_energy(patterns, conductance, is_causal=False)
    assert_close(both[0], torch.tensor(0.5 * 16 + 0.25 * 49 + 9.0).double())


def test_no_steps_are_the_identity():
    patterns, conductance = adversarial(4, True)
    none = torch.zeros(0, 1, 1).double()
    assert_bit_equal(flow_patterns(patterns, conductance, none, is_causal=True), patterns)


def test_distances_are_those_of_hyperbolic_space():
    tangents = 3 * torch.randn(6, 4, dtype=torch.float64)
    tangents[5] = tangents[4] * (1 + 1e-9)  # close by, far out
    tangents[4:] *= 3
    space = Lorentz(4)
    points = space.exp(torch.zeros(4).double(), tangents)
    expected = space.distance(points[:, None], points)
    found = pairwise_square_distance(tangents)
    assert_close(found.sqrt(), expected)
    assert expected[4, 5] > 1e-8
    assert_bit_equal(found.diagonal(), torch.zeros(6).double())
    assert_close(klein_point(tangents), points / (1 + points.square().sum(-1, True)).sqrt())


def test_a_large_radius_is_flat():
    tangents = torch.randn(5, 3, dtype=torch.float64)
    curved = 1e8 * pairwise_square_distance(tangents / 1e4)
    assert (curved - pairwise_square_difference(tangents)).abs().max() < 1e-6
    assert (curved >= pairwise_square_difference(tangents) - 1e-12).all()  # the curvature is <= 0


def test_gradients_of_points_are_those_of_differences():
    tangents = torch.randn(5, 3, dtype=torch.float64)
    tangents[4] = tangents[3]
    torch.autograd.gradcheck(pairwise_square_distance, tangents[:4].requires_grad_())
    torch.autograd.gradcheck(klein_point, torch.cat([tangents, torch.zeros(1, 3)]).requires_grad_())
    twins = tangents.detach().requires_grad_()
    pairwise_square_distance(twins)[3, 4].backward()
    assert_bit_equal(twins.grad, torch.zeros_like(twins))


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-4, 1.0, 50.0, 1e4, 1e30])
def test_tangents_of_every_length_have_finite_points_and_gradients(length):
    tangents = (length * torch.eye(3)).requires_grad_()
    inner, distance = klein_point(tangents), pairwise_square_distance(tangents)
    (inner.sum() + distance.sum()).backward()
    for tensor in (inner, distance, tangents.grad):
        assert tensor.isfinite().all()
    assert (inner.norm(dim=-1) <= 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tile_size": 0}, "tile_size"),
        ({"tile_size": True}, "tile_size"),
        ({"near": 0.0}, "near"),
        ({"near": float("inf")}, "near"),
        ({"background": -1.0}, "background"),
        ({"gate": torch.zeros(1, H, 9)}, "gate"),
        ({"points": None}, "points"),
        ({"points": torch.zeros(1, H, 9, N)}, "points"),
        (
            {"flow": PatternFlow(rates=torch.ones(1, G), width=torch.ones(G), radius=1.0)},
            "flow.rates",
        ),
        (
            {"flow": PatternFlow(rates=torch.ones(1, H), width=torch.ones(H), radius=1.0)},
            "flow.width",
        ),
        ({"routes": RouteShares(torch.ones(1, G, 9, 1), torch.ones(1, G, 9, 2))}, "routes.reads"),
        ({"routes": RouteShares(torch.ones(1, H, 9, 1), torch.ones(1, G, 9, 1))}, "routes.writes"),
        ({"key_padding_mask": torch.ones(1, 8).bool()}, "key_padding_mask"),
        ({"is_causal": False, "return_state": True}, "is_causal"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_is_refused_by_name(changes, name):
    heads, settings = drawn(9, "all")
    with pytest.raises(ArgumentError) as refusal:
        whole(heads, settings, **{"tile_size": 4, "is_causal": True} | changes)
    assert refusal.value.name == name


def test_a_state_of_another_layer_and_keys_of_other_tokens_are_refused():
    heads, settings = drawn(9, "plain")
    _, state = attended(
        quantum_geometric_attention, heads, settings, tile_size=4, is_causal=True, return_state=True
    )
    for changes in ({"tile_size": 3}, {"background": 0.0}):
        with pytest.raises(ArgumentError) as refusal:
            whole(
                heads,
                settings,
                **{"tile_size": 4, "is_causal": True, **changes},
                initial_state=state,
            )
        assert refusal.value.name == "initial_state"
    with pytest.raises(ArgumentError) as refusal:
        whole([heads[0][:, :, 1:], *heads[1:]], settings, tile_size=4)
    assert refusal.value.name == "key"
