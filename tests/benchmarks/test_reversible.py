"""The benchmark of reversible stacks: equal gradients first, then memory that stays."""


def test_memory_stays_and_gradients_agree(monkeypatch, capsys):
    from benchmarks import measure, reversible

    monkeypatch.setattr(measure, "LEAST_SECONDS", 0)
    monkeypatch.setattr(reversible, "TOKENS", 16)
    rows = reversible.run(measure.Options(quick=True))["rows"]
    kept = {(row["inputs"]["depth"], row["contender"]): row["kept_mib"] for row in rows}
    assert kept[2, "reversible"] == kept[4, "reversible"]
    assert kept[4, reversible.PLAIN] > 1.5 * kept[2, reversible.PLAIN] > kept[2, "reversible"]
    assert all(row["error"] < 1e-5 for row in rows)
    assert "kept: " in capsys.readouterr().out
