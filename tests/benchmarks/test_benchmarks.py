"""Each benchmark on tiny inputs: what it lists, what it refuses, what it tells."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_call(monkeypatch):
    from benchmarks import measure

    monkeypatch.setattr(measure, "LEAST_SECONDS", 0)


@pytest.fixture
def tiny():
    from benchmarks.gaussian_splat import Sizes

    return Sizes(lengths=(32, 64), counts=(8,), rounds={32: 1, 64: 1}, other_tokens=32, heads=1)


def rows_of(cases):
    from benchmarks.measure import run_cases

    return run_cases(cases)["rows"]


def test_splats_are_timed_by_length_and_pass(tiny, capsys):
    from benchmarks import gaussian_splat

    lengths = [
        gaussian_splat.by_length(tiny, tokens, backward=backward)
        for tokens in tiny.lengths
        for backward in (False, True)
    ]
    rows = rows_of(lengths)
    assert {row["case"] for row in rows} == {
        "32 tokens, forward",
        "32 tokens, forward + backward",
        "64 tokens, forward",
        "64 tokens, forward + backward",
    }
    timed = {row["contender"] for row in rows if "absent" not in row}
    assert {"sdpa", "splats K=8, chunked"} <= timed
    assert all(row["error"] < 1e-4 for row in rows if "absent" not in row)
    assert "sdpa / it" in capsys.readouterr().out


def test_options_are_compared_with_all_pairs(tiny):
    from benchmarks.contender import Contender, admitted

    from benchmarks import gaussian_splat

    for backward in (False, True):
        for case in gaussian_splat.others(tiny, backward=backward):
            for contender in case.contenders:
                if isinstance(contender, Contender) and "1024" not in contender.name:
                    admitted(contender)


def test_a_wrong_kernel_is_not_timed(tiny, monkeypatch):
    from adaptive_attention_tiling.errors import CorrectnessError
    from benchmarks import attentions, gaussian_splat, measure

    right = attentions.splat_attention
    monkeypatch.setattr(
        attentions,
        "splat_attention",
        lambda *tensors, **options: right(*tensors, **options) * 1.001,
    )
    monkeypatch.setattr(measure, "interleaved", lambda *_, **__: pytest.fail("was timed"))
    with pytest.raises(CorrectnessError, match=r"splats K=8, chunked is wrong"):
        rows_of([gaussian_splat.by_length(tiny, 32, backward=False)])


def test_a_wrong_gradient_is_not_timed(tiny, monkeypatch):
    from adaptive_attention_tiling.errors import CorrectnessError
    from benchmarks import attentions, gaussian_splat

    right = attentions.splat_attention

    def wrong(query, key, value, *rest, **options):
        return right(query, key.detach() + 0.999 * (key - key.detach()), value, *rest, **options)

    monkeypatch.setattr(attentions, "splat_attention", wrong)
    with pytest.raises(CorrectnessError, match="splats"):
        rows_of([gaussian_splat.by_length(tiny, 32, backward=True)])
    assert rows_of([gaussian_splat.by_length(tiny, 32, backward=False)])


def test_one_more_token_after_a_state_and_over_caches():
    from benchmarks import splat_step

    rows = rows_of([splat_step.case((4,), (16, 64), 1, heads=1)])
    timed = [row["contender"] for row in rows if "absent" not in row]
    assert timed[:2] == ["sdpa, 16 keys kept", "sdpa, 64 keys kept"]
    assert {"splats K=4, chunked", "linear, elu + 1, chunked"} <= set(timed)


def test_the_other_operations():
    from benchmarks import (
        core_operations,
        fidelity_attention,
        instruction_sets,
        linear_attention,
        selective_scan,
        softmax_attention,
        tiled_exact,
    )

    for cases, expected in (
        (linear_attention.cases({32: 1}, heads=1), "cumulative sums in torch"),
        (fidelity_attention.cases(4, {32: 1}, heads=1), "fidelity m=4, parallel"),
        (selective_scan.cases({16: 1}, inner=4), "scan, reference"),
        (softmax_attention.cases({80: 1}, heads=1), "ranged, eager"),
        (tiled_exact.cases({32: 1}, backward_until=32, heads=1), "tiled, R=1, eager"),
        (core_operations.cases({"small": 16}, 1, heads=1), "splats, one token"),
        (instruction_sets.cases(32, 1, heads=1), "splats K=64, native baseline"),
    ):
        assert expected in {row["contender"] for row in rows_of(cases)}


def test_memory_of_a_training_pass(monkeypatch):
    from benchmarks import memory_use

    rows = memory_use.measured("linear, chunked", (64, 128), 1, heads=1)
    assert [row["tokens"] for row in rows] == [64, 128]
    # Output and three gradients of 64 numbers of 4 bytes for each token.
    assert rows[1]["results_mib"] == pytest.approx(4 * 64 * 4 * 128 / 2**20, abs=0.01)


def test_errors_of_tiles_are_means_over_queries():
    from benchmarks.tiled_text import mean_error

    answer, truth = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    answer[..., 0, :] = torch.tensor([3.0, 4.0])
    assert mean_error(10.0, [answer], [truth]) == pytest.approx(0.25)
