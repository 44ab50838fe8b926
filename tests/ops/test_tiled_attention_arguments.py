"""What a call refuses, and how it says so: the name, what came, what was expected, the fix."""

import math

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.backends.native import runnable_sets
from adaptive_attention_tiling.errors import AATError, ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import (
    TiledAttentionConfig,
    TiledState,
    TileLayout,
    explain,
    tiled_attention,
)

NAN, INF = math.nan, math.inf


def refused(kind, name, *words, call=tiled_attention, args=None, **settings):
    inputs = (torch.zeros(2, 4, 8, 4),) * 3 if args is None else args
    with pytest.raises(kind) as caught:
        call(*inputs, **settings)
    text = str(caught.value)
    assert isinstance(caught.value, AATError)
    assert text.startswith(f"{name}: got "), text
    assert "Fix: " in text
    for word in words:
        assert word in text, (word, text)


def shaped(q=(2, 4, 8, 4), k=(2, 4, 8, 4), v=(2, 4, 8, 4)):
    return torch.zeros(q), torch.zeros(k), torch.zeros(v)


@pytest.mark.parametrize(
    ("shapes", "name", "words"),
    [
        ({"q": (4, 8, 4)}, "query", ["[4, 8, 4]", "[B, H, T, D]", "batch axis"]),
        ({"k": (8, 4)}, "key", ["[8, 4]", "[B, H, T, D]"]),
        ({"v": (1, 2, 4, 8, 4)}, "value", ["[1, 2, 4, 8, 4]"]),
        ({"k": (2, 4, 8, 5)}, "key", ["[2, 4, 8, 5]", "head width 4"]),
        ({"k": (3, 4, 8, 4), "v": (3, 4, 8, 4)}, "key", ["[3, 4, 8, 4]", "batch 2"]),
        ({"v": (2, 4, 7, 4)}, "value", ["[2, 4, 7, 4]", "[2, 4, 8]"]),
        ({"v": (2, 2, 8, 4)}, "value", ["[2, 2, 8, 4]", "[2, 4, 8]"]),
        ({"k": (2, 3, 8, 4), "v": (2, 3, 8, 4)}, "key", ["3 heads", "divisor of the 4"]),
        ({"k": (2, 0, 8, 4), "v": (2, 0, 8, 4)}, "key", ["0 heads", "divisor of the 4"]),
    ],
)
def test_shapes(shapes, name, words):
    refused(ArgumentError, name, *words, args=shaped(**shapes), enable_gqa=True)


def test_shared_heads_must_be_meant():
    args = shaped(k=(2, 2, 8, 4), v=(2, 2, 8, 4))
    refused(ArgumentError, "enable_gqa", "False", "4 query and 2 key", "enable_gqa=True", args=args)


def test_dtypes():
    q, k, v = shaped()
    refused(ArgumentError, "key", "torch.float64", "torch.float32", args=(q, k.double(), v))
    refused(ArgumentError, "value", "torch.float16", "torch.float32", args=(q, k, v.half()))
    refused(ArgumentError, "query", "torch.int64", "floating", args=(q.long(), k, v))


@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_certificate_needs_finite_inputs(name, bad):
    inputs = {x: torch.zeros(1, 1, 8, 4) for x in ("query", "key", "value")}
    inputs[name][0, 0, 3, 1] = bad
    words = ["1 NaN or infinite", "of 32", "finite"]
    refused(ArgumentError, name, *words, args=tuple(inputs.values()), certified=True)


@pytest.mark.parametrize("bad", [-1, -1e-9, NAN, INF, True, "0.1"], ids=str)
@pytest.mark.parametrize("name", ["tolerance", "budget", "resolution"])
def test_numbers_out_of_range(name, bad):
    expected = {"tolerance": ">= 0", "budget": "[0, 1]", "resolution": "[0, 1]"}[name]
    refused(ArgumentError, name, str(bad), expected, **{name: bad})
    if name != "resolution":
        refused(ArgumentError, name, str(bad), call=TiledAttentionConfig, args=(), **{name: bad})


@pytest.mark.parametrize("name", ["budget", "resolution"])
def test_fractions_above_one(name):
    refused(ArgumentError, name, "1.01", "[0, 1]", **{name: 1.01})


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"tolerance": 0.1, "budget": 0.5}, "tolerance and budget"),
        ({"tolerance": 0.0, "budget": 0.0}, "tolerance and budget"),
        ({"budget": 0.5, "resolution": 0.25}, "budget and resolution"),
        ({"tolerance": 0.1, "resolution": torch.ones(1)}, "tolerance and resolution"),
    ],
    ids=str,
)
def test_two_controls(settings, name):
    refused(ArgumentError, name, "at most one", **settings)


@pytest.mark.parametrize("other", [{"budget": 0.5}, {"resolution": 1.0}], ids=str)
def test_certified_needs_a_tolerance(other):
    refused(ArgumentError, "certified", "True", "tolerance", certified=True, **other)


def test_certified_needs_means():
    layout = TileLayout(rest="drop")
    refused(UnsupportedError, "certified", "'drop'", "'mean'", certified=True, layout=layout)


@pytest.mark.parametrize("entry", [-0.01, 1.01, NAN])
def test_resolution_entries(entry):
    asked = torch.full((2, 4, 1, 32), 0.5)
    asked[1, 2, 0, 3] = entry
    refused(ArgumentError, "resolution", "[0, 1]", resolution=asked)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 2, 32), (2, 4, 1, 31), (1, 2, 4, 1, 32)])
def test_resolution_must_broadcast(shape):
    words = [str(list(shape)), "[2, 4, 1, 32]"]
    refused(ArgumentError, "resolution", *words, resolution=torch.ones(shape))


@pytest.mark.parametrize("shape", [(), (1,), (32,), (4, 1, 1), (2, 1, 1, 32)])
def test_resolutions_that_broadcast(shape):
    tiled_attention(*shaped(), resolution=torch.ones(shape), return_report=True)


def test_a_reported_resolution_can_be_asked_for(draw, tiny):
    """The error says: read the shape off TiledAttentionReport.resolution."""
    for is_causal in (False, True):
        settings = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny}
        inputs = draw(83)
        _, report = tiled_attention(*inputs, budget=0.3, return_report=True, **settings)
        asked = report.resolution.nan_to_num(0.0)
        out, again = tiled_attention(*inputs, resolution=asked, return_report=True, **settings)
        assert torch.equal(again.resolution.nan_to_num(-1), report.resolution.nan_to_num(-1))
        assert torch.equal(out, tiled_attention(*inputs, budget=0.3, **settings))


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(2, 8),
        torch.ones(2, 8, dtype=torch.long),
        torch.ones(2, 7, dtype=torch.bool),
        torch.ones(8, dtype=torch.bool),
        torch.ones(2, 1, 1, 8, dtype=torch.bool),
    ],
    ids=lambda mask: f"{mask.dtype}-{list(mask.shape)}",
)
def test_masks(mask):
    words = [str(mask.dtype), str(list(mask.shape)), "torch.bool [2, 8]"]
    refused(ArgumentError, "key_padding_mask", *words, key_padding_mask=mask)


def test_causal_needs_a_query_for_each_key():
    args = shaped(k=(2, 4, 9, 4), v=(2, 4, 9, 4))
    refused(UnsupportedError, "is_causal", "8 queries and 9 keys", args=args, is_causal=True)


@pytest.mark.parametrize("name", ["flash", "", "Eager"])
def test_unknown_implementation(name):
    refused(ArgumentError, "implementation", repr(name), "eager", "reference", implementation=name)
    with pytest.raises(ArgumentError, match="implementation"):
        explain(torch.zeros(1, 1, 1, 1), implementation=name)


def test_explain_tells_the_choice_and_the_reason(monkeypatch):
    query = torch.zeros(1, 1, 1, 1)
    for kernels in runnable_sets():
        monkeypatch.setenv("AAT_NATIVE", kernels)
        assert explain(query).implementation == "native"
        assert kernels in explain(query).reason
        assert str(explain(query, implementation="native")) == "native: pinned by the caller"
    monkeypatch.setenv("AAT_NATIVE", "off")
    assert explain(query).implementation == "eager"
    assert "AAT_NATIVE=off" in explain(query).reason
    refused(
        UnsupportedError, "implementation", "'native'", "AAT_NATIVE=off", implementation="native"
    )
    assert "gradients" in explain(query.requires_grad_()).reason
    assert "gradients" not in explain(query.detach()).reason
    for name in ("eager", "reference"):
        assert str(explain(query, implementation=name)) == f"{name}: pinned by the caller"


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"super_block": 0}, "super_block", ["0", ">= 1"]),
        ({"tile": 0}, "tile", ["0", ">= 1"]),
        ({"tile": 8.0}, "tile", ["8.0", "integer"]),
        ({"group": True}, "group", ["True", "integer"]),
        ({"window": -1}, "window", ["-1", ">= 0"]),
        ({"sinks": -4}, "sinks", ["-4", ">= 0"]),
        ({"scouts": 0}, "scouts", ["0", ">= 1"]),
        ({"tile": 7}, "tile", ["7", "256"]),
        ({"super_block": 24, "tile": 8, "group": 1}, "tile", ["8", "24"]),
        ({"super_block": 8, "tile": 16}, "tile", ["16", "8"]),
        ({"group": 3}, "group", ["3", "32"]),
        ({"group": 64}, "group", ["64", "32"]),
        ({"heights": 0}, "heights", ["0", "1"]),
        ({"order": "random"}, "order", ["'random'", "key_space"]),
        ({"rest": "zero"}, "rest", ["'zero'", "drop"]),
    ],
    ids=str,
)
def test_layouts(settings, name, words):
    refused(ArgumentError, name, *words, call=TileLayout, args=(), **settings)


def test_layout_counts():
    layout = TileLayout(super_block=16, tile=4, group=2, window=17)
    assert (layout.neighbours, layout.tiles_per_block) == (2, 4)
    assert TileLayout(super_block=16, tile=4, group=2, window=0).neighbours == 0


def test_errors_are_also_the_builtin_kind():
    with pytest.raises(ValueError, match="budget"):
        tiled_attention(*shaped(), budget=np.nan)
    with pytest.raises(NotImplementedError, match="is_causal"):
        tiled_attention(*shaped(q=(2, 4, 7, 4)), is_causal=True)


def test_a_state_refuses_another_mask_for_answered_tokens(draw, tiny):
    query, key, value = draw(20)
    state = TiledState(tiny, TiledAttentionConfig(layout=tiny).control())
    state.append(key, value)
    state.attend(query)
    mask = torch.ones(2, 20, dtype=torch.bool)
    state.see(mask)
    mask[0, 3] = False
    refused(ArgumentError, "key_padding_mask", "another mask", call=state.see, args=(mask,))


def test_nothing_in_nothing_out(tiny):
    for shape in ((0, 2, 40, 8), (1, 2, 0, 8)):
        for is_causal in (True, False):
            empty = torch.zeros(shape)
            out = tiled_attention(empty, empty, empty, is_causal=is_causal, layout=tiny)
            assert out.shape == shape
    query, key = torch.ones(1, 2, 20, 8), torch.ones(1, 2, 0, 8)
    assert not tiled_attention(query, key, key, layout=tiny).any()
