from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    GateConfig,
    GaussianSplatAttention,
    GaussianSplatAttentionConfig,
    GaussianSplatCrossAttention,
    ProjectionConfig,
    SoftmaxAttention,
    SoftmaxAttentionConfig,
    SplatFieldConfig,
)
from adaptive_attention_tiling.testing import assert_close

B, T, C = 2, 9, 8
PROJECTION = ProjectionConfig(width=C, heads=4, key_value_heads=2, rotary_base=100.0)
CONFIG = GaussianSplatAttentionConfig(projection=PROJECTION, field=SplatFieldConfig(splats=3))


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def layer_of(**changes):
    return GaussianSplatAttention(replace(CONFIG, **changes)).double()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("near", [{"window": T}, {"window": T + 5}, {"sinks": T}], ids=str)
def test_with_all_tokens_near_it_is_softmax_attention(x, near, masked):
    splat = layer_of(**near, scale=0.7)
    exact = SoftmaxAttention(SoftmaxAttentionConfig(projection=PROJECTION, scale=0.7)).double()
    exact.projections.load_state_dict(splat.projections.state_dict())
    seen = torch.ones(B, T, dtype=torch.bool)
    seen[0, :3] = not masked
    assert_close(splat(x, attn_mask=seen)[seen], exact(x, attn_mask=seen)[seen], row="special_case")


def test_with_few_tokens_near_it_is_not_softmax_attention(x):
    splat = layer_of(window=2)
    exact = SoftmaxAttention(SoftmaxAttentionConfig(projection=PROJECTION)).double()
    exact.projections.load_state_dict(splat.projections.state_dict())
    assert_close(splat(x)[:, :2], exact(x)[:, :2], row="special_case")
    assert (splat(x)[:, 2:] - exact(x)[:, 2:]).abs().max() > 1e-3


def test_tokens_are_weighed_by_the_splats_that_they_share(x):
    layer = layer_of()
    (query, key, value), _ = layer.projections(x)
    field = layer.field.splats()
    between = query.unflatten(1, (2, 2))[..., None, :] - field.mean[:, None, None]
    near_query = (-0.5 * (between / field.scale[:, None, None]).square().sum(-1)).exp()
    between = key[..., None, :] - field.mean[:, None]
    near_key = (-0.5 * (between / field.scale[:, None]).square().sum(-1)).exp()
    amplitude = field.log_amplitude.exp()
    weights = torch.einsum("bgrtk,bgsk,gk->bgrts", near_query, near_key, amplitude)
    weights = (weights + layer.field.log_background.exp().view(2, 1, 1, 1)).tril()
    heads = (weights / weights.sum(-1, keepdim=True)) @ value[:, :, None]
    assert_close(layer(x), layer.projections.output(heads.flatten(1, 2), x))


def test_only_the_nearest_splats_of_a_token_are_read(x):
    everything, nearest = layer_of(), layer_of(top_m=1)
    nearest.load_state_dict(everything.state_dict())
    assert (nearest(x) - everything(x)).abs().max() > 1e-4


def test_the_state_does_not_grow(x):
    layer = layer_of(window=2)
    _, short = layer(x[:, :3], return_state=True)
    _, long = layer(x, return_state=True)
    assert short.attention.bytes == long.attention.bytes


@pytest.mark.parametrize("init", ["random", "kmeans", "pca"])
def test_a_field_is_fitted_to_what_the_layer_reads(x, init):
    x = torch.cat([x, x.flip(1)], 1)
    layer = layer_of(field=SplatFieldConfig(splats=3, init=init))
    before = layer.field.raw_mean.detach().clone()
    layer.fit_field(x)
    assert not torch.equal(layer.field.raw_mean, before)
    assert layer.field.raw_mean.requires_grad
    assert layer(x).isfinite().all()


def test_a_field_fitted_by_kmeans_lies_on_the_points_and_not_on_padding(x):
    layer = layer_of(
        projection=ProjectionConfig(width=C, heads=1),
        field=SplatFieldConfig(splats=4, init="kmeans"),
    )
    low, high = torch.randn(2, C, dtype=torch.float64)
    x[:, ::2], x[:, 1::2] = low, high
    x[:, -1] = 9.0
    seen = torch.ones(B, T, dtype=torch.bool)
    seen[:, -1] = False
    part = layer.projections
    with torch.no_grad():
        points = torch.stack([f.linear(t) for f in (part.query, part.key) for t in (low, high)])
    layer.fit_field(x, seen)
    means = layer.field.splats().mean[0].detach()
    assert_close(means[means[:, 0].argsort()], points[points[:, 0].argsort()])


def test_attention_to_another_text_without_order(x):
    layer = GaussianSplatCrossAttention(CONFIG).double()
    context = torch.randn(B, 5, C, dtype=torch.float64)
    turned = context.flip(1)
    assert_close(layer(x, context), layer(x, turned))
    assert (layer(x, context) - layer(x, context[:, :4])).abs().max() > 1e-4


def test_padding_of_a_context_is_not_read(x):
    config = replace(CONFIG, gates=GateConfig(write=True))
    layer = GaussianSplatCrossAttention(config).double()
    context = torch.randn(B, 5, C, dtype=torch.float64)
    seen = torch.ones(B, 5, dtype=torch.bool)
    seen[0, 1:3] = False
    out = layer(x, context, context_mask=seen)
    assert_close(out[:1], layer(x[:1], context[:1, [0, 3, 4]]))
    assert_close(out[1:], layer(x[1:], context[1:]))


def test_a_context_is_read_once(x):
    layer = GaussianSplatCrossAttention(CONFIG).double()
    context = torch.randn(B, 5, C, dtype=torch.float64)
    whole, state = layer(x, context, return_state=True)
    steps = [layer(x[:, t : t + 1], state=state) for t in range(T)]
    assert_close(torch.cat(steps, 1), whole)


def test_gradients_reach_every_parameter_of_attention_to_another_text(x):
    layer = GaussianSplatCrossAttention(replace(CONFIG, gates=GateConfig(write=True))).double()
    (layer(x, torch.randn_like(x)) * torch.randn_like(x)).sum().backward()
    grads = {name: p.grad for name, p in layer.named_parameters()}
    unreached = [name for name, g in grads.items() if g is None or not g.abs().sum() > 0]
    assert unreached == []


@pytest.mark.parametrize(
    "changes", [{"window": 2}, {"sinks": 1}, {"gates": GateConfig(decay="head")}], ids=str
)
def test_what_needs_an_order_is_refused_for_a_context(changes):
    with pytest.raises(UnsupportedError, match="no order"):
        GaussianSplatCrossAttention(replace(CONFIG, **changes))


def test_a_mask_that_is_not_padding_is_refused_by_name(x):
    mask = torch.rand(B, 1, T, T) < 0.5
    with pytest.raises(UnsupportedError, match="attn_mask: GaussianSplatAttention"):
        layer_of()(x, attn_mask=mask)


def test_forgetting_needs_an_order(x):
    with pytest.raises(UnsupportedError, match="decay"):
        layer_of(gates=GateConfig(decay="head"))(x, is_causal=False)


def test_an_unknown_start_is_refused_by_name():
    with pytest.raises(ArgumentError, match="init"):
        SplatFieldConfig(splats=3, init="spectral")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (lambda: {"field": SplatFieldConfig(splats=0)}, "splats"),
        (lambda: {"field": SplatFieldConfig(splats=2, kind="round")}, "kind"),
        (lambda: {"field": SplatFieldConfig(splats=2, kind="low_rank", rank=0)}, "rank"),
        (lambda: {"top_m": 4}, "top_m"),
        (lambda: {"top_m": 0}, "top_m"),
        (lambda: {"window": -1}, "window"),
        (lambda: {"sinks": True}, "sinks"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_when_the_layer_is_made(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        layer_of(**changes())
    assert refusal.value.name == name
