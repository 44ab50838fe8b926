import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import (
    ProjectionConfig,
    SoftmaxAttention,
    SoftmaxAttentionConfig,
    SoftmaxCrossAttention,
)
from adaptive_attention_tiling.testing import assert_close

B, T, C = 2, 7, 8
CONFIG = SoftmaxAttentionConfig(
    projection=ProjectionConfig(width=C, heads=2, key_value_heads=1), scale=0.7
)


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def by_hand(layer, x, context, mask):
    part = layer.projections

    def heads(linear, text, count):
        return linear(text).view(*text.shape[:2], count, 4).transpose(1, 2)

    query = heads(part.query.linear, x, 2)
    key, value = heads(part.key.linear, context, 1), heads(part.value.linear, context, 1)
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.7, enable_gqa=True
    )
    return part.output.linear(out.transpose(1, 2).flatten(2))


def test_it_is_attention_between_four_projections(x):
    layer = SoftmaxAttention(CONFIG).double()
    mask = torch.ones(T, T, dtype=torch.bool).tril()
    assert_close(layer(x), by_hand(layer, x, x, mask), row="special_case")


def test_any_mask_is_taken(x):
    layer = SoftmaxAttention(CONFIG).double()
    scores = torch.randn(B, 2, T, T, dtype=torch.float64)
    mask = scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf)
    assert_close(layer(x, attn_mask=scores), by_hand(layer, x, x, mask), row="special_case")


def test_a_mask_over_past_and_present_is_taken_in_generation(x):
    layer = SoftmaxAttention(CONFIG).double()
    mask = torch.rand(B, 1, T, T) < 0.5
    _, state = layer(x[:, :4], return_state=True)
    rest = layer(x[:, 4:], attn_mask=mask[:, :, 4:], state=state)
    assert_close(rest, layer(x, attn_mask=mask)[:, 4:])


def test_a_token_that_sees_nothing_gets_nothing_and_no_nan(x):
    layer = SoftmaxAttention(CONFIG).double()
    mask = torch.ones(B, 1, T, T, dtype=torch.bool)
    mask[:, :, 2] = False
    x.requires_grad_()
    out = layer(x, attn_mask=mask, is_causal=False)
    assert_close(out[:, 2], torch.zeros_like(out[:, 2]))
    assert not torch.equal(out[:, 3], torch.zeros_like(out[:, 3]))
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_attention_to_another_text_sees_all_its_tokens_but_padding(x):
    layer = SoftmaxCrossAttention(CONFIG).double()
    context = torch.randn(B, 5, C, dtype=torch.float64)
    seen = torch.tensor([[True] * 5, [True, True, False, False, True]])
    out = layer(x, context, context_mask=seen)
    assert_close(out, by_hand(layer, x, context, seen[:, None, None]), row="special_case")


def test_a_context_is_read_once(x):
    layer = SoftmaxCrossAttention(CONFIG).double()
    context = torch.randn(B, 5, C, dtype=torch.float64)
    whole, state = layer(x, context, return_state=True)
    steps = [layer(x[:, t : t + 1], state=state) for t in range(T)]
    assert_close(torch.cat(steps, 1), whole)


def test_a_context_or_its_state_is_needed_but_not_both(x):
    layer = SoftmaxCrossAttention(CONFIG).double()
    _, state = layer(x, x, return_state=True)
    for arguments in ({}, {"context": x, "state": state}):
        with pytest.raises(ArgumentError, match="context"):
            layer(x, **arguments)
