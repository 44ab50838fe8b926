from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    FidelityAttention,
    FidelityAttentionConfig,
    GateConfig,
    ProjectionConfig,
    SoftmaxAttention,
    SoftmaxAttentionConfig,
)
from adaptive_attention_tiling.testing import assert_close

B, T, C, M = 2, 9, 8, 5
PROJECTION = ProjectionConfig(width=C, heads=4, key_value_heads=2)
CONFIG = FidelityAttentionConfig(projection=PROJECTION, state_width=M)


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def layer_of(**changes):
    return FidelityAttention(replace(CONFIG, **changes)).double()


def test_tokens_are_weighed_by_the_fidelity_of_their_states(x):
    layer = layer_of(background=0.01)
    (query, key, value), _ = layer.projections(x)
    assert query.shape[-1] == key.shape[-1] == M
    states = (t / t.norm(dim=-1, keepdim=True) for t in (query.unflatten(1, (2, 2)), key))
    weights = (torch.einsum("bgrtm,bgsm->bgrts", *states).square() + 0.01).tril()
    heads = (weights / weights.sum(-1, keepdim=True)) @ value[:, :, None]
    assert_close(layer(x), layer.projections.output(heads.flatten(1, 2), x))


@pytest.mark.parametrize("near", [{"window": T}, {"sinks": T}], ids=str)
def test_with_all_tokens_near_it_is_softmax_attention(x, near):
    fidelity = layer_of(**near, scale=0.7)
    projection = replace(PROJECTION, query_width=M)
    exact = SoftmaxAttention(SoftmaxAttentionConfig(projection=projection, scale=0.7)).double()
    exact.projections.load_state_dict(fidelity.projections.state_dict())
    assert_close(fidelity(x), exact(x), row="special_case")


def test_gates_are_heard(x):
    layer = layer_of(gates=GateConfig(decay="head", write=True))
    both = layer(x)
    for name in ("decay", "write"):
        layer.gates.get_parameter(f"{name}.bias").data += 3.0
        assert (layer(x) - both).abs().max() > 1e-4
        layer.gates.get_parameter(f"{name}.bias").data -= 3.0
    assert_close(layer(x), both)


def test_the_state_does_not_grow(x):
    layer = layer_of(window=2)
    _, short = layer(x[:, :3], return_state=True)
    _, long = layer(x, return_state=True)
    assert short.attention.bytes == long.attention.bytes


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"state_width": 0}, "state_width"),
        ({"window": -1}, "window"),
        ({"sinks": 1.5}, "sinks"),
        ({"projection": replace(PROJECTION, rotary_base=1e4)}, "rotary_base"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        replace(CONFIG, **changes)
    assert refusal.value.name == name


def test_a_state_has_no_splats_to_forget():
    with pytest.raises(ArgumentError, match="no splats"):
        layer_of(gates=GateConfig(decay="splat"))


def test_a_mask_that_is_not_padding_is_refused_by_name(x):
    mask = torch.rand(B, 1, T, T) < 0.5
    with pytest.raises(UnsupportedError, match="attn_mask: FidelityAttention"):
        layer_of()(x, attn_mask=mask)
