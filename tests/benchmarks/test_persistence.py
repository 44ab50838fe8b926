"""The benchmark of persistent homology: what it compares first, and what it tells."""

import pytest
import torch

pytest.importorskip("gudhi", reason="gudhi, of the topology extra, is not installed")


@pytest.fixture
def benchmark(monkeypatch):
    from benchmarks import measure, persistence

    monkeypatch.setattr(measure, "LEAST_SECONDS", 0)
    monkeypatch.setattr(persistence, "installed", lambda name: name != "ripser")
    return persistence


def test_all_ways_are_timed_on_one_graph(benchmark, capsys):
    results = benchmark.measure({32: 1, 64: 1}, {12: 1})
    rows = results["rows"]
    sparse = {
        f"{nodes} nodes, {kind}, H_0 to H_{dimension}"
        for nodes in (32, 64)
        for kind in ("points", "attention")
        for dimension in (1, 2)
    }
    dense = {"12 nodes, all pairs of points, H_0 to H_1"}
    assert {row["case"] for row in rows} == sparse | dense
    assert {row["contender"] for row in rows if "absent" not in row} == {
        "native",
        "gudhi, through ours",
        "gudhi alone",
    }
    assert all(row["error"] == 0 for row in rows if "absent" not in row)
    assert len(results["growth"]) == 4 * 3
    assert "points, H_0 to H_1: native" in results["growth"]
    assert "as n to the power" in capsys.readouterr().out


def test_a_wrong_diagram_is_not_timed(benchmark, monkeypatch):
    from adaptive_attention_tiling.errors import CorrectnessError

    def one_less(*arguments, **options):
        return benchmark_persistence(*arguments, **options)[:1] * 2

    benchmark_persistence = benchmark.persistence
    monkeypatch.setattr(benchmark, "persistence", one_less)
    with pytest.raises(CorrectnessError, match="native is wrong"):
        benchmark.measure({32: 1}, {})


def test_distance_of_diagrams_sees_each_number(benchmark):
    pairs = torch.tensor([[0.0, 1.0], [0.0, torch.inf]])
    assert benchmark.farthest([pairs], [pairs.flip(0)]) == 0
    assert benchmark.farthest([pairs], [pairs + torch.tensor([0.0, 0.5])]) == 0.5
    assert benchmark.farthest([pairs], [pairs[:1]]) == torch.inf
    assert benchmark.farthest([pairs], [torch.tensor([[0.0, 1.0], [0.0, 2.0]])]) == torch.inf
