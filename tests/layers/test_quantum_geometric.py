import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    FidelityAttention,
    FidelityAttentionConfig,
    ProjectionConfig,
    QuantumGeometricAttention,
    QuantumGeometricAttentionConfig,
    SoftmaxAttentionConfig,
    make_mixer,
)
from adaptive_attention_tiling.mathematics.geometry import Lorentz
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.fidelity_attention import fidelity_attention
from adaptive_attention_tiling.ops.quantum_geometric import blocks
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

B, T, C, N, H, G = 2, 22, 8, 3, 4, 2
PROJECTION = ProjectionConfig(width=C, heads=H, key_value_heads=G)
CONFIG = QuantumGeometricAttentionConfig(
    projection=PROJECTION,
    geometry="lorentz",
    manifold_dim=N,
    num_layers=2,
    motive_rank=2,
    tile_size=4,
    routes=2,
)
OFF = {"num_layers": 0, "motive_rank": 0, "routes": 0}


def layer_of(**changes):
    return make_mixer(replace(CONFIG, **changes)).double()


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def gradients(out, outer, layer):
    layer.zero_grad()
    (out * outer).sum().backward()
    return {name: p.grad.clone() for name, p in layer.named_parameters()}


@pytest.mark.parametrize("is_causal", [True, False])
def test_with_all_stages_off_flat_states_are_fidelity_attention_to_the_bit(x, is_causal):
    layer = layer_of(geometry="flat", **OFF)
    config = FidelityAttentionConfig(projection=PROJECTION, state_width=N)
    plain = FidelityAttention(config).double()
    plain.load_state_dict(layer.state_dict())  # the same parameters, and no more
    outer = torch.randn_like(x)
    out, expected = layer(x, is_causal=is_causal), plain(x, is_causal=is_causal)
    assert_bit_equal(out, expected)
    wanted = gradients(expected, outer, plain)
    for name, gradient in gradients(out, outer, layer).items():
        assert_bit_equal(gradient, wanted[name], what=name)


def test_heights_alone_are_the_gate_of_fidelity_attention(x):
    layer = layer_of(**OFF | {"motive_rank": 2})
    layer.heights.exponent.data += torch.arange(4.0)
    (_, _, value), _ = layer.projections(x)
    prepared = layer.prepare_attention_state(x)
    forms = layer.heights.forms(x).unflatten(-1, (G, 2)).transpose(1, 2)
    heights = 0.5 * (1 + forms**2).log()
    assert_close(prepared.heights, heights)
    powers = (1 + layer.heights.exponent.exp()).log().view(G, 1, 2)
    weights = (heights.exp() ** -powers).prod(-1)  # prod_v H_v^(-s_v)
    assert_close(prepared.gate.exp(), weights)
    heads = fidelity_attention(
        prepared.query, prepared.key, value, gate=weights.log(), is_causal=True, enable_gqa=True
    )
    assert_close(layer(x), layer.projections.output(heads, x))


@pytest.mark.parametrize("stage", [{"num_layers": 1}, {"motive_rank": 1}, {"routes": 1}], ids=str)
def test_every_stage_is_heard_and_starts_near_nothing(x, stage):
    layer, plain = layer_of(**OFF | stage), layer_of(**OFF)
    plain.load_state_dict(layer.state_dict(), strict=False)
    change = (layer(x) - plain(x)).norm() / plain(x).norm()
    assert 1e-6 < change < 0.1


def test_states_are_those_of_points_of_hyperbolic_space(x):
    radius = 1.7
    prepared = layer_of(radius=radius).prepare_attention_state(x)
    query, key = prepared.unit_states()
    space, origin = Lorentz(N, radius), torch.zeros(N, dtype=torch.float64)
    for state, tangent in ((query, prepared.query_points), (key, prepared.key_points)):
        u = space.exp(origin, tangent)
        point = torch.cat([(radius**2 + u.square().sum(-1, keepdim=True)).sqrt(), u], -1)
        assert_close(state, point / point.norm(dim=-1, keepdim=True))
    flat = layer_of(geometry="flat").prepare_attention_state(x)
    assert_bit_equal(flat.key, flat.key_points)
    affine = layer_of(geometry="projective", radius=radius).prepare_attention_state(x)
    assert_close(affine.key[..., 1:], affine.key_points / radius)
    assert (affine.key[..., 0] == 1).all()


@pytest.mark.parametrize("geometry", ["lorentz", "projective", "flat"])
def test_long_tangents_have_finite_outputs_and_gradients(geometry):
    layer = make_mixer(replace(CONFIG, geometry=geometry))
    x = (1e6 * torch.randn(B, T, C)).requires_grad_()
    out = layer(x)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_half_precision_is_computed_in_float32(x):
    layer = layer_of().bfloat16()
    out, state = layer(x.bfloat16(), return_state=True)
    assert out.dtype == torch.bfloat16
    assert state.attention.sums.dtype == torch.float32
    wanted = layer.float()(x.bfloat16().float())
    assert (out - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_the_constructor_of_the_specification_is_that_of_a_config(x):
    layer = QuantumGeometricAttention(C, H, 0.5, 3, 5, 2, 6)
    assert layer.config == QuantumGeometricAttentionConfig(
        projection=ProjectionConfig(width=C, heads=H),
        dropout=0.5, motive_rank=3, manifold_dim=5, num_layers=2, tile_size=6,
    )  # fmt: skip
    bare = ProjectionConfig(width=C, heads=H)
    defaults = QuantumGeometricAttention(C, H).config
    assert defaults == QuantumGeometricAttentionConfig(projection=bare)
    assert defaults == replace(defaults, geometry="projective", **OFF)
    for wrong in ((C, None), (None, H), (None, None)):
        with pytest.raises(ArgumentError, match="hidden_dim"):
            QuantumGeometricAttention(*wrong)
    with pytest.raises(ArgumentError, match="hidden_dim"):
        QuantumGeometricAttention(C, H, projection=PROJECTION)


def test_dropout_leaves_out_shares_of_heads_in_training_only(x):
    layer = layer_of(dropout=0.5)
    layer.projections.output.linear.weight.data.copy_(torch.eye(C))
    trained, read = layer(x), layer.eval()(x)
    left_out = trained == 0
    assert 0.3 < left_out.double().mean() < 0.7
    assert_close(trained, torch.where(left_out, 0.0, 2 * read))
    assert_bit_equal(layer(x), read)


def test_both_names_of_a_mask_say_the_same(x):
    layer, mask = layer_of(), torch.ones(B, T, dtype=torch.bool)
    mask[:, :5] = False
    out = layer(x, mask)
    assert_bit_equal(out, layer(x, attn_mask=mask))
    assert not torch.equal(out[:, 5:], layer(x)[:, 5:])
    with pytest.raises(ArgumentError) as refusal:
        layer(x, mask, attn_mask=mask)
    assert refusal.value.name == "mask"
    with pytest.raises(UnsupportedError, match="QuantumGeometricAttention"):
        layer(x, torch.rand(B, 1, T, T) < 0.5)


def test_patterns_flow_and_far_tiles_make_the_output(x):
    layer = layer_of(routes=0)
    prepared = layer.prepare_attention_state(x[:, :20])
    tensors = prepared.query, prepared.key, prepared.value
    patterns, metrics = layer.compute_attention_patterns(*tensors, gate=prepared.gate)
    metric = layer.tile_metric(prepared.key_points)
    flowed, flow = layer.geometric_attention_flow(patterns, metric)
    plain = layer_of(**OFF | {"motive_rank": 2})
    plain.load_state_dict(layer.state_dict(), strict=False)
    everything = (
        plain._read(prepared, True, None, return_state=False)[0]
        * metrics.mass.flatten(2)[..., None]
    )
    value = prepared.value.unflatten(2, (-1, 4)).repeat_interleave(2, 1)
    heads = everything + ((flowed - patterns) @ value).flatten(2, 3)
    heads = heads / metrics.mass.flatten(2)[..., None]
    assert_close(layer(x[:, :20]), layer.projections.output(heads, x[:, :20]))
    assert_close(flow.mass[-1], flow.mass[0])
    assert (flow.energy.diff(dim=0) <= 1e-15).all()
    assert (flow.energy[-1] < flow.energy[0]).any()
    assert flow.step_size.shape == (2, H, 1, 1, 1)


def test_the_scale_of_patterns_weighs_the_own_tile(x):
    layer = layer_of()
    prepared = layer.prepare_attention_state(x)
    tensors = prepared.query, prepared.key, prepared.value
    patterns, once = layer.compute_attention_patterns(*tensors, routes=prepared.routes)
    scaled, twice = layer.compute_attention_patterns(*tensors, 2.0, routes=prepared.routes)
    assert_close(scaled, 2 * patterns)
    assert_close(twice.mass - once.mass, once.near)
    assert_close(once.far_share[:, :, 0], torch.zeros(B, H, 4).double())
    assert ((once.far_share >= twice.far_share) & (once.far_share <= 1)).all()
    live = once.live[:, None].expand_as(once.entropy)
    rows = torch.arange(24).view(6, 4) % 4 + 1.0
    assert (once.entropy <= rows.log() + 1e-12).all()
    assert (once.entropy >= 0).all()
    assert live.sum() == B * H * T
    _, other = layer.compute_attention_patterns(*tensors)  # routes let less than all through
    assert (other.mass >= once.mass - 1e-12).all()
    assert (other.mass > once.mass + 0.1).any()


def test_a_layer_without_a_flow_leaves_patterns_as_they_are(x):
    layer = layer_of(num_layers=0)
    prepared = layer.prepare_attention_state(x)
    patterns, _ = layer.compute_attention_patterns(prepared.query, prepared.key, prepared.value)
    same, flow = layer.geometric_attention_flow(patterns, torch.ones(B, G, 6, 4, 4).double())
    assert_bit_equal(same, patterns)
    assert flow.energy.shape == (1, B, H, 6, 4)
    with pytest.raises(UnsupportedError, match="num_layers"):
        layer.tile_metric(prepared.key_points)


@pytest.mark.parametrize(
    ("shape", "metric", "name"),
    [
        ((B, H, 6, 4, 3), torch.ones(B, G, 6, 4, 3), "patterns"),
        ((B, G, 6, 4, 4), torch.ones(B, G, 6, 4, 4), "patterns"),
        ((H, 6, 4, 4), torch.ones(H, 6, 4, 4), "patterns"),
        ((B, H, 6, 4, 4), torch.ones(B, 3, 6, 4, 4), "metric"),
        ((B, H, 6, 4, 4), torch.ones(B, G, 5, 4, 4), "metric"),
        ((B, H, 6, 4, 4), torch.full((B, G, 6, 4, 4), 1.1), "metric"),
        ((B, H, 6, 4, 4), torch.full((B, G, 6, 4, 4), -0.1), "metric"),
        ((B, H, 6, 4, 4), torch.full((B, G, 6, 4, 4), torch.nan), "metric"),
    ],
    ids=str,
)
def test_a_flow_of_what_is_no_pattern_is_refused_by_name(shape, metric, name):
    with pytest.raises(ArgumentError) as refusal:
        layer_of().geometric_attention_flow(torch.ones(shape), metric)
    assert refusal.value.name == name


STAGED = {"height", "energy_first", "energy_last"}


@pytest.mark.parametrize("changes", [{}, OFF, {"geometry": "flat", "motive_rank": 0}], ids=str)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 5, T])
def test_metrics_obey_their_laws(x, changes, is_causal, length):
    layer, x = layer_of(**changes), x[:, :length]
    assert layer.get_metrics() == {}
    mask = torch.ones(B, length, dtype=torch.bool)
    mask[1, : length // 2] = False
    out, found = layer(x, mask, True, is_causal=is_causal)
    assert_bit_equal(out, layer(x, mask, is_causal=is_causal))
    assert found == pytest.approx(layer.get_metrics(), nan_ok=True)
    wanted = {"ifq", "entropy", "far_share", "curvature", "radius"} | STAGED
    wanted -= set() if layer.flow else {"energy_first", "energy_last"}
    wanted -= set() if layer.heights else {"height"}
    assert found.keys() == wanted
    assert 0 <= found["ifq"] <= 1
    assert 0 <= found["entropy"] <= math.log(min(length, 4)) + 1e-12
    assert (0 < found["far_share"] < 1) if length == T else found["far_share"] < 1
    assert -2 < found["curvature"] <= 2 or (math.isnan(found["curvature"]) and length <= 2)
    assert found["radius"] > 0
    if layer.heights:
        assert found["height"] > 0
    if layer.flow:
        assert 0 <= found["energy_last"] <= found["energy_first"]
        assert length < 5 or found["energy_last"] < found["energy_first"]


def test_metrics_are_means_over_tokens_alone(x):
    layer = layer_of()
    mask = torch.zeros(B, T, dtype=torch.bool)
    mask[0, 3:17] = True
    _, padded = layer(x, mask, True)
    _, state, alone = layer(x[:1, 3:17], None, True, return_state=True)
    assert padded == pytest.approx(alone, rel=1e-9)
    prepared = layer.prepare_attention_state(x[:1, 3:17])
    assert alone["radius"] == pytest.approx(prepared.key_points.norm(dim=-1).mean().item())
    assert alone["height"] == pytest.approx(prepared.heights.mean().item())
    with pytest.raises(ArgumentError) as refusal:
        layer(x[:1], None, True, state=state)
    assert refusal.value.name == "return_metrics"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"geometry": "sphere"}, "geometry"),
        ({"radius": 0.0}, "radius"),
        ({"radius": math.inf}, "radius"),
        ({"manifold_dim": 0}, "manifold_dim"),
        ({"num_layers": -1}, "num_layers"),
        ({"motive_rank": 0.5}, "motive_rank"),
        ({"tile_size": 0}, "tile_size"),
        ({"routes": -1}, "routes"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"background": -1e-3}, "background"),
        ({"projection": replace(PROJECTION, rotary_base=100.0)}, "rotary_base"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        replace(CONFIG, **changes)
    assert refusal.value.name == name


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at it
@pytest.mark.parametrize(
    "changes", [{"num_layers": 1}, OFF | {"motive_rank": 1}], ids=["tiles", "fidelity"]
)
def test_a_compiled_layer_is_the_layer(monkeypatch, x, changes):
    monkeypatch.setattr(blocks, "SUPER_BLOCK", 4)
    x = x[:1, :7]  # a super-block that is scanned, and one that is not full
    layer, outer = layer_of(**changes), torch.randn_like(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    out = compiled(x)
    assert_close(out, layer(x))
    wanted = gradients(layer(x), outer, layer)
    for name, gradient in gradients(out, outer, layer).items():
        assert_close(gradient, wanted[name], gradient=True, what=name)


def test_training_spares_weight_decay_where_zero_is_no_resting_place():
    layer = layer_of()
    vectors = (layer.heights.exponent, layer.flow.rate, layer.flow.width, layer.routes.write.bias)
    assert all(parameter.dim() == 1 for parameter in vectors)


def test_a_model_of_it_learns_and_reads_on_from_its_state():
    config = GPTConfig(vocabulary=7, width=C, depth=2, mixers=CONFIG)
    model = GPT(config).double()
    tokens = (torch.arange(T) % 7).expand(B, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        logits = model(tokens[:, :-1])
        loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        whole = model(tokens)
        parts, state = [], None
        for start, stop in ((0, 10), (10, 11), (11, 12), (12, T)):
            part, state = model(tokens[:, start:stop], state=state, return_state=True)
            parts.append(part)
    assert_close(torch.cat(parts, 1), whole)


def test_a_model_may_mix_it_with_others():
    mixers = (CONFIG, SoftmaxAttentionConfig(projection=PROJECTION))
    model = GPT(GPTConfig(vocabulary=7, width=C, depth=2, mixers=mixers, reversible=True))
    model(torch.zeros(1, 6, dtype=torch.long)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
