"""The experiment on recommended heads: what it deals, keeps and sums up."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.evaluation.recommendation import (
    HeadOption,
    OptionTrial,
    harm_of,
    recommend,
)

ROOT = Path(__file__).parents[2]
OPTIONS = (
    HeadOption("exact", "exact"),
    HeadOption("window 64", "window", {"window": 64, "sinks": 4}),
    HeadOption("window 256", "window", {"window": 256, "sinks": 4}),
)


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import head_recommendation

    return head_recommendation


@pytest.fixture
def dealer(experiment):
    """Two layers of three heads, of which later ones are harmed more."""
    found = object.__new__(experiment.Dealer)
    found.trials = [
        [
            [OptionTrial(o, c, e * (1 + 3 * n + h)) for o, c, e in zip(OPTIONS, *ROWS, strict=True)]
            for h in range(3)
        ]
        for n in range(2)
    ]
    places = [(n, h) for n in range(2) for h in range(3)]
    found.reader = SimpleNamespace(options=OPTIONS, places=places)
    found.sensitivity = SimpleNamespace(values=torch.ones(2, 3))
    return found


ROWS = (1.0, 0.1, 0.4), (0.0, 0.2, 0.1)


def test_rivals_deal_the_same_options_to_other_heads(dealer):
    best = dealer.recommended(0.5)
    flat = [n for row in best.indices for n in row]
    assert len(set(flat)) > 1
    rivals = dealer.rivals(best)
    assert set(rivals) == {"cheapest first", "cheapest last", "random 0", "random 1", "random 2"}
    for plan in rivals.values():
        assert sorted(n for row in plan.indices for n in row) == sorted(flat)
        assert plan.cost == pytest.approx(best.cost)
        assert plan.harm >= best.harm
        for own, row in zip(dealer.trials, plan.choices, strict=True):
            for trials, choice in zip(own, row, strict=True):
                assert choice.harm == pytest.approx(harm_of(trials[choice.option], 1.0))
    costs = [c.cost for row in rivals["cheapest first"].choices for c in row]
    assert costs == sorted(costs)
    back = [c.cost for row in rivals["cheapest last"].choices for c in row]
    assert back == sorted(costs, reverse=True)
    assert rivals["random 0"].indices != rivals["random 1"].indices
    assert dealer.for_all("window 256").indices == [[2] * 3] * 2


def test_one_head_is_swapped_and_all_others_stay_exact(experiment):
    reader = SimpleNamespace(options=OPTIONS, heads=[(torch.zeros(3, 1),)] * 2)
    assert experiment.exact_but(reader, 1, 2, 1).indices == [[0, 0, 0], [0, 0, 1]]


def test_sums_compare_plans_on_the_same_texts(experiment):
    def row(loss):
        return {"cost": 0.2, "predicted_harm": 0.3, "loss_added": loss, "kl": 0.1}

    rows = {
        "judging and fitting": {"cpu_s": 3.0},
        "0.25: recommended: a": row(0.1),
        "0.25: random 0: a": row(0.4),
        "all: window 64: a": row(0.5),
        "0.25: recommended: b": row(0.3),
    }
    found = experiment.summary(rows)
    assert found["0.25: recommended"]["loss_added"] == pytest.approx(0.2)
    assert found["0.25: recommended"]["texts"] == 2
    assert found["0.25: random 0"]["over_recommended"] == pytest.approx(4)
    assert set(found) == {"0.25: recommended", "0.25: random 0", "all: window 64"}
    assert "over_recommended" not in found["all: window 64"]


def test_ranks_are_compared_over_all_swaps(experiment):
    def row(*swaps):
        found = [
            {"loss_added": a, "kl": b, "predicted": {"error": c, "other": -c}} for a, b, c in swaps
        ]
        return {"layer": 0, "head": 0, "swaps": found}

    found = experiment.correlations([row((1.0, 3.0, 0.1), (2.0, 2.0, 0.2)), row((3.0, 1.0, 0.3))])
    assert found["error"] == pytest.approx({"loss_added": 1, "kl": -1})
    assert found["other"] == pytest.approx({"loss_added": -1, "kl": 1})


def test_work_is_kept_and_shared(experiment, tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": torch.ones(2)}

    one = experiment.Work(str(tmp_path / "work"), "0/2")
    assert [one.mine(n) for n in range(3)] == [True, False, True]
    for _ in range(2):
        torch.testing.assert_close(one.kept("a b", make)["x"], torch.ones(2))
    other = experiment.Work(str(tmp_path / "work"), "1/2")
    other.kept("a b", make, mine=False)
    assert len(made) == 1
    free = experiment.Work(None, "0/1")
    free.kept("a b", make)
    free.kept("a b", make)
    assert len(made) == 3


def test_what_is_measured_is_loss_and_divergence(experiment):
    torch.manual_seed(0)
    words = torch.nn.Linear(4, 7, bias=False)
    model = SimpleNamespace(get_output_embeddings=lambda: words)
    ids, exact, other = torch.randint(7, (1, 9)), torch.randn(9, 4), torch.randn(9, 4)
    speech = experiment.Speech(ids, (), exact, 0.0)
    found = experiment.measured(model, speech, other)
    with torch.no_grad():
        logs, before = (words(x[:8]).log_softmax(-1) for x in (other, exact))
    loss = -logs.gather(1, ids[0, 1:, None]).mean()
    assert found["loss"] == pytest.approx(float(loss), rel=1e-5)
    kept = slice(None, None, experiment.EVERY)
    divergence = (before.exp() * (before - logs)).sum(-1)[kept].mean()
    assert found["kl"] == pytest.approx(float(divergence), rel=1e-4)
    assert experiment.measured(model, speech, exact)["kl"] == 0


def test_a_model_starts_at_a_later_layer_for_a_while(experiment):
    base = SimpleNamespace(layers=torch.nn.ModuleList([torch.nn.Identity() for _ in range(3)]))
    model = SimpleNamespace(base_model=base)
    whole = base.layers
    with experiment.layers_from(model, 2):
        assert len(base.layers) == 1
        assert base.layers[0] is whole[2]
    assert base.layers is whole


def test_trials_of_the_dealer_are_what_recommend_takes(dealer):
    best = recommend(dealer.trials, dealer.sensitivity.values.tolist(), 0.5)
    assert best.indices == dealer.recommended(0.5).indices


def test_the_recommendation_diverges_least_of_all_deals():
    found = json.loads((ROOT / "experiments/results/head_recommendation.json").read_text())
    summary = found["summary"]
    for budget in ("0.5", "0.25", "0.125"):
        plans = {name: own for name, own in summary.items() if name.startswith(f"{budget}: ")}
        assert len(plans) == 6
        assert all(own["texts"] == 2 for own in plans.values())
        assert min(plans, key=lambda name: plans[name]["kl"]) == f"{budget}: recommended"
