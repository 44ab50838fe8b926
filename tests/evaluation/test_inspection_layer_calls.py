"""Every layer's queries, keys and values, of decoders and encoders, or a refusal by name."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

pytest.importorskip("transformers")

import transformers

from adaptive_attention_tiling.errors import CorrectnessError, UnsupportedError
from adaptive_attention_tiling.evaluation.inspection import show_layers

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def shown(model, ids):
    calls = []
    show_layers(model, ids, calls.append)
    return calls


def decoder(window=None):
    config = transformers.MistralConfig(**SMALL, num_key_value_heads=1, sliding_window=window)
    return transformers.MistralForCausalLM(config).eval()


def encoder(kind="Bert", **settings):
    sizes = SMALL
    if kind == "DistilBert":
        sizes = {"vocab_size": 50, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16}
    config = getattr(transformers, f"{kind}Config")(**sizes, **settings)
    return getattr(transformers, f"{kind}Model")(config).eval()


def test_a_decoder_shows_shared_keys_once_and_is_causal():
    model = decoder()
    calls = shown(model, torch.arange(12)[None])
    assert [call.number for call in calls] == [0, 1]
    for call in calls:
        assert call.query.shape == (2, 12, 8)
        assert call.key.shape == call.value.shape == (1, 12, 8)
        assert (call.is_causal, call.scale) == (True, 8**-0.5)


@pytest.mark.parametrize(
    ("kind", "calls"), [("Bert", 2), ("DistilBert", 2), ("Albert", 3), ("Roberta", 2)]
)
def test_encoders_are_bidirectional_and_a_shared_layer_counts_each_time(kind, calls):
    # All layers of ALBERT are one.
    settings = {"num_hidden_layers": 3} if kind == "Albert" else {}
    if kind == "Albert":
        config = transformers.AlbertConfig(**{**SMALL, **settings}, embedding_size=8)
        model = transformers.AlbertModel(config).eval()
    else:
        model = encoder(kind)
    found = shown(model, torch.arange(2, 14)[None])
    assert [call.number for call in found] == list(range(calls))
    assert not any(call.is_causal for call in found)


@pytest.mark.parametrize("make", [decoder, encoder])
def test_what_is_shown_is_what_the_layer_computes_with(make):
    model, ids = make(), torch.arange(12)[None]
    outputs, last = [], []
    for layer in model.modules():
        if type(layer).__name__ in ("MistralAttention", "BertSelfAttention"):
            layer.register_forward_hook(lambda _, __, out: outputs.append(out[0]))
    calls = shown(model, ids)
    for call, out in zip(calls, outputs, strict=True):
        again = scaled_dot_product_attention(
            call.query[None], call.key[None], call.value[None],
            is_causal=call.is_causal, scale=call.scale, enable_gqa=True,
        )  # fmt: skip
        mixed = again.transpose(1, 2).flatten(2)
        if make is decoder:
            mixed = model.model.layers[call.number].self_attn.o_proj(mixed)
        torch.testing.assert_close(mixed, out)
        last.append(mixed)
    assert len(last) == 2


def test_a_window_as_long_as_the_text_is_no_window():
    assert shown(decoder(window=12), torch.arange(12)[None])[0].is_causal


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: decoder(window=6), ["layer 0 of MistralForCausalLM", "at most 6 tokens"]),
        (
            lambda: transformers.MptForCausalLM(
                transformers.MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=50)
            ),
            ["no attention layer"],
        ),
        (
            lambda: transformers.Gemma2ForCausalLM(
                transformers.Gemma2Config(**SMALL, num_key_value_heads=1, head_dim=8)
            ),
            ["Gemma2ForCausalLM", "SDPA"],
        ),
        (
            lambda: transformers.T5EncoderModel(
                transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, num_layers=1, num_heads=2)
            ),
            [""],
        ),
    ],
    ids=["window", "no interface", "soft cap", "position bias"],
)
def test_other_attention_is_refused_by_name(make, parts):
    with pytest.raises(UnsupportedError) as caught:
        shown(make().eval(), torch.arange(12)[None])
    assert "Fix: " in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_numbers_that_are_not_finite_are_named():
    model = encoder()
    with torch.no_grad():
        model.encoder.layer[1].attention.self.key.bias[3] = torch.inf
    with pytest.raises(CorrectnessError, match="key of layer 1: 12 of 192"):
        shown(model, torch.arange(12)[None])
