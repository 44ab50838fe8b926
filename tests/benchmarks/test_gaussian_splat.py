"""The benchmark of splat attention: what it lists, measures and fits."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import gaussian_splat

    return gaussian_splat


@pytest.fixture
def tiny(benchmark):
    return benchmark.Sizes(
        lengths=(32,),
        forward_only=(64,),
        rounds=(1, {}),
        least_tokens=32,
        warm_until=0,
        check_tokens=96,
        option_tokens=32,
        option_rounds=1,
        pairs_until=32,
        caches=(16, 64),
        memory_tokens=64,
        memory_forms=(benchmark.SDPA,),
        growth=(64, 128, 256),
        sdpa_growth_until=128,
        heads=1,
        growth_heads=1,
    )


def test_the_dispatcher_lists_it():
    listed = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "gaussian_splat" in listed.stdout


def test_a_tiny_run_tells_all_that_it_should(benchmark, tiny, monkeypatch):
    monkeypatch.setattr(benchmark, "in_a_new_process", lambda function, *a: function(*a))
    monkeypatch.setattr(benchmark, "check", lambda _: [])  # the next test is about it
    few = tuple(dataclasses.replace(form, splats=16) for form in benchmark.OPTIONS)
    monkeypatch.setattr(benchmark, "OPTIONS", few)
    results = benchmark.measure(tiny)
    parts = {"lengths", "kinds", "options", "both ways", "step", "memory", "growth"}
    assert results.keys() == parts | {"torch", "threads", "errors"}
    for part in ("lengths", "kinds", "options", "both ways"):
        for row in results[part]:
            assert row.keys() == {
                "form", "tokens", "backward", "cpu_ms", "wall_ms", "sdpa / it"
            }  # fmt: skip
            assert row["cpu_ms"] >= 0
        assert results[part][0]["sdpa / it"] == 1
    assert {(row["tokens"], row["backward"]) for row in results["lengths"]} == {
        (32, False),
        (32, True),
        (64, False),
    }
    assert all(row["sdpa / it"].keys() == {16, 64} for row in results["step"])
    assert results["growth"]["state_constant"]
    assert set(results["growth"]["exponents"]["forward_cpu_ms"]) == {"from 64"}


def test_nothing_is_timed_if_an_answer_is_wrong(benchmark, tiny, monkeypatch):
    right = benchmark.splat_attention

    def wrong(*tensors, **options):
        out = right(*tensors, **options)
        return out * 1.001 if options["implementation"] == "chunked" and options["top_m"] else out

    monkeypatch.setattr(benchmark, "splat_attention", wrong)
    monkeypatch.setattr(benchmark, "interleaved", lambda *_, **__: pytest.fail("was timed"))
    monkeypatch.setattr(benchmark, "OPTIONS", (dataclasses.replace(benchmark.K16, top_m=2),))
    with pytest.raises(SystemExit, match="is wrong"):
        benchmark.measure(tiny)


def test_forms_are_called_in_turn(benchmark):
    calls = []
    runs = [lambda name=name: calls.append(name) for name in "ab"]
    times = benchmark.interleaved(runs, 3, repeats=2, warm=True)
    assert "".join(calls) == "ab" + "aabb" + "bbaa" + "aabb"
    assert [len(own) for own in times] == [3, 3]


def test_the_exponent_is_that_of_the_curve(benchmark):
    lengths = [2**n for n in range(9, 15)]
    assert benchmark.exponent({t: 3.0 * t for t in lengths}) == pytest.approx(1.0)
    assert benchmark.exponent({t: 0.1 * t**2 for t in lengths}) == pytest.approx(2.0)
    bent = {t: float(t) if t >= 2048 else 2048.0 for t in lengths}
    assert benchmark.exponent(bent) < 0.9
    assert benchmark.exponent(bent, 2048) == pytest.approx(1.0)


@pytest.mark.parametrize("number", [0, 2])
def test_the_state_is_as_large_after_4096_tokens_as_after_64(benchmark, number):
    form = benchmark.OPTIONS[number]
    assert benchmark.state_bytes(form, 64, 1) == benchmark.state_bytes(form, 4096, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is only known on Linux")
def test_a_process_of_its_own_finds_more_memory_for_more_tokens(benchmark):
    few, many = benchmark.in_a_new_process(benchmark.peaks, benchmark.K16, (512, 4096), 2)
    assert few is None or few < many
