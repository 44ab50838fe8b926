"""The ablation of quantum geometric attention is fair, and reads its curves as it says."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from adaptive_attention_tiling.layers import (
    FidelityAttention,
    FidelityAttentionConfig,
    QuantumGeometricAttentionConfig,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ablation(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import quantum_geometric

    return quantum_geometric


@pytest.mark.parametrize("name", ["recall", "language"])
def test_arms_have_as_many_parameters_and_amplitudes_as_plain(ablation, name):
    exercise = ablation.EXERCISES[name]
    plain = ablation.count(exercise.model("plain"))
    for arm, settings in ablation.ARMS.items():
        assert ablation.count(exercise.model(arm)) == pytest.approx(plain, rel=0.01), arm
        if settings is not None:
            mixer = exercise.model(arm).blocks[0].mixer
            x = torch.randn(1, 5, exercise.width)
            assert mixer.prepare_attention_state(x).query.shape[-1] == exercise.amplitudes, arm


def test_plain_is_fidelity_attention(ablation):
    exercise = ablation.EXERCISES["recall"]
    mixer = exercise.model("plain").blocks[0].mixer
    config = FidelityAttentionConfig(
        projection=mixer.config.projection, state_width=exercise.amplitudes
    )
    twin = FidelityAttention(config)
    twin.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 40, exercise.width)
    torch.testing.assert_close(mixer(x), twin(x))


def test_arms_differ_from_plain_in_their_own_stage_alone(ablation):
    for name, key in ablation.STAGES.items():
        (alone,) = (arm for arm in (name, f"{name} 1") if arm in ablation.ARMS)
        changed = {k for k, v in ablation.ARMS[alone].items() if v != ablation.OFF[k]}
        assert changed == {key}
        left = ablation.ARMS[f"all but {name}"]
        assert {k for k, v in left.items() if v != ablation.ON[k]} == {key}


def test_a_run_learns_the_same_data_and_keeps_its_curve(ablation, monkeypatch):
    first = [next(ablation.recall_batches(seed)).inputs for seed in (0, 0, 1)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    short = dataclasses.replace(ablation.EXERCISES["recall"], width=16, heads=1)
    monkeypatch.setitem(ablation.EXERCISES, "recall", short)
    monkeypatch.setattr(ablation, "TESTS", 2)
    tested = next(ablation.recall_batches(9))
    monkeypatch.setattr(ablation, "held_out", lambda task: tested)
    job = ablation.Job("recall", "all", 0, 5)
    found, again = ablation.run(job), ablation.run(job)
    assert [point[0] for point in found["curve"]] == [2, 4, 5]
    times = [point[1] for point in found["curve"]]
    assert times == sorted(times)
    assert times[-1] == found["training_cpu_s"] > 0
    assert [p[2] for p in found["curve"]] == [p[2] for p in again["curve"]]


def runs(exercise, arm, figures):
    steps = (50, 100)
    return [
        {
            "exercise": exercise,
            "arm": arm,
            "seed": seed,
            "steps": 100,
            "curve": [[step, 0.0, x] for step, x in zip(steps, each, strict=True)],
        }
        for seed, each in enumerate(figures)
    ]


def test_gains_are_paired_and_read_at_equal_time(ablation):
    assert ablation.read_at([[50, 0, 0.2], [100, 0, 0.6]], 75) == pytest.approx(0.4)
    assert ablation.read_at([[50, 0, 0.2], [100, 0, 0.6]], 20) == 0.2
    assert ablation.read_at([[50, 0, 0.2], [100, 0, 0.6]], 130) == 0.6
    both = runs("recall", "plain", [(0.1, 0.5), (0.2, 0.3)])
    both += runs("recall", "flow 1", [(0.6, 0.8), (0.2, 0.5)])[::-1]
    assert ablation.gains(both, "recall", "flow 1", 1.0) == pytest.approx([0.3, 0.2])
    assert ablation.gains(both, "recall", "flow 1", 0.5) == pytest.approx([0.1, -0.1])
    assert ablation.gains(both, "recall", "flow 1", 2.0) == pytest.approx([0.3, 0.2])
    nats = runs("language", "plain", [(5.0, 4.0)]) + runs("language", "flow 1", [(5.0, 4.5)])
    assert ablation.gains(nats, "language", "flow 1", 1.0) == pytest.approx([-0.5])


@pytest.mark.parametrize(
    ("recall", "language", "expected"),
    [
        ((0.1, 0.11, 0.12), (0.0, 0.1, -0.1), True),
        ((0.1, 0.11, 0.12), (-0.1, -0.11, -0.12), False),
        ((0.1, -0.11, 0.12), (0.1, -0.1, 0.1), False),
    ],
)
def test_the_rule_asks_for_a_gain_beyond_the_spread_and_no_loss(
    ablation, recall, language, expected
):
    found = runs("recall", "plain", [(0.5, 0.5)] * 3) + runs("language", "plain", [(4, 4)] * 3)
    found += runs("recall", "flow 1", [(0.0, 0.5 + x) for x in recall])
    found += runs("language", "flow 1", [(9.0, 4.0 - x) for x in language])
    # What is learnt longer says nothing against a stage.
    found += runs("longer", "plain", [(4, 4)] * 3) + runs("longer", "flow 1", [(9, 9)] * 3)
    seconds = {name: {"plain": 1.0, "flow 1": 1.0} for name in ablation.EXERCISES}
    assert ablation.pays(found, seconds, "flow 1") is expected


def test_what_paid_is_on_by_default_and_nothing_else(ablation):
    kept = json.loads(ablation.RESULTS.read_text())
    arms = (
        "projective",
        "Lorentz",
        "flow 1",
        "flow 2",
        "flow 3",
        "heights",
        "routes 1",
        "routes 2",
    )
    paid = [arm for arm in arms if ablation.pays(kept["runs"], kept["step_seconds"], arm)]
    for name in ablation.RULED:
        seeds = {(r["arm"], r["seed"]) for r in kept["runs"] if r["exercise"] == name}
        assert seeds >= {(arm, seed) for arm in ("plain", *arms) for seed in range(3)}
    on = dict(ablation.OFF)
    for arm in paid:
        on |= {key: value for key, value in ablation.ARMS[arm].items() if value != on[key]}
    defaults = {f.name: f.default for f in dataclasses.fields(QuantumGeometricAttentionConfig)}
    assert {key: defaults[key] for key in on} == on
