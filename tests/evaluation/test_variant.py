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
