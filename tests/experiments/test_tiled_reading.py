"""The emulator of far-field reading computes what it says, and counts what is read."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.tiled_attention import tiled_attention

ROOT = Path(__file__).parents[2]
TOKENS = 1024


@pytest.fixture
def far_field(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import far_field

    return far_field


@pytest.fixture
def far_tree(far_field):
    import far_tree

    return far_tree


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    shapes = (2, TOKENS, 16), (1, TOKENS, 16), (1, TOKENS, 16)
    query, key, value = (torch.randn(shape) for shape in shapes)
    return query, key, value


def exact(query, key, value):
    return scaled_dot_product_attention(
        query[None], key[None], value[None], is_causal=True, scale=1.0, enable_gqa=True
    )[0]


RULES = {
    "tiles": {"sizes": (8,)},
    "groups and tiles": {"sizes": (32, 8), "unit": "value"},
    "runs": {"sizes": (16,), "order": "contiguous", "decide": "mass"},
    "greedy": {"sizes": (16,), "order": "greedy", "decide": "mass"},
    "bound": {"sizes": (16,), "order": "contiguous", "decide": "bound", "rest": "drop"},
    "second order": {"sizes": (64, 16), "rest": "second", "rank": 2},
    "tail": {"sizes": (32, 8), "decide": "tail"},
    "oracle": {"sizes": (32, 8), "decide": "oracle"},
    "shared": {"sizes": (32, 8), "shared": 64},
}


@pytest.mark.parametrize("name", RULES)
def test_with_every_set_opened_it_is_exact_attention(far_field, tensors, name):
    everything = 1e9 if name == "bound" else -1.0
    tally = far_field.Tally()
    rule = far_field.Rule(**RULES[name], bar=everything)
    out = far_field.attend(*tensors, rule, tally)
    torch.testing.assert_close(out, exact(*tensors), rtol=1e-5, atol=2e-6)
    # Sinks stand in tiles too (at weight 0), so they are counted twice.
    shares = tally.shares()
    assert shares["near"] + shares["tokens"] == pytest.approx(1, abs=5e-3)
    assert shares["summaries"] == 0


@pytest.mark.parametrize("name", [n for n in RULES if n != "bound"])
def test_a_lower_bar_reads_more_and_errs_less(far_field, tensors, name):
    full, rule = exact(*tensors), far_field.Rule(**RULES[name])
    errors, reads = [], []
    for bar in (1.0, 0.2, 0.04) if name == "shared" else (3e-2, 3e-3, 3e-4):
        tally = far_field.Tally()
        out = far_field.attend(*tensors, dataclasses.replace(rule, bar=bar), tally)
        errors.append(float((out - full).norm()))
        reads.append(tally.tokens)
    assert errors[0] > errors[1] > errors[2]
    assert reads[0] < reads[1] < reads[2]


@pytest.fixture
def planned(far_field, far_tree, monkeypatch):
    """`attend` with the tiles and the resolution of a report instead of its own."""

    def attend(query, key, value, report):
        def order(points, leaf):
            cells = report.tiles[0].unflatten(1, (-1, 256 // 8)).flatten(2)
            return (cells % 256).flatten(0, 1)[: len(points)]

        def opened(read, number, level, share, variance):
            resolution = report.resolution[0, :, read.far + 1, :: 1 if number else 4]
            resolution = resolution[:, : share.shape[-1]]
            wanted = resolution > 1 / 8 if number else resolution > 1 / 32
            rows = wanted.to(share).repeat_interleave(256, 0)
            return rows.view(len(read.rows), -1, share.shape[-1])

        monkeypatch.setattr(far_tree, "bisect", order)
        monkeypatch.setattr(far_field.FarRead, "_opened", opened)
        tally = far_field.Tally()
        return far_field.attend(query, key, value, far_field.Rule(sizes=(32, 8)), tally), tally

    return attend


@pytest.mark.parametrize("budget", [0.0, 0.3])
def test_with_the_plan_of_tiled_attention_it_is_tiled_attention(planned, tensors, budget):
    query, key, value = tensors
    out, report = tiled_attention(
        *(x[None] for x in tensors),
        is_causal=True,
        scale=1.0,
        enable_gqa=True,
        budget=budget,
        implementation="eager",
        return_report=True,
    )
    emulated, _ = planned(query, key, value, report)
    torch.testing.assert_close(emulated, out[0], rtol=1e-5, atol=2e-6)
    assert not torch.allclose(emulated, exact(*tensors), atol=1e-4)


def test_second_order_summaries_err_less_on_gaussian_sets(far_field, tensors):
    query, key, value = tensors
    full, closed = exact(*tensors), {"sizes": (64,), "bar": 1e9}
    errors = [
        float((far_field.attend(query, key, value, rule, far_field.Tally()) - full).norm())
        for rule in (
            far_field.Rule(**closed),
            far_field.Rule(**closed, rest="second", rank=1),
            far_field.Rule(**closed, rest="second", rank=2),
        )
    ]
    assert errors[0] > errors[1] > errors[2]


def test_growth_is_that_of_a_gaussian_but_within_what_the_extent_allows(far_field):
    variance, most = torch.tensor([0.01, 4.0, 4.0]), torch.tensor([0.3, 100.0, 0.1])
    growth = far_field.guarded_growth(variance, most)
    assert float(growth[0]) == pytest.approx(0.005)
    assert float(growth[1]) == pytest.approx(2.0)
    assert float(growth[2]) == pytest.approx(math.log1p(400 * (math.exp(0.1) - 1.1)), abs=1e-4)


def test_greedy_runs_are_cut_where_directions_change(far_tree):
    key = torch.zeros(1, 256, 2)
    key[0, :100, 0], key[0, 100:, 1] = 1.0, 1.0
    runs = far_tree.greedy_runs(key, 128)
    assert runs[0, 99] == 0
    assert runs[0, 100] == 1


def test_a_read_is_the_sum_over_its_sets(far_field, monkeypatch):
    query, key, value = (torch.randn(1, 768, 16) for _ in range(3))
    chosen = {}

    def opened(read, number, level, share, variance):
        return chosen.setdefault(number, torch.randint(0, 2, share.shape).to(share))

    monkeypatch.setattr(far_field.FarRead, "_opened", opened)
    rule, tally = far_field.Rule(sizes=(64, 16), order="contiguous"), far_field.Tally()
    out = far_field.attend(query, key, value, rule, tally)
    for row in range(0, 256, 17):
        whole = query[0, 512 + row]
        sets = [[j] for j in (0, 1, 2, 3, *range(256, 513 + row))]
        for start in range(0, 256, 16):
            if not chosen[0][0, row, start // 64]:
                sets += [list(range(max(4, start), start + 64))] if start % 64 == 0 else []
            elif chosen[1][0, row, start // 16]:
                sets += [[j] for j in range(max(4, start), start + 16)]
            else:
                sets.append(list(range(max(4, start), start + 16)))
        logits = torch.stack([whole @ key[0, s].mean(0) + math.log(len(s)) for s in sets])
        means = torch.stack([value[0, s].mean(0) for s in sets])
        torch.testing.assert_close(
            out[0, 512 + row], logits.softmax(0) @ means, rtol=1e-4, atol=1e-5
        )


def test_a_second_order_summary_moves_its_value_with_its_keys(far_field):
    query, far = 0.3 * torch.randn(1, TOKENS, 8), torch.randn(1, TOKENS, 1)
    key, value = far * torch.randn(8), far * torch.randn(8)
    full, closed = exact(query, key, value), {"sizes": (64,), "bar": 1e9}
    first, second = (
        float((far_field.attend(query, key, value, rule, far_field.Tally()) - full).norm())
        for rule in (
            far_field.Rule(**closed, order="contiguous"),
            far_field.Rule(**closed, order="contiguous", rest="second", rank=1),
        )
    )
    assert second < first / 4
