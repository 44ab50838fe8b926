"""Settings at which tiled attention is another, known operation."""

from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import tiled_attention
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

LENGTHS = (1, 2, 15, 16, 17, 31, 33, 47, 83)
directions = pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
READS_ALL = [
    {"resolution": 1.0},
    {"tolerance": 0},
    {"tolerance": 1e-30},
    {"tolerance": 1e-30, "certified": True},
    {"budget": 1},
]


def masks(padding, T):
    return {
        "none": None,
        "left": padding(T, left=T // 5),
        "right": padding(T, right=T // 5),
        "both": padding(T, left=T // 6, right=T // 7),
        "one sequence is all padding": torch.tensor([[True], [False]]).expand(2, T),
    }


def assert_exact(actual, expected):
    assert_close(actual, expected, row="special_case")


# The report makes a call go through tiles that it would else leave to torch.
@directions
@pytest.mark.parametrize("settings", READS_ALL, ids=str)
def test_equals_dense_attention_at_any_length(settings, is_causal, draw, dense_truth, tiny):
    for T in LENGTHS if settings in ({"resolution": 1.0}, {"tolerance": 1e-30}) else (1, 83):
        inputs = draw(T, B=1)
        rules = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny, **settings}
        out, report = tiled_attention(*inputs, **rules, return_report=True)
        assert_exact(out, dense_truth(*inputs, is_causal=is_causal))
        assert_exact(tiled_attention(*inputs, **rules), out)
        assert not report.error_bound.any()
        if "tolerance" not in settings:  # a tile of one token is its own mean: nothing to open
            assert report.fraction_read == 1.0


@directions
@pytest.mark.parametrize("pads", ["left", "right", "both", "one sequence is all padding"])
def test_equals_dense_attention_with_padding(pads, is_causal, draw, padding, dense_truth, tiny):
    T = 67
    inputs, mask = draw(T), masks(padding, T)[pads]
    rules = {"is_causal": is_causal, "key_padding_mask": mask}
    expected = dense_truth(*inputs, **rules)
    for settings in READS_ALL:
        full = {**rules, **settings, "enable_gqa": True, "layout": tiny}
        assert_exact(tiled_attention(*inputs, **full, return_report=True)[0], expected)
        assert_exact(tiled_attention(*inputs, **full), expected)


@directions
@pytest.mark.parametrize("settings", READS_ALL, ids=str)
def test_equals_dense_attention_in_float32(settings, is_causal, draw, padding, dense_truth, tiny):
    inputs, mask = draw(83, dtype=torch.float32), padding(83, left=3)
    rules = {"is_causal": is_causal, "key_padding_mask": mask}
    out, _ = tiled_attention(
        *inputs, **rules, **settings, enable_gqa=True, layout=tiny, return_report=True
    )
    assert_exact(out, dense_truth(*inputs, **rules))


@pytest.mark.parametrize(("T", "S"), [(1, 40), (5, 83), (40, 17), (33, 1)])
def test_cross_attention_equals_dense(T, S, draw, padding, dense_truth, tiny):
    inputs, mask = draw(T, S=S, E=5), padding(S, right=S // 5)
    expected = dense_truth(*inputs, key_padding_mask=mask)
    for settings in READS_ALL:
        out, _ = tiled_attention(
            *inputs,
            key_padding_mask=mask,
            enable_gqa=True,
            layout=tiny,
            return_report=True,
            **settings,
        )
        assert_exact(out, expected)


@pytest.mark.parametrize("settings", [{}, {"budget": 0.0}, {"resolution": 0.0}], ids=str)
@pytest.mark.parametrize(("T", "is_causal"), [(1, True), (1, False), (32, True), (32, False)])
def test_without_a_far_field_everything_is_exact(settings, T, is_causal, draw, dense_truth, tiny):
    inputs = draw(T)
    out, report = tiled_attention(
        *inputs, is_causal=is_causal, enable_gqa=True, layout=tiny, return_report=True, **settings
    )
    assert_exact(out, dense_truth(*inputs, is_causal=is_causal))
    assert report.fraction_read == 1.0
    assert not report.error_bound.any()
    assert bool(report.read_by_block.isnan().all())


def allowed_by(report, layout, T, S, mask, *, is_causal, sinks):
    """[B, H, T, S]: near field, sinks and the tokens of the tiles that were read exactly."""
    B, H = report.resolution.shape[:2]
    row, column = torch.arange(T) // layout.super_block, torch.arange(S) // layout.super_block
    near = (row[:, None] - column).abs() <= layout.neighbours
    if T != S:
        near = torch.zeros_like(near)
    allowed = near.expand(B, H, T, S).clone()
    real = torch.ones(B, S, dtype=torch.bool) if mask is None else mask
    first = real & (real.cumsum(-1) <= sinks)
    allowed |= first[:, None, None]
    G = report.tiles.shape[1]
    for b in range(B):
        for h in range(H):
            for i in range(T):
                for m in (report.resolution[b, h, row[i]] == 1.0).nonzero().flatten().tolist():
                    at = report.tiles[b, h * G // H, m]
                    allowed[b, h, i, at[at < S]] = True
    return allowed


@directions
@pytest.mark.parametrize(
    ("pads", "order"),
    [
        ("none", "key_space"),
        ("none", "contiguous"),
        ("left", "key_space"),
        ("both", "key_space"),
        ("one sequence is all padding", "contiguous"),
    ],
)
def test_a_binary_resolution_is_a_mask(pads, order, is_causal, draw, padding, dense_truth, tiny):
    T, blocks = 83, 6
    cut = blocks - 2 if is_causal else blocks  # the last two are far from no query
    layout = replace(tiny, order=order)
    inputs, mask = draw(T), masks(padding, T)[pads]
    asked = torch.randint(2, (2, 4, blocks, cut * layout.tiles_per_block)).double()
    rules = {"is_causal": is_causal, "key_padding_mask": mask}
    out, report = tiled_attention(
        *inputs, **rules, resolution=asked, enable_gqa=True, layout=layout, return_report=True
    )
    allowed = allowed_by(report, layout, T, T, mask, is_causal=is_causal, sinks=layout.sinks)
    assert_exact(out, dense_truth(*inputs, **rules, allowed=allowed))
    assert 0.2 < report.fraction_read < 0.8
    given = report.resolution
    assert_bit_equal(given[~given.isnan()], asked[~given.isnan()])


def test_a_binary_resolution_is_a_mask_in_cross_attention(draw, dense_truth, tiny):
    T, S = 20, 70
    inputs = draw(T, S=S)
    asked = torch.randint(2, (2, 4, 2, 5 * tiny.tiles_per_block)).double()
    out, report = tiled_attention(
        *inputs, resolution=asked, enable_gqa=True, layout=tiny, return_report=True
    )
    allowed = allowed_by(report, tiny, T, S, None, is_causal=False, sinks=tiny.sinks)
    assert_exact(out, dense_truth(*inputs, allowed=allowed))


@directions
@pytest.mark.parametrize("window", [0, 16, 17, 48])
def test_dropping_every_tile_leaves_window_and_sinks(window, is_causal, draw, dense_truth, tiny):
    T = 83
    layout = replace(tiny, window=window)
    inputs = draw(T)
    block = torch.arange(T) // 16
    allowed = (block[:, None] - block).abs() <= -(-window // 16)
    allowed = allowed | (torch.arange(T) < layout.sinks)
    out = tiled_attention(
        *inputs, is_causal=is_causal, resolution=0.0, enable_gqa=True, layout=layout
    )
    assert_exact(out, dense_truth(*inputs, is_causal=is_causal, allowed=allowed))


@directions
@pytest.mark.parametrize("control", [{"tolerance": 0.3}, {"budget": 0.25}], ids=str)
def test_dropping_by_error_or_budget_is_a_mask(control, is_causal, clustered, dense_truth, tiny):
    """With rest="drop" a call is masked attention, whatever chose the tiles."""
    T = 83
    layout = replace(tiny, rest="drop")
    inputs = clustered(T)
    out, report = tiled_attention(
        *inputs, is_causal=is_causal, enable_gqa=True, layout=layout, return_report=True, **control
    )
    allowed = allowed_by(report, layout, T, T, None, is_causal=is_causal, sinks=layout.sinks)
    assert_exact(out, dense_truth(*inputs, is_causal=is_causal, allowed=allowed))
    assert 0 < report.fraction_read < 1


@directions
def test_gradients_are_those_of_dense_attention(is_causal, draw, padding, dense_truth, tiny):
    mask = padding(49, left=3)
    results = []
    for form in ("tiled", "fast", "dense"):
        inputs = [x.requires_grad_() for x in draw(49)]
        rules = {"is_causal": is_causal, "key_padding_mask": mask}
        if form == "dense":
            out = dense_truth(*inputs, **rules)
        else:
            full = {"enable_gqa": True, "layout": tiny, "resolution": 1.0}
            out = tiled_attention(*inputs, **rules, **full, return_report=form == "tiled")
            out = out[0] if form == "tiled" else out
        (out * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        results.append([x.grad for x in inputs])
    for actual in results[:2]:
        for name, a, e in zip("qkv", actual, results[2], strict=True):
            assert_close(a, e, row="special_case", gradient=True, what=f"gradient of {name}")
