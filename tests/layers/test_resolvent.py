import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    ProjectionConfig,
    ResolventAttention,
    ResolventAttentionConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.resolvent_attention import reference_resolvent_attention
from adaptive_attention_tiling.testing import assert_close

B, T, C = 2, 70, 8
PROJECTION = ProjectionConfig(width=C, heads=2, key_value_heads=1)
CONFIG = ResolventAttentionConfig(projection=PROJECTION, damping=0.7, scale=1.3, tolerance=1e-13)


@pytest.mark.parametrize("is_causal", [True, False])
def test_it_is_the_resolvent_between_four_projections(is_causal):
    layer = ResolventAttention(CONFIG).double()
    x = 3 * torch.randn(B, T, C, dtype=torch.float64)
    (query, key, value), _ = layer.projections(x)
    shared = (y.expand(B, 2, T, 4) for y in (key, value))
    heads = reference_resolvent_attention(
        query, *shared, damping=0.7, scale=1.3, is_causal=is_causal
    )
    out = layer(x, is_causal=is_causal)
    assert_close(out, layer.projections.output(heads, x))
    assert not torch.allclose(out, layer(x, is_causal=not is_causal))


def test_the_tolerance_reaches_texts_without_an_order():
    coarse = ResolventAttentionConfig(projection=PROJECTION, damping=0.7, scale=1.3, tolerance=0.5)
    layer, other = ResolventAttention(CONFIG), ResolventAttention(coarse)
    other.load_state_dict(layer.state_dict())
    x = 3 * torch.randn(B, T, C)
    assert torch.equal(layer(x), other(x))
    assert not torch.allclose(layer(x, is_causal=False), other(x, is_causal=False))


def test_it_compiles_and_trains():
    layer = ResolventAttention(CONFIG)
    x = torch.randn(B, 9, C)
    compiled = torch.compile(layer, backend="aot_eager")
    out = compiled(x)
    assert_close(out, layer(x))
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_a_gpt_reads_and_goes_on_with_it():
    model = GPT(GPTConfig(vocabulary=11, width=C, depth=2, mixers=CONFIG)).eval()
    ids = torch.randint(11, (B, 12))
    whole = model(ids)
    _, state = model(ids[:, :7], return_state=True)
    assert_close(model(ids[:, 7:], state=state), whole[:, 7:])


def test_what_makes_no_walk_is_refused():
    with pytest.raises(ArgumentError, match=r"^damping: "):
        ResolventAttentionConfig(projection=PROJECTION, damping=1.0)
    with pytest.raises(ArgumentError, match=r"^tolerance: "):
        ResolventAttentionConfig(projection=PROJECTION, tolerance=-1.0)
    layer = ResolventAttention(CONFIG)
    with pytest.raises((ArgumentError, UnsupportedError), match="ResolventAttention"):
        layer(torch.randn(B, T, C), attn_mask=torch.randn(B, 1, T, T))
