"""Options of one head: what they read, what they cost and how they are judged."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.evaluation.recommendation import (
    HeadOption,
    default_options,
    fit_and_judge,
    fit_option,
    judge_head,
)
from adaptive_attention_tiling.evaluation.recommendation.calibration import (
    CalibrationPairs,
    calibration_pairs,
    fitted_gain,
)
from adaptive_attention_tiling.evaluation.recommendation.far_kernels import FidelityFar
from adaptive_attention_tiling.evaluation.recommendation.judge import split_rows
from adaptive_attention_tiling.evaluation.recommendation.near import has_far_keys, near_keys

TOKENS = 320
EXACT = HeadOption("exact", "exact")


def window(size, sinks=4):
    return HeadOption(f"window {size}", "window", {"window": size, "sinks": sinks})


def tiled(tolerance, block=64):
    return HeadOption("tiled", "tiled", {"tolerance": tolerance, "block": block})


def splat(count, near=32):
    return HeadOption("splat", "splat", {"splats": count, "window": near, "sinks": 2})


def fidelity(count, near=32):
    return HeadOption("fidelity", "fidelity", {"amplitudes": count, "window": near, "sinks": 2})


@pytest.fixture
def head():
    """Query, key and value of a head that attends far and near alike."""
    torch.manual_seed(0)
    return torch.randn(TOKENS, 8), torch.randn(TOKENS, 8), torch.randn(TOKENS, 6)


def dense(head, is_causal, seen):
    query, key, value = head
    rows, columns = torch.arange(len(query))[:, None], torch.arange(len(key))
    mask = seen(rows, columns) & ((columns <= rows) | (not is_causal))
    q, k, v = (x[None, None] for x in (query, key, value))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)[0, 0], mask


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(
    ("option", "seen"),
    [
        (EXACT, lambda i, j: torch.ones_like(i + j, dtype=torch.bool)),
        (window(1, 0), lambda i, j: i == j),
        (window(40), lambda i, j: ((i - j).abs() < 40) | (j < 4)),
        (window(300), lambda i, j: ((i - j).abs() < 300) | (j < 4)),
    ],
)
def test_exact_and_window_read_these_keys_and_cost_their_share(head, option, seen, is_causal):
    fitted = fit_option(option, *head, is_causal=is_causal)
    expected, mask = dense(head, is_causal, seen)
    torch.testing.assert_close(fitted.read(*head), expected, rtol=1e-4, atol=1e-5)
    rows = torch.tensor([0, 1, 7, 150, 319])
    torch.testing.assert_close(fitted.read(*head, rows), expected[rows], rtol=1e-4, atol=1e-5)
    every = TOKENS * (TOKENS + 1) / 2 if is_causal else TOKENS**2
    assert fitted.cost(TOKENS) == pytest.approx(float(mask.sum()) / every)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(
    ("tokens", "size", "sinks"),
    [(9, 3, 2), (9, 5, 2), (9, 3, 7), (9, 1, 0), (9, 2, 9), (9, 9, 0), (9, 12, 3), (1, 1, 0)],
)
def test_far_keys_are_those_seen_and_not_near(tokens, size, sinks, is_causal):
    rows = columns = torch.arange(tokens)
    near = near_keys(rows, columns, size, sinks, is_causal=is_causal)
    far = ~near & ((columns <= rows[:, None]) | (not is_causal))
    found = has_far_keys(rows, tokens, size, sinks, is_causal=is_causal)
    assert found.tolist() == far.any(1).tolist()


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("option", [splat(12), fidelity(5)])
def test_kernels_read_near_keys_by_softmax_and_far_ones_by_sums_of_products(
    head, option, is_causal
):
    fitted = fit_option(option, *head, is_causal=is_causal)
    query, key, value = head
    rows, columns = torch.arange(TOKENS), torch.arange(TOKENS)
    logits = fitted.logits(rows, columns, query, key).double()
    near = ((rows[:, None] - columns).abs() < 32) | (columns < 2)
    hidden = (columns > rows[:, None]) & is_causal
    exact = (8**-0.5 * query @ key.mT).double()
    near_only, far_only = near & ~hidden, ~near & ~hidden
    torch.testing.assert_close(logits[near_only], exact[near_only], rtol=1e-4, atol=1e-5)
    assert bool((logits[hidden] == -math.inf).all())
    torch.testing.assert_close(
        fitted.read(*head), (logits.softmax(-1) @ value.double()).float(), rtol=1e-4, atol=1e-5
    )
    # Linear time: the weights are a product of as many features as are paid for.
    whole = fitted.far.log_weights(query, key).exp()
    features = 13 if option.kind == "splat" else 15
    gains = whole.amax(1, keepdim=True)
    spectrum = torch.linalg.svdvals(whole / gains)
    assert float(spectrum[features]) < 1e-9 * float(spectrum[0])
    spent = 2 * 13 * (8 + 6 + 1) + 8 if option.kind == "splat" else 80 + 30 + 30 * 7 + 16
    assert fitted.far.multiply_adds(8, 6) == spent
    visible = (TOKENS + 1) / 2 if is_causal else TOKENS
    within = float(near_only.sum()) / TOKENS
    assert fitted.cost(TOKENS) == pytest.approx((within + spent / 14) / visible)
    assert fitted.cost(100 * TOKENS) < fitted.cost(TOKENS) / 30
    assert bool(far_only.any())


@pytest.mark.parametrize("option", [splat(12), fidelity(5)])
def test_the_far_mass_of_a_kernel_is_that_of_softmax(head, option):
    """On average over queries, as far as slopes that are linear in the query can make it."""
    query, key, _ = head
    fitted = fit_option(option, *head)
    rows, columns = torch.arange(64, TOKENS), torch.arange(TOKENS)
    far = (rows[:, None] - columns >= 32) & (columns >= 2)
    exact = (8**-0.5 * query[rows] @ key.mT).masked_fill(~far, -math.inf).logsumexp(-1)
    found = fitted.logits(rows, columns, query, key).masked_fill(~far, -math.inf).logsumexp(-1)
    assert abs(float((found - exact).mean())) < 0.05
    assert float((found - exact).square().mean()) < 0.5 * float(exact.var())


def test_kernels_come_near_to_heads_that_are_like_them():
    """Weights (1 + x / 2)^2 of a logit of rank 2, nearly those of softmax when x is small."""
    torch.manual_seed(0)
    query, key, value = torch.randn(TOKENS, 8), torch.randn(TOKENS, 8), torch.randn(TOKENS, 6)
    query[:, 2:] *= 0.01
    plain = judge_head(query, key, value, scale=0.2, options=[window(32, 2), fidelity(3)])
    assert plain[1].error < 0.2 * plain[0].error


@pytest.mark.parametrize("is_causal", [True, False])
def test_tiled_is_the_operation_and_costs_what_its_report_says(head, is_causal):
    fitted = fit_option(tiled(0.3), *head, is_causal=is_causal)
    from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention

    out, report = tiled_attention(
        *(x[None, None] for x in head),
        is_causal=is_causal,
        tolerance=0.3,
        layout=TileLayout(super_block=64, window=64, scouts=32),
        return_report=True,
    )
    torch.testing.assert_close(fitted.read(*head), out[0, 0])
    rows = float(report.rows_per_query.mean())  # whole super-blocks
    visible = (TOKENS + 1) / 2 if is_causal else TOKENS
    assert fitted.cost(TOKENS) == pytest.approx(rows / visible)
    with pytest.raises(UnsupportedError, match="no weights"):
        fitted.logits(torch.arange(2), torch.arange(2), *head[:2])


def test_rows_of_a_part_of_a_super_block_count_as_often_as_they_are_asked(head):
    tokens = 300  # the last of five super-blocks has 44
    from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention

    part = [x[:tokens] for x in head]
    _, report = tiled_attention(
        *(x[None, None] for x in part),
        is_causal=True,
        tolerance=0.3,
        layout=TileLayout(super_block=64, window=64, scouts=32),
        return_report=True,
    )
    rows = float((report.rows_per_query[0, 0] * torch.tensor([64, 64, 64, 64, 44])).sum()) / tokens
    assert fit_option(tiled(0.3), *part).cost(tokens) == pytest.approx(rows / ((tokens + 1) / 2))


def test_tiles_are_judged_on_the_held_out_queries(head):
    drawn = torch.Generator().manual_seed(0)
    held_out, _ = split_rows(TOKENS, 40, drawn)
    exact = fit_option(EXACT, *head).read(*head, held_out)
    miss = fit_option(tiled(0.5), *head).read(*head, held_out) - exact
    trial = judge_head(*head, options=[tiled(0.5)], rows=40)[0]
    assert trial.error == pytest.approx(float(miss.norm() / exact.norm()), rel=1e-4)


@pytest.mark.parametrize("is_causal", [True, False])
def test_calibration_pairs_have_the_logits_of_all_keys_that_are_seen(head, is_causal):
    query, key, _ = head
    pairs = calibration_pairs(
        query, key, rows=torch.arange(TOKENS), samples=TOKENS, window=32, sinks=2,
        is_causal=is_causal, scale=0.3, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    rows = torch.arange(34, TOKENS) if is_causal else torch.arange(TOKENS)
    columns = torch.arange(TOKENS)
    seen = (columns <= rows[:, None]) | (not is_causal)
    near = ((rows[:, None] - columns).abs() < 32) | (columns < 2)
    assert torch.equal(pairs.query, query[rows].double())
    assert torch.equal(pairs.logits.isfinite(), seen)
    torch.testing.assert_close(
        pairs.logits[seen], (0.3 * query[rows].double() @ key.double().mT)[seen]
    )
    assert torch.equal(pairs.far, seen & ~near)


def test_gains_are_fitted_to_queries_whose_far_share_they_can_change():
    torch.manual_seed(0)
    query = torch.randn(400, 3).double()
    far = torch.tensor([[True, False]]).expand(400, -1)
    wanted = query @ torch.tensor([1.0, -2.0, 0.5]).double() + 0.7
    # Half of the queries read far keys alone: their gain says nothing, whatever it is.
    deaf = torch.arange(400) >= 200
    logits = torch.stack([torch.where(deaf, 40.0, wanted), torch.where(deaf, 0.0, wanted)], 1)
    pairs = CalibrationPairs(query, query[:2], far, logits)
    gain = fitted_gain(pairs, torch.zeros(400, 2).double())
    heard = query[~deaf] @ gain[:-1] + gain[-1]
    assert float((heard - wanted[~deaf]).std()) < 0.15 * float(wanted.std())


def test_states_that_are_orthogonal_weigh_their_background():
    reading = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).double()
    writing = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]).double()
    none = torch.zeros(3).double()
    far = FidelityFar(reading, writing, none[:2], none, background=0.01)
    # x = (1, 0), y = (0, 2): only b |x|^2 |y|^2 is left.
    assert float(far.log_weights(none[None, :2], none[None, :2]).exp()) == pytest.approx(0.04)


def test_what_tiles_cost_elsewhere_follows_from_the_share_of_far_rows(head):
    fitted = fit_option(tiled(0.3), *head)
    tokens = 640
    near = sum(
        i + 1 - max(0, i // 64 - 1) * 64 + min(4, max(0, i // 64 - 1) * 64) for i in range(tokens)
    )
    far = tokens * (tokens + 1) / 2 - near
    expected = (near + fitted.far_read * far) / (tokens * (tokens + 1) / 2)
    assert fitted.cost(tokens) == pytest.approx(expected)
    assert fit_option(tiled(0.3), *(x[:100] for x in head)).cost(100) == pytest.approx(1)


def test_error_is_of_held_out_queries_in_the_metric_asked_for(head):
    exact, _ = dense(head, True, lambda i, j: torch.ones_like(i + j, dtype=torch.bool))
    near, _ = dense(head, True, lambda i, j: ((i - j) < 40) | (j < 4))
    root = torch.randn(6, 6)
    for metric, turn in ((None, torch.eye(6)), (root @ root.mT, root)):
        trial = judge_head(*head, options=[window(40)], rows=TOKENS // 2, metric=metric)[0]
        miss, whole = ((near - exact) @ turn, exact @ turn)
        # Half of the queries are held out, so only nearly the error over all.
        assert trial.error == pytest.approx(float(miss.norm() / whole.norm()), rel=0.15)
    first, second = (judge_head(*head, options=[splat(8), window(40)]) for _ in range(2))
    assert first == second
    assert judge_head(*head)[0] == judge_head(*head, options=[EXACT])[0]
    assert judge_head(*head)[0].error < 1e-6
    assert [t.option for t in judge_head(*head)] == list(default_options(TOKENS))


def test_no_fit_sees_a_query_that_it_is_judged_on(head, monkeypatch):
    from adaptive_attention_tiling.evaluation.recommendation import judge

    seen = []

    def spy(option, *tensors, rows=None, **settings):
        seen.append((option.kind, rows))
        return fit_option(option, *tensors, rows=rows, **settings)

    monkeypatch.setattr(judge, "fit_option", spy)
    found = judge_head(*head, options=[splat(8), fidelity(4)], rows=50)
    query, key, value = head
    for (_, rest), trial in zip(seen[1:], found, strict=True):
        held_out = sorted(set(range(TOKENS)) - set(rest.tolist()))
        assert len(held_out) == 50
        assert all(a <= i < b for i, a, b in zip(held_out, *stretches(50), strict=True))
        changed = query.clone()
        changed[held_out] += 1
        pairs = [f for t, f in fit_and_judge(changed, key, value, options=[trial.option], rows=50)]
        before = [f for t, f in fit_and_judge(*head, options=[trial.option], rows=50)]
        torch.testing.assert_close(pairs[0].far.gain, before[0].far.gain, rtol=0, atol=0)


def stretches(count):
    ends = [n * TOKENS // count for n in range(count + 1)]
    return ends[:-1], ends[1:]


@pytest.mark.parametrize("tokens", [1, 2, 3, 40, 140])
@pytest.mark.parametrize("is_causal", [True, False])
def test_short_texts_are_judged_too(tokens, is_causal):
    head = torch.randn(tokens, 4), torch.randn(tokens, 4), torch.randn(tokens, 3)
    options = [*default_options(tokens), window(64), splat(5, 24), fidelity(9, 24), tiled(0.3)]
    for trial in judge_head(*head, options=options, is_causal=is_causal):
        assert math.isfinite(trial.error)
        assert math.isfinite(trial.cost)
        assert trial.error < 2


def test_half_precision_is_read_in_single(head):
    half = [x.bfloat16() for x in head]
    for option in (window(40), fidelity(5)):
        fitted = fit_option(option, *half)
        out = fitted.read(*half)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out, fitted.read(*(x.float() for x in half)).bfloat16())


def test_options_grow_with_the_text():
    names = {n: [o.name for o in default_options(n)] for n in (1, 65, 100, 200, 2048, 4096)}
    assert names[1] == names[65] == ["exact"]
    assert names[100] == ["exact", "window 64"]
    assert names[200][1:] == [
        "window 64", "tiled 0.1", "tiled 0.3", "tiled 1", "splat 32", "fidelity 8",
    ]  # fmt: skip
    assert names[2048][1:4] == ["window 64", "window 256", "window 1024"]
    blocks = [default_options(n)[-3]["block"] for n in (2048, 4096, 16384)]
    assert blocks == [64, 128, 256]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("", "exact"), "name"),
        (("x", "magic"), "kind"),
        (("x", "exact", {"window": 3}), "parameters"),
        (("x", "window", {"window": 3}), "parameters"),
        (("x", "window", {"window": 0, "sinks": 4}), "window"),
        (("x", "window", {"window": 2.5, "sinks": 4}), "window"),
        (("x", "window", {"window": True, "sinks": 4}), "window"),
        (("x", "tiled", {"tolerance": -0.1, "block": 64}), "tolerance"),
        (("x", "tiled", {"tolerance": math.nan, "block": 64}), "tolerance"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, name):
    with pytest.raises(ArgumentError) as caught:
        HeadOption(*arguments)
    assert caught.value.name == name


def test_heads_that_make_no_sense_are_refused(head):
    query, key, value = head
    for name, call in {
        "value": lambda: judge_head(query, key, value[:-1]),
        "query": lambda: fit_option(EXACT, query[None], key, value),
        "rows": lambda: judge_head(*head, rows=0),
        "tokens": lambda: default_options(0),
    }.items():
        with pytest.raises(ArgumentError) as caught:
            call()
        assert caught.value.name == name
    assert hash(window(3)) == hash(window(3))
