"""The benchmark of the tiler: what it checks first, and what it tells."""

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import tiler

    return tiler


def test_everything_is_told(benchmark, capsys):
    threads = torch.get_num_threads()
    try:
        sizes = benchmark.Sizes(512, 1, (256, 512, 1024), 1, 512, 512)
        results = benchmark.measure(sizes)
    finally:
        torch.set_num_threads(threads)
    assert set(results) == {
        "torch", "threads", "differences", "peak_mib", "share", "growth", "rivals",
    }  # fmt: skip
    assert all(difference < 1e-6 for difference in results["differences"].values())
    assert set(results["growth"]["cpu_ms"]) == {"256", "512", "1024"}
    assert "% of sdpa" in capsys.readouterr().out


def test_nothing_is_timed_when_the_tiler_is_wrong(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "plain_value", lambda *_: 0.0)
    monkeypatch.setattr(benchmark, "share", lambda _: pytest.fail("timed"))
    with pytest.raises(SystemExit, match="the tiler is wrong"):
        benchmark.measure(benchmark.Sizes(512, 1, (256, 512), 1, 512, 256))
