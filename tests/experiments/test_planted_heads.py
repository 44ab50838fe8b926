"""The experiment plants what it says, and its results keep what they claim."""

import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import planted_heads

    return planted_heads


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROOT / "experiments/results/planted_heads.json").read_text())["rows"]


def test_structures_are_added_to_the_same_noise(planted):
    noise = planted.logits_of(80, 1.5, 3)
    for name in ("period", "pattern", "sink"):
        logits = noise.clone()
        what = planted.STRUCTURES[name].plant(logits, 3, 2.0)
        change = logits - noise
        assert set(change.round(decimals=9).unique().tolist()) == {0.0, 2.0}
        offsets = planted.offsets(80)[change != 0].unique()
        if name == "sink":
            assert (change > 1).all(0).nonzero().tolist() == [[what]]
            assert int((change > 1).sum()) == 80
            assert what < 40
        elif name == "period":
            assert offsets.tolist() == [o for o in range(-79, 80) if o % what == 3]
        else:
            assert offsets.tolist() == [1, 7, 14]


def test_groups_and_bridges(planted):
    logits = torch.zeros(80, 80).double()
    names = planted.plant_community(logits, 5, 1.0)
    assert names.bincount().tolist() == [40, 40]
    assert torch.equal(logits > 0, names[:, None] == names)
    logits.zero_()
    i, j = planted.plant_bridge(logits, 5, 1.0)
    assert names[i] != names[j]
    assert i < j
    assert (logits > 2).nonzero().tolist() == [[i, j], [j, i]]


def test_noise_of_planted_and_null_heads_differs(planted):
    first, null = (planted.logits_of(60, 1.5, seed) for seed in (0, planted.NULL_SEED))
    assert not torch.equal(first, null)
    place = torch.arange(60)
    distance = (place[:, None] - place).abs().double()
    rest = first + planted.DECAY * distance.log1p()
    assert float(rest.std()) == pytest.approx(1.5, rel=0.05)


def test_clear_structures_are_found_and_right(planted):
    for name in planted.STRUCTURES:
        structure = planted.STRUCTURES[name]
        logits = planted.logits_of(structure.tokens, structure.noise, 1)
        null = structure.judge(logits.clone(), None)
        what = structure.plant(logits, 1, 12.0)
        verdict = structure.judge(logits, what)
        assert verdict.found
        assert verdict.right
        assert not null.found


def test_wilson_s_interval(planted):
    # Newcombe (1998), table I: 81 of 263.
    found = planted.share([True] * 81 + [False] * 182)
    assert found["low"] == pytest.approx(0.2553, abs=5e-4)
    assert found["high"] == pytest.approx(0.3662, abs=5e-4)
    assert planted.share([False] * 9)["low"] == 0


@pytest.mark.parametrize("name", ["period", "pattern", "sink", "community", "bridge"])
def test_the_strongest_are_found_and_false_alarms_are_rare(rows, planted, name):
    mine = [row for row in rows if row["structure"] == name]
    assert [row["strength"] for row in mine] == [*planted.STRUCTURES[name].strengths, 0.0]
    assert all(row["heads"] >= 100 for row in mine)
    assert mine[-2]["found"]["share"] >= 0.95
    assert mine[-1]["false_alarms"]["low"] <= 0.025
    assert mine[-1]["false_alarms"]["share"] <= 0.05
    found = [row["found"]["share"] for row in mine[:-1]]
    assert found == sorted(found)


def test_parted_groups_are_no_bridge(rows, planted):
    assert [name for name, s in planted.STRUCTURES.items() if s.surroundings] == ["bridge"]
    alarms = [r["false_alarms"]["share"] for r in rows if r["structure"] == "bridge"]
    assert len(alarms) == 4
    assert max(alarms[1:]) <= 0.05  # in the weakest groups noise makes true bridges
