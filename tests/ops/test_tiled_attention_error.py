"""How far tiled attention is from exact, against what it says about it."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention
from adaptive_attention_tiling.testing import assert_close, assert_monotone

TOLERANCES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0)
directions = pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])


def relative_error(out, truth, value, *, is_causal):
    """||out - truth|| over the largest value norm in view, [B, H, T]."""
    norm = value.double().norm(dim=-1)
    largest = norm.cummax(-1).values if is_causal else norm.amax(-1, keepdim=True)
    largest = largest.repeat_interleave(out.shape[1] // value.shape[1], 1)
    return (out.double() - truth.double()).norm(dim=-1) / largest


def errors(inputs, dense_truth, layout, *, is_causal, **control):
    rules = {"is_causal": is_causal, "enable_gqa": True, "layout": layout, "return_report": True}
    out, report = tiled_attention(*inputs, **rules, **control)
    truth = dense_truth(*(x.double() for x in inputs), is_causal=is_causal)
    return relative_error(out, truth, inputs[2], is_causal=is_causal), report


@directions
@pytest.mark.parametrize("certified", [False, True], ids=["estimated", "certified"])
def test_error_never_grows_when_the_tolerance_shrinks(
    certified, is_causal, clustered, dense_truth, tiny
):
    means, highest, read = [], [], []
    for tolerance in TOLERANCES:
        error, report = errors(
            clustered(160),
            dense_truth,
            tiny,
            is_causal=is_causal,
            tolerance=tolerance,
            certified=certified,
        )
        means.append(error.mean())
        # One query may lose when the error of two tiles stops cancelling, unless it is certified.
        highest.append(error.max() if certified else error.quantile(0.99))
        read.append(report.fraction_read)
    assert_monotone(means, decreasing=True, slack=1e-14, what="mean error")
    assert_monotone(highest, decreasing=True, slack=1e-14, what="highest error")
    assert_monotone(read, what="fraction read")
    assert means[-1] < 1e-12 < 1e-4 < means[0]
    assert read[0] < 0.8 < read[-1]


@directions
@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.3])
def test_estimated_error_holds_for_nearly_all_queries(
    tolerance, is_causal, clustered, draw, dense_truth, tiny
):
    reads = []
    for inputs in (clustered(160), clustered(160, noise=0.3, seed=1), draw(160)):
        error, report = errors(inputs, dense_truth, tiny, is_causal=is_causal, tolerance=tolerance)
        assert (error <= tolerance).double().mean() >= 0.99
        assert report.error_bound.max() <= tolerance * (1 + 1e-12)
        reads.append(report.fraction_read)
    assert reads[0] < 0.9


def test_clusters_are_read_through_few_means(clustered, dense_truth, tiny):
    """What tiles in key space are for: less is read than in order of time, for less error."""
    inputs = clustered(192, noise=0.05)
    found = {}
    for order in ("key_space", "contiguous"):
        layout = replace(tiny, order=order)
        found[order] = errors(inputs, dense_truth, layout, is_causal=True, tolerance=0.1)
    assert found["key_space"][1].fraction_read < 0.7 * found["contiguous"][1].fraction_read
    for order in found:
        layout = replace(tiny, order=order)
        found[order] = errors(inputs, dense_truth, layout, is_causal=True, resolution=0.25)
    assert found["key_space"][0].mean() < 0.7 * found["contiguous"][0].mean()


def hard_inputs(seed, length, kind, size, dtype):
    source = torch.Generator().manual_seed(seed)
    query, key, value = (
        torch.randn(1, h, length, 4, generator=source, dtype=torch.float64) for h in (2, 1, 1)
    )
    if kind == "clustered":
        centre = torch.randn(3, 4, generator=source, dtype=torch.float64)
        key = 0.2 * key + centre[torch.arange(length) % 3]
    if kind == "heavy-tailed":
        key, query = (x.sign() * x.abs() ** 3 for x in (key, query))
    if kind == "one outlier":
        key[:, :, length // 5] *= 30
        value[:, :, length // 5] *= 30
    return (query * size).to(dtype), key.to(dtype), value.to(dtype)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 90),
    kind=st.sampled_from(["random", "clustered", "heavy-tailed", "one outlier"]),
    size=st.sampled_from([1e-6, 0.1, 1.0, 10.0, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    tolerance=st.sampled_from([0.01, 0.2, 1.0, 5.0]),
    is_causal=st.booleans(),
)
def test_no_query_is_above_its_certificate(
    seed, length, kind, size, dtype, tolerance, is_causal, dense_truth, tiny
):
    inputs = hard_inputs(seed, length, kind, size, dtype)
    error, report = errors(
        inputs,
        dense_truth,
        tiny,
        is_causal=is_causal,
        tolerance=tolerance,
        certified=True,
    )
    assert report.certified
    assert bool((report.error_bound >= 0).all())
    eps = torch.finfo(dtype).eps
    assert report.error_bound.max() <= tolerance * (1 + 100 * eps)
    # A logit as large as x is only known to x * eps, in exact attention too.
    largest = (inputs[0].double().norm(dim=-1).max() * inputs[1].double().norm(dim=-1).max()).item()
    rounding = 20 * eps * (1 + largest / 2)
    assert bool((error <= report.error_bound + rounding).all())


@directions
def test_a_certificate_is_met_under_padding(is_causal, clustered, padding, dense_truth, tiny):
    inputs, mask = clustered(90), padding(90, left=7)
    rules = {"is_causal": is_causal, "key_padding_mask": mask}
    out, report = tiled_attention(
        *inputs,
        **rules,
        tolerance=0.6,
        certified=True,
        enable_gqa=True,
        layout=tiny,
        return_report=True,
    )
    query, key, value = inputs
    error = (out - dense_truth(query, key, value, **rules)).norm(dim=-1)
    norm = value.norm(dim=-1) * mask[:, None]
    largest = norm.cummax(-1).values if is_causal else norm.amax(-1, keepdim=True)
    limit = largest.clamp_min(1e-30).repeat_interleave(2, 1)
    assert bool((error / limit <= report.error_bound + 1e-12).all())
    assert 0 < report.error_bound.max() <= 0.6
    assert report.fraction_read < 0.99


@pytest.mark.parametrize("lift", [20, 40, 50, 60, 80, 86, 87, 88, 100, 1000])
@pytest.mark.parametrize(
    "control", [{"tolerance": 0.1}, {"tolerance": 0.5, "certified": True}, {"budget": 0.1}], ids=str
)
def test_far_logits_high_above_near_ones_do_not_overflow(control, lift, dense_truth, tiny):
    """Scouts do not see the tokens 4..11; the queries of the last block see little else."""
    query, key = torch.randn(2, 1, 1, 64, 8).mul(0.1).unbind()
    value = 100 * torch.randn(1, 1, 64, 8)
    query[..., 0], key[..., 0] = 1.0, 0.0
    key[:, :, 4:12, 0] = lift
    query[:, :, :48, 0] = 0.0
    out, report = tiled_attention(
        query, key, value, is_causal=True, scale=1.0, layout=tiny, return_report=True, **control
    )
    assert bool(torch.isfinite(out).all())
    assert bool(torch.isfinite(report.error_bound).all())
    truth = dense_truth(query.double(), key.double(), value.double(), is_causal=True, scale=1.0)
    error = relative_error(out, truth, value, is_causal=True)
    if control.get("certified"):
        assert bool((error <= report.error_bound + 1e-6 * lift).all())
    if "tolerance" in control:
        assert report.error_bound.max() <= control["tolerance"] * (1 + 1e-5)


def spread_errors(*, equal_values):
    """Errors and estimates of one far tile of 8 whose keys lie h from their mean, h halving."""
    layout = TileLayout(
        super_block=8, tile=8, group=1, window=0, sinks=0, scouts=8, order="contiguous"
    )
    base, offset = torch.randn(2, 1, 1, 8, 4, dtype=torch.float64).unbind()
    offset = offset - offset.mean(2, keepdim=True)
    query, value = torch.randn(2, 1, 1, 16, 4, dtype=torch.float64).unbind()
    if equal_values:
        value[:, :, :8] = value[:, :, :1].clone()
    own = torch.randn(1, 1, 8, 4, dtype=torch.float64)
    found = []
    for h in (0.04, 0.02, 0.01, 0.005):
        key = torch.cat([base.mean(2, keepdim=True) + h * offset, own], 2)
        settings = {"is_causal": True, "scale": 1.0, "layout": layout}
        out = tiled_attention(query, key, value, resolution=0.125, **settings)
        exact = tiled_attention(query, key, value, resolution=1.0, **settings)
        bounds = []
        for certified in (False, True):
            control = {"tolerance": 1e3, "certified": certified}
            _, report = tiled_attention(
                query, key, value, return_report=True, **settings, **control
            )
            bounds.append(report.error_bound[0, 0, 8:].mean().item())
        found.append(((out - exact)[0, 0, 8:].norm(dim=-1).mean().item(), *bounds))
    return torch.tensor(found, dtype=torch.float64)


def slope(series):
    """Mean exponent of h, from halving to halving."""
    return sum(math.log2(a / b) for a, b in pairwise(series.tolist())) / (len(series) - 1)


@pytest.mark.parametrize(("equal_values", "order"), [(False, 1), (True, 2)])
def test_order_of_the_error_in_the_spread_of_the_keys(equal_values, order):
    """The error is sum m mean[(exp x - 1)(v - o)], x of size h and mean 0.

    Where v varies with x its first term is mean[x v], of order h; where all values of the tile are
    equal only mean[exp x - 1] ~ h^2 / 2 is left.
    """
    error, estimate, certificate = spread_errors(equal_values=equal_values).T
    assert slope(error) == pytest.approx(order, abs=0.2)
    # Neither knows the values, so both must allow for the first order.
    assert slope(estimate) == pytest.approx(1, abs=0.2)
    assert slope(certificate) == pytest.approx(1, abs=0.2)


@directions
@pytest.mark.parametrize(
    "control", [{"tolerance": 0.3}, {"budget": 0.2}, {"resolution": 0.25}], ids=str
)
def test_weights_sum_to_one_and_do_not_depend_on_the_values(control, is_causal, clustered, tiny):
    query, key, value = clustered(83)
    other = torch.randn_like(value)

    def attend(value):
        settings = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny}
        return tiled_attention(query, key, value, **settings, **control)

    assert_close(attend(torch.ones_like(value)), torch.ones_like(query), row="special_case")
    assert_close(attend(3 * value - other), 3 * attend(value) - attend(other))


@pytest.mark.parametrize("control", [{"tolerance": 0.1}, {"budget": 0.2}], ids=str)
def test_scale_belongs_to_the_query(control, clustered, tiny):
    query, key, value = clustered(83)
    settings = {"is_causal": True, "enable_gqa": True, "layout": tiny, **control}
    assert_close(
        tiled_attention(query, key, value, scale=0.7, **settings),
        tiled_attention(0.7 * query, key, value, scale=1.0, **settings),
    )
    assert_close(
        tiled_attention(query, key, value, **settings),
        tiled_attention(query, key, value, scale=8**-0.5, **settings),
    )


@directions
@pytest.mark.parametrize("control", [{"tolerance": 0.1}, {"budget": 0.2}], ids=str)
def test_sequences_and_heads_may_change_places(control, is_causal, clustered, padding, tiny):
    """Nothing is shared between sequences, nor between groups of heads."""
    query, key, value = clustered(83)
    mask = padding(83, left=4)
    rules = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny, **control}
    out = tiled_attention(query, key, value, key_padding_mask=mask, **rules)
    flipped = (x.flip(0, 1) for x in (query, key, value))
    moved = tiled_attention(*flipped, key_padding_mask=mask.flip(0), **rules)
    assert_close(moved.flip(0, 1), out)
    for b in range(2):
        alone = (x[b : b + 1] for x in (query, key, value))
        assert_close(
            tiled_attention(*alone, key_padding_mask=mask[b : b + 1], **rules), out[b : b + 1]
        )


def test_tokens_may_change_places_inside_a_tile(draw, tiny):
    layout = replace(tiny, order="contiguous", sinks=0)
    query, key, value = draw(20, S=64)
    within = torch.stack([torch.randperm(4) + 4 * m for m in range(16)]).flatten()
    settings = {"enable_gqa": True, "layout": layout, "tolerance": 0.3}
    assert_close(
        tiled_attention(query, key[:, :, within], value[:, :, within], **settings),
        tiled_attention(query, key, value, **settings),
    )


@directions
@pytest.mark.parametrize("sides", [{"left": 9}, {"right": 9}, {"left": 5, "right": 8}], ids=str)
@pytest.mark.parametrize(
    "control",
    [{"tolerance": 0.1}, {"tolerance": 0.6, "certified": True}, {"budget": 0.2}],
    ids=str,
)
def test_what_stands_in_padding_is_not_read(control, sides, is_causal, clustered, padding, tiny):
    query, key, value = clustered(83)
    mask = padding(83, **sides)
    rules = {"is_causal": is_causal, "enable_gqa": True, "key_padding_mask": mask, "layout": tiny}
    out = tiled_attention(query, key, value, **rules, **control)
    pads = ~mask[:, None, :, None]
    loud = (torch.where(pads, 1e6 * torch.randn_like(x), x) for x in (key, value))
    changed = tiled_attention(query, *loud, **rules, **control)
    assert_close(changed * ~pads, out * ~pads)


def test_a_query_that_sees_nothing_gets_zeros(draw, padding, tiny):
    inputs = draw(40)
    mask = padding(40, left=20)  # the second sequence has no token at all
    for control in ({"tolerance": 0.1}, {"budget": 0.2}, {"resolution": 1.0}, {"tolerance": 0}):
        rules = {"enable_gqa": True, "key_padding_mask": mask, "layout": tiny, **control}
        causal = tiled_attention(*inputs, is_causal=True, **rules)
        assert not causal[0, :, :20].any()
        assert bool(causal[0, :, 20:].any(-1).all())
        assert not causal[1].any()
        both = tiled_attention(*inputs, **rules)
        assert bool(both[0].any(-1).all())
        assert not both[1].any()
