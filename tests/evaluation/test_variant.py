import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.evaluation.variant import attention_of, each_layer, observed
from adaptive_attention_tiling.ops.tiled_attention import TiledAttentionConfig
from adaptive_attention_tiling.testing import assert_bit_equal


def test_the_implementation_is_put_back_even_after_an_error(model):
    for context in (attention_of(model, TiledAttentionConfig()), observed(model, print)):
        try:
            with context:
                assert model.config._attn_implementation != "sdpa"
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        assert model.config._attn_implementation == "sdpa"


def test_being_observed_changes_nothing_and_shows_every_layer(model, ids):
    seen = {}
    plain = model(ids).logits
    with observed(model, lambda layer, *tensors: seen.update({layer: tensors})):
        assert_bit_equal(model(ids).logits, plain)
    assert list(seen) == [0, 1]
    query, key, value, scale = seen[1]
    assert (query.shape, key.shape, value.shape) == ((1, 2, 600, 16), *[(1, 1, 600, 16)] * 2)
    assert scale == 16**-0.5


def test_each_layer_is_told_once_and_no_longer_than_asked(model):
    count = 0

    def done():
        nonlocal count
        count += 1

    short = torch.zeros(1, 4, dtype=torch.long)
    with each_layer(model, done):
        model(short)
    model(short)
    assert count == 2


def test_layers_without_a_number_have_their_place():
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(
        vocab_size=50, dim=8, n_layers=3, n_heads=2, hidden_dim=8, max_position_embeddings=16
    )
    encoder = transformers.DistilBertModel(config).eval()
    seen = []
    with observed(encoder, lambda layer, *tensors: seen.append(layer)):
        encoder(torch.arange(5)[None])
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(("window", "masked"), [(16, False), (6, True)])
def test_the_circumstances_of_a_call_are_shown(window, masked):
    transformers = pytest.importorskip("transformers")
    config = transformers.MistralConfig(
        vocab_size=50,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=window,
    )
    model, order = transformers.MistralForCausalLM(config).eval(), []
    with observed(model, lambda layer, *_: order.append(layer), lambda *told: order.append(told)):
        model(torch.arange(12)[None])
    (layer, told), first, *rest = order
    assert (layer, first, told.is_causal, len(rest)) == (0, 0, True, 2)
    assert {"scaling", "sliding_window"} <= set(told.others)
    assert (told.mask is not None) == masked
    if masked:
        within = torch.ones(12, 12, dtype=torch.bool).tril() & ~torch.ones(12, 12).tril(-6).bool()
        assert torch.equal(told.mask[0, 0], within)
