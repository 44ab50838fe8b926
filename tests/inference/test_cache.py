"""TiledCache: the same answers and the same tiles as one call over all tokens."""

import copy

import pytest
import torch

from adaptive_attention_tiling import (
    ArgumentError,
    TiledAttentionConfig,
    TiledCache,
    UnsupportedError,
)
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from adaptive_attention_tiling.models import hf  # noqa: E402

LAYOUT = TileLayout(super_block=16, tile=4, group=2, window=16, scouts=6, sinks=2)
EXACT = TiledAttentionConfig(tolerance=0, layout=LAYOUT)
T = 101
SETTINGS = {
    "tolerance": TiledAttentionConfig(tolerance=0.05, layout=LAYOUT),
    "budget": TiledAttentionConfig(budget=0.3, layout=LAYOUT),
    "certified": TiledAttentionConfig(tolerance=0.3, certified=True, layout=LAYOUT),
    "contiguous": TiledAttentionConfig(
        budget=0.3,
        layout=TileLayout(
            super_block=16, tile=4, group=2, window=32, scouts=6, sinks=2, order="contiguous"
        ),
    ),
}
PIECES = {
    "prefill_and_steps": [90] + [1] * 11,
    "prefill_to_a_block_and_steps": [96] + [1] * 5,
    "prefill_past_a_block_and_steps": [81] + [1] * 20,
    "only_steps": [1] * T,
    "pieces": [7, 40, 1, 16, 16, 21],
    "short_prefill": [3, 98],
}


def llama(implementation="adaptive_tiled", layers=2):
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        pad_token_id=0,
        eos_token_id=None,
    )
    torch.manual_seed(1)
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation=implementation)
    return model.eval()


def tokens(batch=2, length=T):
    return torch.randint(3, 97, (batch, length), generator=torch.Generator().manual_seed(2))


def left_padding(batch=2, length=T, count=21):
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, :count] = 0
    return mask


def in_pieces(model, ids, mask, cache, sizes):
    outs, start = [], 0
    for size in sizes:
        end = start + size
        out = model(
            input_ids=ids[:, start:end],
            attention_mask=None if mask is None else mask[:, :end],
            position_ids=torch.arange(start, end)[None],
            past_key_values=cache,
        )
        assert out.past_key_values is cache
        outs.append(out.logits)
        start = end
    return torch.cat(outs, 1)


def tiles(cache):
    return [layer.state.store.positions for layer in cache.layers]


# Every way to cut the sequence with one setting; every setting with one way that has it all.
CASES = [("tolerance", name) for name in PIECES]
CASES += [(name, "prefill_past_a_block_and_steps") for name in SETTINGS if name != "tolerance"]


@pytest.mark.parametrize("padded", [False, True], ids=["full", "left_padded"])
@pytest.mark.parametrize(("setting", "pieces"), CASES)
@torch.no_grad()
def test_prefill_and_step_agree_with_the_full_call(setting, pieces, padded):
    model, sizes = llama().double(), PIECES[pieces]
    hf.configure(model, SETTINGS[setting])
    ids, mask = tokens(), left_padding() if padded else None
    seen = left_padding().bool() if padded else torch.ones(2, T, dtype=torch.bool)

    expected = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    with hf.recording(model, reports=True) as calls:
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    whole, parts = TiledCache(model), TiledCache(model)
    at_once = in_pieces(model, ids, mask, whole, [T])
    actual = in_pieces(model, ids, mask, parts, sizes)

    assert_bit_equal(at_once[seen], expected[seen])
    assert_close(actual[seen], expected[seen])
    for call, one, other in zip(calls, tiles(whole), tiles(parts), strict=True):
        full = call.report.tiles.flatten(0, 1)
        assert_bit_equal(one, full)
        # Steps have cut the tiles of all finished blocks; one call only those that were far.
        assert_bit_equal(other[:, : full.shape[1]], full)


@torch.no_grad()
def test_settings_matter_in_a_step():
    model, ids = llama().double(), tokens()
    exact = model(input_ids=ids, use_cache=False).logits
    hf.configure(model, TiledAttentionConfig(budget=0.0, layout=LAYOUT))
    steps = in_pieces(model, ids, None, TiledCache(model), [96, 1, 1, 1, 1, 1])
    assert (steps - exact)[:, -1].abs().max() > 1e-3
    of_its_own = in_pieces(model, ids, None, TiledCache(EXACT), [96, 1, 1, 1, 1, 1])
    assert_close(of_its_own, exact)


@torch.no_grad()
def test_settings_are_those_of_the_layer():
    model = llama()
    coarse = TiledAttentionConfig(budget=0.0, layout=LAYOUT)
    hf.configure(model.model.layers[1], coarse)
    assert [layer.settings for layer in TiledCache(model).layers] == [
        TiledAttentionConfig(),
        coarse,
    ]


@pytest.mark.parametrize("padded", [False, True], ids=["full", "left_padded"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@torch.no_grad()
def test_greedy_generation_at_tolerance_zero_is_exact(family, padded):
    model = llama("sdpa") if family == "llama" else gpt2()
    ids = tokens(length=60)
    mask = left_padding(length=60) if padded else torch.ones_like(ids)
    options = {"max_new_tokens": 40, "do_sample": False, "attention_mask": mask}
    expected = model.generate(ids, **options)
    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, EXACT)
    assert torch.equal(model.generate(ids, past_key_values=TiledCache(model), **options), expected)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=97,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(1)
    return transformers.GPT2LMHeadModel._from_config(config, attn_implementation="sdpa").eval()


@torch.no_grad()
def test_chunked_prefill_of_generate():
    model, ids = llama(), tokens()
    hf.configure(model, SETTINGS["tolerance"])
    options = {"max_new_tokens": 8, "do_sample": False}
    options["attention_mask"] = torch.ones_like(ids)
    one = model.generate(ids, past_key_values=TiledCache(model), **options)
    many = model.generate(ids, past_key_values=TiledCache(model), prefill_chunk_size=33, **options)
    assert torch.equal(one, many)


@torch.no_grad()
def test_it_is_an_ordinary_cache_for_sdpa():
    model, ids, mask = llama("sdpa").double(), tokens(), left_padding()
    expected = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    actual = in_pieces(model, ids, mask, TiledCache(), PIECES["pieces"])
    assert_close(actual[mask.bool()], expected[mask.bool()])


@torch.no_grad()
def test_changing_the_implementation_midway_is_refused():
    model, cache = llama("sdpa"), TiledCache()
    in_pieces(model, tokens(), None, cache, [50])
    model.set_attn_implementation("adaptive_tiled")
    with pytest.raises(UnsupportedError, match="do not change attn_implementation"):
        model(input_ids=tokens()[:, 50:51], past_key_values=cache)


@torch.no_grad()
def test_the_mask_of_the_past_may_not_change():
    model, cache = llama(), TiledCache()
    in_pieces(model, tokens(), None, cache, [50])
    with pytest.raises(ArgumentError, match="another mask for tokens that have been read"):
        model(
            input_ids=tokens()[:, 50:51],
            attention_mask=left_padding(length=51),
            past_key_values=cache,
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_is_kept_and_computed_in_float32(dtype):
    model, ids = llama().to(dtype), tokens()
    hf.configure(model, SETTINGS["budget"])
    cache = TiledCache(model)
    expected = model(input_ids=ids, use_cache=False).logits
    actual = in_pieces(model, ids, None, cache, PIECES["pieces"])
    assert cache.layers[0].keys.dtype == cache.layers[0].state.key.dtype == dtype
    assert cache.layers[0].state.store.keys.dtype == torch.float32
    # Rounding elsewhere in the model depends on the number of rows, and moves a few plans.
    assert (actual - expected).float().abs().median() < 0.05 * expected.float().abs().median()


@torch.no_grad()
def test_reset_forgets_everything():
    model, cache = llama(), TiledCache(EXACT)
    first = in_pieces(model, tokens(), None, cache, [60, 1])
    cache.reset()
    assert cache.get_seq_length() == 0
    assert_bit_equal(in_pieces(model, tokens(), None, cache, [60, 1]), first)


@torch.no_grad()
def test_a_copy_goes_its_own_way():
    model, cache, ids = llama(), TiledCache(SETTINGS["budget"]), tokens()
    in_pieces(model, ids, None, cache, [60])
    twin = copy.deepcopy(cache)
    steps = [in_pieces_from(model, ids, c, 60) for c in (cache, twin)]
    assert_bit_equal(steps[0], steps[1])
    assert twin.layers[0].keys.aat_state is twin.layers[0].state


def in_pieces_from(model, ids, cache, start):
    return torch.cat(
        [model(input_ids=ids[:, i : i + 1], past_key_values=cache).logits for i in range(start, T)],
        1,
    )


def test_sizes():
    model = llama()
    cache = TiledCache(model)
    assert (len(cache), cache.get_seq_length(), cache.get_max_length()) == (2, 0, -1)
    assert cache.get_mask_sizes(5, 0) == (5, 0)
    in_pieces(model, tokens(), None, cache, [50])
    assert (cache.get_seq_length(), cache.get_mask_sizes(5, 1)) == (50, (55, 0))
    assert not cache.is_compileable


class TestRefusals:
    @torch.no_grad()
    def test_beam_search(self):
        model, ids = llama(), tokens(length=20)
        options = {"max_new_tokens": 4, "num_beams": 2, "attention_mask": torch.ones_like(ids)}
        with pytest.raises(UnsupportedError, match="beam search"):
            model.generate(ids, past_key_values=TiledCache(model), **options)

    def test_cropping_and_choosing_sequences(self):
        cache = TiledCache(llama())
        cache.crop(0)
        with pytest.raises(UnsupportedError, match="crop"):
            cache.crop(-1)
        with pytest.raises(UnsupportedError, match="batch_repeat_interleave"):
            cache.batch_repeat_interleave(2)
        with pytest.raises(UnsupportedError, match="batch_select_indices"):
            cache.batch_select_indices(torch.tensor([0]))

    def test_settings_of_another_type(self):
        with pytest.raises(ArgumentError, match=r"settings: got 0\.1"):
            TiledCache(0.1)

    def test_models_that_are_not_causal(self):
        config = transformers.BertConfig(
            vocab_size=97,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
        )
        with pytest.raises(UnsupportedError, match="BertModel has no causal attention layer"):
            TiledCache(transformers.BertModel(config))

    @torch.no_grad()
    def test_non_finite_keys_in_certified_mode(self):
        model = llama()
        with torch.no_grad():
            model.model.layers[0].self_attn.k_proj.weight[0, 0] = float("nan")
        hf.configure(model, SETTINGS["certified"])
        with pytest.raises(ArgumentError, match="key: got"):
            in_pieces(model, tokens(), None, TiledCache(model), [50])
