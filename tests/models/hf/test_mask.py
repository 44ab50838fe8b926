"""The masks that tiled attention is told about, and those it refuses."""

import pytest
import torch

from adaptive_attention_tiling import ArgumentError, UnsupportedError

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402
from transformers.masking_utils import (  # noqa: E402
    and_masks,
    bidirectional_mask_function,
    causal_mask_function,
    create_causal_mask,
    sliding_window_causal_mask_function,
)

from adaptive_attention_tiling.models import hf  # noqa: E402
from adaptive_attention_tiling.models.hf.mask import read_mask, tiled_mask  # noqa: E402

IDS = torch.arange(3, 33)[None]


class Layer(torch.nn.Module):
    def __init__(self, is_causal):
        super().__init__()
        self.is_causal = is_causal


def test_registration_is_of_both_and_may_be_repeated():
    hf.register()
    hf.register()
    assert AttentionInterface()["adaptive_tiled"] is hf.tiled_attention_forward
    assert AttentionMaskInterface()["adaptive_tiled"] is hf.tiled_mask


@pytest.mark.parametrize(
    ("function", "causal"), [(causal_mask_function, True), (bidirectional_mask_function, False)]
)
def test_what_is_written_can_be_read(function, causal):
    given = torch.tensor([[False, True, True], [True, True, True]])
    mask = tiled_mask(2, 3, 3, mask_function=function, attention_mask=given)
    read = read_mask(Layer(causal), mask, None, 3)
    assert read[0] is causal
    assert torch.equal(read[1], given)
    everything = tiled_mask(2, 3, 3, mask_function=function)
    assert read_mask(Layer(causal), everything, None, 3) == (causal, None)


@pytest.mark.parametrize("says", [True, False])
def test_layer_and_mask_must_agree_about_causality(says):
    function = bidirectional_mask_function if says else causal_mask_function
    mask = tiled_mask(1, 4, 4, mask_function=function)
    with pytest.raises(UnsupportedError, match=f"is_causal: Layer says {says}"):
        read_mask(Layer(says), mask, None, 4)
    assert read_mask(Layer(says), mask, not says, 4) == (not says, None)


def test_a_causal_layer_needs_a_mask(monkeypatch, tiny):
    model = tiny("llama", "adaptive_tiled")
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, "adaptive_tiled")
    with pytest.raises(UnsupportedError, match=r"LlamaAttention .* got None"):
        model(input_ids=IDS)


def test_a_bidirectional_layer_needs_a_registered_mask(monkeypatch, tiny):
    assert read_mask(Layer(False), None, None, 4) == (False, None)
    model = tiny("bert", "adaptive_tiled")
    # That another implementation has the mask does not help this one.
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, "another", tiled_mask)
    monkeypatch.delitem(AttentionMaskInterface._global_mapping, "adaptive_tiled")
    with pytest.raises(UnsupportedError, match="got None"):
        model(input_ids=IDS)


def test_a_layer_that_does_not_say_needs_a_mask():
    with pytest.raises(UnsupportedError, match="is_causal=None"):
        read_mask(torch.nn.Identity(), None, None, 4)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (sliding_window_causal_mask_function(4), "sliding_window_overlay"),
        (and_masks(causal_mask_function, lambda b, h, q, k: q >= 0), "<lambda>"),
    ],
)
def test_other_masks_are_refused_by_name(function, name):
    with pytest.raises(UnsupportedError, match=name):
        tiled_mask(1, 8, 8, mask_function=function)


def test_packed_sequences_are_refused(tiny):
    positions = torch.cat([torch.arange(12), torch.arange(18)])[None]
    with pytest.raises(UnsupportedError, match="packed_sequence_mask_function"):
        tiny("llama", "adaptive_tiled")(input_ids=IDS, position_ids=positions, use_cache=False)


def test_blocks_that_see_themselves_are_refused(tiny):
    model = tiny("llama", "adaptive_tiled")
    with pytest.raises(UnsupportedError, match="blockwise_overlay"):
        create_causal_mask(
            config=model.config,
            inputs_embeds=torch.zeros(1, 8, 32),
            attention_mask=None,
            past_key_values=None,
            block_sequence_ids=torch.zeros(1, 8, dtype=torch.long),
        )


def test_sliding_windows_of_a_model_are_refused():
    config = transformers.MistralConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
    )
    model = transformers.MistralForCausalLM._from_config(
        config, attn_implementation="adaptive_tiled"
    )
    with pytest.raises(UnsupportedError, match="sliding_window"):
        model(input_ids=IDS, use_cache=False)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(1, 1, 30, 30, dtype=torch.bool).tril(),
        torch.zeros(1, 1, 30, 30),
        torch.zeros(1, 1, 1, 30),
    ],
)
def test_prepared_masks_are_refused(tiny, mask):
    with pytest.raises(UnsupportedError, match="a prepared mask"):
        tiny("llama", "adaptive_tiled")(input_ids=IDS, attention_mask=mask)


def test_a_padding_mask_must_cover_the_cache(tiny):
    model = tiny("llama", "adaptive_tiled")
    cache = transformers.DynamicCache()
    model(input_ids=IDS[:, :10], past_key_values=cache)
    with pytest.raises(ArgumentError, match="a column for every key"):
        model(input_ids=IDS[:, 10:], attention_mask=torch.ones(1, 20), past_key_values=cache)


def test_caches_of_fixed_size_are_refused(tiny):
    model = tiny("llama", "adaptive_tiled")
    with pytest.raises(UnsupportedError, match="cache of fixed size"):
        model.generate(IDS, max_new_tokens=4, cache_implementation="static", pad_token_id=0)
