"""The benchmark of the tiler: what it checks first, and what it tells."""

import pytest


@pytest.fixture
def benchmark():
    from benchmarks import tiler

    return tiler


def test_everything_is_told(benchmark, capsys):
    results = benchmark.measure(benchmark.Sizes(256, 1, (256, 512, 1024), 1, 512, 512))
    assert set(results) == {"differences", "peak_mib", "share", "growth", "rivals"}
    assert all(difference < 1e-6 for difference in results["differences"].values())
    assert set(results["growth"]["cpu_ms"]) == {"256", "512", "1024"}
    assert "% of sdpa" in capsys.readouterr().out


def test_nothing_is_timed_when_the_tiler_is_wrong(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "plain_value", lambda *_: 0.0)
    monkeypatch.setattr(benchmark, "share", lambda _: pytest.fail("timed"))
    with pytest.raises(SystemExit, match="the tiler is wrong"):
        benchmark.measure(benchmark.Sizes(256, 1, (256, 512), 1, 512, 512))
