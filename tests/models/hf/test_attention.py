"""Hugging Face models on tiled attention against the same models on SDPA."""

import logging

import pytest
import torch

from adaptive_attention_tiling import TiledAttentionConfig, UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.testing import assert_close

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from adaptive_attention_tiling.models import hf  # noqa: E402
from adaptive_attention_tiling.models.hf import attention  # noqa: E402

LAYOUT = TileLayout(super_block=16, tile=4, group=2, window=16, scouts=6, sinks=2)
T = 75
EXACT = TiledAttentionConfig(tolerance=0, layout=LAYOUT)
# Not short-circuited to SDPA, as tolerance=0 is: tiles are cut and read.
NEARLY_EXACT = TiledAttentionConfig(tolerance=1e-7, layout=LAYOUT)
COARSE = TiledAttentionConfig(budget=0.0, layout=LAYOUT)
FAMILIES = ["llama", "gpt2", "gpt2_scaled_by_layer", "bert", "bart"]


def tokens(batch=2, length=T):
    return torch.randint(3, 97, (batch, length), generator=torch.Generator().manual_seed(2))


def padding(side, batch=2, length=T, count=21):
    mask = torch.ones(batch, length, dtype=torch.long)
    if side == "left":
        mask[0, :count] = 0
    elif side == "right":
        mask[0, length - count :] = 0
    return mask


def logits(model, ids, mask=None, **kwargs):
    return model(input_ids=ids, attention_mask=mask, use_cache=False, **kwargs).logits


@pytest.mark.parametrize("settings", [EXACT, NEARLY_EXACT], ids=["exact", "nearly_exact"])
@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_small_tolerance_equals_sdpa(tiny, family, side, settings):
    model = tiny(family).double()
    ids, mask = tokens(), padding(side)
    expected = logits(model, ids, mask)
    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, settings)
    actual = logits(model, ids, mask)
    seen = mask.bool()
    if settings is EXACT:
        assert_close(actual[seen], expected[seen])
    else:
        # Seven digits of attention through two layers whose weights are large.
        assert (actual - expected)[seen].abs().max() < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_tolerance_zero_equals_sdpa_in_float32(tiny, family):
    ids, mask = tokens(), padding("left")
    expected = logits(tiny(family), ids, mask)
    model = tiny(family, "adaptive_tiled")
    hf.configure(model, EXACT)
    assert_close(logits(model, ids, mask)[mask.bool()], expected[mask.bool()])


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_settings_reach_the_layers(tiny, family):
    ids = tokens()
    model = tiny(family)
    expected = logits(model, ids)
    hf.configure(model, COARSE)  # before the switch
    assert_close(logits(model, ids), expected)
    model.set_attn_implementation("adaptive_tiled")
    coarse = logits(model, ids)
    assert (coarse - expected).abs().max() > 1e-3
    hf.configure(model, EXACT)  # and after it
    assert_close(logits(model, ids), expected)
    assert {hf.settings_of(layer) for layer in hf.attention_layers(model)} == {EXACT}


@torch.no_grad()
def test_models_do_not_share_settings(tiny):
    first, second = tiny("llama", "adaptive_tiled"), tiny("llama", "adaptive_tiled")
    hf.configure(first, COARSE)
    assert {hf.settings_of(x) for x in hf.attention_layers(second)} == {TiledAttentionConfig()}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_causal_models_stay_causal(tiny, family):
    model = tiny(family, "adaptive_tiled")
    hf.configure(model, COARSE)
    ids = tokens()
    changed = ids.clone()
    changed[:, 50:] = 5
    assert torch.equal(logits(model, ids)[:, :50], logits(model, changed)[:, :50])


@torch.no_grad()
def test_bert_is_not_causal(tiny):
    model = tiny("bert", "adaptive_tiled")
    ids = tokens()
    changed = ids.clone()
    changed[:, -1] = 5
    assert (logits(model, ids) - logits(model, changed))[:, 0].abs().max() > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_those_of_sdpa(tiny, family):
    ids, grads = tokens(), []
    for implementation in ("sdpa", "adaptive_tiled"):
        model = tiny(family, implementation).double()
        hf.configure(model, TiledAttentionConfig(budget=1.0, layout=LAYOUT))
        logits(model, ids).square().mean().backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert_close(grads[1], grads[0], gradient=True)


def test_training_through_tile_means(tiny):
    model = tiny("llama", "adaptive_tiled").train()
    hf.configure(model, COARSE)
    ids = tokens()
    model(input_ids=ids, attention_mask=padding("right"), labels=ids).loss.backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


@torch.no_grad()
def test_bfloat16_runs(tiny):
    model = tiny("llama", "adaptive_tiled").bfloat16()
    hf.configure(model, NEARLY_EXACT)
    out = logits(model, tokens(), padding("left"))
    assert out.dtype == torch.bfloat16
    assert torch.isfinite(out[padding("left").bool()]).all()


@torch.no_grad()
def test_an_ordinary_cache_attends_exactly_and_says_so_once(tiny, caplog):
    ids, mask = tokens(), padding("left")
    model = tiny("llama").double()
    expected = logits(model, ids, mask)
    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, EXACT)
    attention._log_exact_steps.cache_clear()
    caplog.set_level(logging.INFO, logger=attention.__name__)
    cache, outs = transformers.DynamicCache(), []
    for start, end in [(0, 40), (40, 73), (73, 74), (74, 75)]:
        outs.append(
            model(
                input_ids=ids[:, start:end],
                attention_mask=mask[:, :end],
                position_ids=torch.arange(start, end)[None],
                past_key_values=cache,
            ).logits
        )
    assert_close(torch.cat(outs, 1)[mask.bool()], expected[mask.bool()])
    assert [r.message for r in caplog.records if "TiledCache" in r.message] == [
        caplog.records[0].message
    ]


@torch.no_grad()
def test_cross_attention_of_gpt2(tiny):
    ids, states, mask = tokens(), torch.randn(2, 51, 32), padding("right", length=51)
    model = tiny("gpt2", add_cross_attention=True)
    given = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
    expected = logits(model, ids, **given)
    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, EXACT)
    assert_close(logits(model, ids, **given), expected)


@torch.no_grad()
def test_bert_as_a_decoder_with_cross_attention():
    config = transformers.BertConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        is_decoder=True,
        add_cross_attention=True,
    )
    model = transformers.BertLMHeadModel._from_config(config, attn_implementation="sdpa").eval()
    ids, states = tokens(), torch.randn(2, 51, 32)
    for mask in (None, padding("right", length=51)):
        given = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        model.set_attn_implementation("sdpa")
        expected = logits(model, ids, **given)
        model.set_attn_implementation("adaptive_tiled")
        hf.configure(model, EXACT)
        assert_close(logits(model, ids, **given), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bart"])
@torch.no_grad()
def test_generate_with_left_padding_equals_sdpa(tiny, family):
    ids, mask = tokens(length=40), padding("left", length=40, count=9)
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    model = tiny(family)
    expected = model.generate(ids, attention_mask=mask, **options)
    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, EXACT)
    assert torch.equal(model.generate(ids, attention_mask=mask, **options), expected)


class TestRefusals:
    @torch.no_grad()
    def test_t5_for_its_position_bias(self, tiny):
        model = tiny("t5", "adaptive_tiled")
        with pytest.raises(UnsupportedError, match="position_bias: passed by T5Attention"):
            model(input_ids=tokens(), decoder_input_ids=tokens())

    @pytest.mark.parametrize(
        "name", ["position_bias", "s_aux", "softcap", "sliding_window", "head_mask", "new_in_2030"]
    )
    def test_arguments_that_would_be_ignored(self, tiny, name):
        model = tiny("llama", "adaptive_tiled")
        with pytest.raises(UnsupportedError, match=f"^{name}: passed by LlamaAttention"):
            logits(model, tokens(), **{name: 1.0})

    def test_but_not_when_they_are_none(self, tiny):
        logits(tiny("llama", "adaptive_tiled"), tokens(), softcap=None)

    def test_dropout(self, tiny):
        model = tiny("gpt2", "adaptive_tiled", attn_pdrop=0.1).train()
        with pytest.raises(UnsupportedError, match=r"dropout: GPT2Attention asks for 0\.1"):
            logits(model, tokens())
        logits(model.eval(), tokens())

    @pytest.mark.parametrize("family", ["llama", "bert"])
    def test_output_attentions(self, tiny, family):
        with pytest.raises(UnsupportedError, match="output_attentions: got True"):
            logits(tiny(family, "adaptive_tiled"), tokens(), output_attentions=True)

    def test_gpt2_keeps_output_attentions_to_itself_and_gets_none(self, tiny):
        model = tiny("gpt2", "adaptive_tiled")
        out = model(input_ids=tokens(), output_attentions=True, use_cache=False)
        assert not any(weights is not None for weights in out.attentions)

    def test_settings_of_another_type(self, tiny):
        with pytest.raises(ValueError, match=r"settings: got 0\.1"):
            hf.configure(tiny("llama"), 0.1)

    def test_models_without_attention_layers(self):
        with pytest.raises(UnsupportedError, match="Linear has no attention layer"):
            hf.configure(torch.nn.Linear(2, 2), EXACT)
