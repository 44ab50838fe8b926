"""Models with swapped heads, and how much errors of heads matter to them."""

import dataclasses

import pytest
import torch
from torch.nn.functional import kl_div, scaled_dot_product_attention

pytest.importorskip("transformers")

import transformers

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.evaluation.recommendation import (
    HeadChoice,
    HeadOption,
    Recommendation,
    fit_option,
    head_sensitivity,
    swapped,
)
from adaptive_attention_tiling.evaluation.variant import implementation_of, observed
from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention

TOKENS = 200
OPTIONS = (
    HeadOption("exact", "exact"),
    HeadOption("window 20", "window", {"window": 20, "sinks": 3}),
    HeadOption("tiled", "tiled", {"tolerance": 1.0, "block": 32}),
    HeadOption("splat 4", "splat", {"splats": 4, "window": 20, "sinks": 3}),
    HeadOption("fidelity 4", "fidelity", {"amplitudes": 4, "window": 20, "sinks": 3}),
)
PLACES = [[1, 0, 2, 4], [0, 3, 1, 2]]


@pytest.fixture(params=["decoder", "encoder"])
def reader(request):
    """A model of two layers with four heads, two of them sharing keys in the decoder."""
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 30,
        "hidden_size": 32,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.4,
        "attn_implementation": "sdpa",
    }
    if request.param == "decoder":
        config = transformers.LlamaConfig(**sizes, num_key_value_heads=2)
        return transformers.LlamaForCausalLM(config).eval()
    config = transformers.BertConfig(**sizes, num_labels=2)
    return transformers.BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture
def text():
    return torch.randint(30, (1, TOKENS))


def last(model, text):
    with torch.no_grad():
        return model.base_model(text).last_hidden_state


def fitted_to(model, text):
    calls = []
    with observed(model, lambda _, *tensors: calls.append(tensors)):
        last(model, text)
    causal = hasattr(model, "lm_head")
    rows = []
    for query, key, value, scale in calls:
        shared = query.shape[1] // key.shape[1]
        rows.append(
            [
                {
                    o.name: fit_option(
                        o,
                        query[0, h],
                        key[0, h // shared],
                        value[0, h // shared],
                        is_causal=causal,
                        scale=scale,
                    )
                    for o in OPTIONS
                }
                for h in range(query.shape[1])
            ]
        )
    return rows


def recommended(places):
    rows = tuple(tuple(HeadChoice(n, 0.1, 0.1, 0.1, "") for n in row) for row in places)
    return Recommendation(OPTIONS, rows)


def by_masks(fitted):
    """Attention with what each option reads written out, as an attention function."""

    def forward(module, query, key, value, mask, scaling=None, **_):
        number, causal = forward.calls, hasattr(module, "o_proj")
        forward.calls += 1
        shared = query.shape[1] // key.shape[1]
        gap = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
        seen = (gap >= 0) | (not causal)
        near = (gap.abs() < 20) | (torch.arange(TOKENS) < 3)
        outs = []
        for h, place in enumerate(PLACES[number]):
            q, k, v = query[:, h], key[:, h // shared], value[:, h // shared]
            option = OPTIONS[place]
            logits = scaling * q @ k.mT
            if option.kind == "tiled":
                out = tiled_attention(
                    q[:, None], k[:, None], v[:, None], is_causal=causal, scale=scaling,
                    tolerance=1.0, layout=TileLayout(super_block=32, window=32, scouts=16),
                )[:, 0]  # fmt: skip
                outs.append(out)
                continue
            if option.kind == "window":
                logits = logits.masked_fill(~near, -torch.inf)
            elif option.kind != "exact":
                far = fitted[number][h][option.name].far
                rest = torch.stack([far.log_weights(*x) for x in zip(q, k, strict=True)])
                logits = torch.where(near, logits, rest.float())
            outs.append(logits.masked_fill(~seen, -torch.inf).softmax(-1) @ v)
        return torch.stack(outs, 2), None

    forward.calls = 0
    return forward


def test_every_head_reads_as_recommended(reader, text):
    fitted = fitted_to(reader, text)
    other = torch.randint(30, (2, TOKENS))
    transformers.AttentionInterface.register("written_out", by_masks(fitted))
    with implementation_of(reader, "written_out"):
        expected = last(reader, other)
    with swapped(reader, recommended(PLACES), fitted):
        found = last(reader, other)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(found, last(reader, other), atol=1e-2)


def test_all_exact_changes_nothing_and_nothing_is_left_behind(reader, text):
    plain, nothing = last(reader, text), [[{}] * 4] * 2
    with swapped(reader, recommended([[0] * 4] * 2), nothing):
        torch.testing.assert_close(last(reader, text), plain, rtol=1e-5, atol=1e-5)
    with pytest.raises(KeyboardInterrupt), swapped(reader, recommended([[0] * 4] * 2), nothing):
        raise KeyboardInterrupt
    assert reader.config._attn_implementation == "sdpa"
    assert not any("aat" in name for m in reader.modules() for name in vars(m))


def test_what_does_not_fit_the_model_is_refused_by_name(reader, text):
    fitted = fitted_to(reader, text)
    whole = recommended(PLACES)
    with pytest.raises(ArgumentError, match=r"fitted: .*rows of \[4, 4\]"):
        swapped(reader, whole, fitted[:1]).__enter__()
    with pytest.raises(ArgumentError, match="recommendation: got 1 layers"):
        swapped(reader, recommended(PLACES[:1]), fitted[:1]).__enter__()
    with pytest.raises(ArgumentError, match=r"fitted\[1\]\[1\]: got .*'splat 4' among"):
        swapped(reader, whole, [fitted[0], [fitted[1][0], {}, *fitted[1][2:]]]).__enter__()
    three = [row[:3] for row in PLACES]
    with (
        pytest.raises(ArgumentError, match="3 heads in layer 0, expected 4"),
        swapped(reader, recommended(three), [row[:3] for row in fitted]),
    ):
        last(reader, text)
    for change in ({"scale": 0.1}, {"is_causal": not hasattr(reader, "lm_head")}):
        wrong = [
            [{n: dataclasses.replace(f, **change) for n, f in own.items()} for own in row]
            for row in fitted
        ]
        with (
            pytest.raises(ArgumentError, match=r"fitted\[0\]\[0\]: got is_causal"),
            swapped(reader, whole, wrong),
        ):
            last(reader, text)


def test_what_would_be_ignored_is_refused(reader, text):
    fitted = fitted_to(reader, text)
    padding = torch.ones_like(text)
    padding[0, :5] = 0
    with swapped(reader, recommended(PLACES), fitted):
        with pytest.raises(UnsupportedError, match="padding"):
            reader(text, attention_mask=padding)
        if hasattr(reader, "lm_head"):
            with torch.no_grad():
                cache = transformers.DynamicCache(config=reader.config)
                reader(text[:, :50], past_key_values=cache, use_cache=True)
                with pytest.raises(UnsupportedError, match="past_key_values: got 3 queries"):
                    reader(text[:, 50:53], past_key_values=cache, use_cache=True)
    reader.train()
    if not hasattr(reader, "lm_head"):
        with (
            swapped(reader, recommended(PLACES), fitted),
            pytest.raises(UnsupportedError, match="dropout"),
        ):
            reader(text)


def disturbed(layer, head, size, generator):
    """Exact attention with noise of this size on the output of one head, written out."""

    def forward(module, query, key, value, mask, scaling=None, **_):
        causal = hasattr(module, "o_proj")
        out = scaled_dot_product_attention(
            query, key, value, is_causal=causal, scale=scaling, enable_gqa=True
        )
        if module.layer_idx == layer:
            out[:, head] += size * torch.randn(out[:, head].shape, generator=generator)
        return out.transpose(1, 2).contiguous(), None

    return forward


def harm_of(model, text, before):
    """KL a token of words, or the squared change of hidden states as a share."""
    after = last(model, text)
    if not hasattr(model, "lm_head"):
        return float(0.5 * (after - before).square().sum() / before.square().sum())
    with torch.no_grad():
        logs = [model.lm_head(x)[0].double().log_softmax(-1) for x in (after, before)]
    return float(kl_div(*logs, reduction="batchmean", log_target=True))


@pytest.mark.parametrize("place", [(0, 1), (1, 2)])
def test_the_metric_foretells_the_harm_of_small_noise(reader, text, place):
    short = text[:, :40]
    found = head_sensitivity(reader, short, draws=60)
    before, size = last(reader, short), 1e-2
    generator = torch.Generator().manual_seed(1)
    transformers.AttentionInterface.register("disturbed", disturbed(*place, size, generator))
    with implementation_of(reader, "disturbed"):
        harms = [harm_of(reader, short, before) for _ in range(60)]
    predicted = 0.5 * size**2 * float(found.metric[place].trace())
    assert predicted == pytest.approx(sum(harms) / len(harms), rel=0.25)
    assert (found.unit == "nats per token") == hasattr(reader, "lm_head")


def test_the_value_of_a_head_is_the_harm_of_an_error_as_large_as_its_output(reader, text):
    found = head_sensitivity(reader, text, draws=1)
    calls = []
    with observed(reader, lambda _, *tensors: calls.append(tensors)):
        last(reader, text)
    causal = hasattr(reader, "lm_head")
    for layer, (query, key, value, scale) in enumerate(calls):
        out = scaled_dot_product_attention(
            query, key, value, is_causal=causal, scale=scale, enable_gqa=True
        )[0].double()
        metric = found.metric[layer]
        size = 0.5 * ((out @ metric) * out).sum(-1).mean(-1)
        torch.testing.assert_close(found.values[layer], size, rtol=1e-4, atol=1e-12)
        torch.testing.assert_close(metric, metric.mT)
        assert float(torch.linalg.eigvalsh(metric).min()) > -1e-8 * float(metric.max())


def test_looking_at_sensitivity_leaves_the_model_as_it_was(reader, text):
    frozen = next(iter(reader.parameters())).requires_grad_(False)
    head_sensitivity(reader, text[:, :20])
    asking = [p.requires_grad for p in reader.parameters()]
    assert asking == [p is not frozen for p in reader.parameters()]
    assert all(p.grad is None for p in reader.parameters())
    assert reader.config._attn_implementation == "sdpa"
    assert not any("aat" in name for m in reader.modules() for name in vars(m))
    again = [head_sensitivity(reader, text[:, :20]).values for _ in range(2)]
    torch.testing.assert_close(*again, rtol=0, atol=0)


def test_one_text_and_a_draw_are_needed(reader, text):
    for name, call in {
        "ids": lambda: head_sensitivity(reader, text.expand(2, -1)),
        "draws": lambda: head_sensitivity(reader, text, draws=0),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.name == name
