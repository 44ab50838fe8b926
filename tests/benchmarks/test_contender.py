"""The gate: what is wrong, or not a number, or of another shape, is never timed."""

import os
from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError, UnsupportedError


@pytest.fixture
def rig():
    from benchmarks import contender, measure

    class Rig:
        Absent, Case, Contender = contender.Absent, contender.Case, contender.Contender
        admitted, pinned_to = staticmethod(contender.admitted), staticmethod(contender.pinned_to)
        measured = staticmethod(measure.measured)

        @staticmethod
        def right(name="right", run=lambda: None, **options):
            truth = [torch.tensor([1.0, -4.0])]
            given = {"answer": lambda: truth, "truth": lambda: truth} | options
            return contender.Contender(name=name, run=run, **given)

    return Rig


def test_the_error_of_a_right_answer_is_told(rig):
    almost = rig.right(answer=lambda: [torch.tensor([1.0, -4.0001])])
    assert rig.admitted(almost) == pytest.approx(2.5e-5, rel=0.01)


@pytest.mark.parametrize(
    "answer",
    [[1.0, -4.1], [1.0, float("nan")], [1.0, float("inf")], [1.0], [[1.0, -4.0]]],
    ids=["wrong", "nan", "infinite", "short", "of two axes"],
)
def test_a_wrong_answer_is_refused(rig, answer):
    with pytest.raises(CorrectnessError, match=r"^wrong one is wrong: .* Nothing was timed"):
        rig.admitted(rig.right("wrong one", answer=lambda: [torch.tensor(answer)]))


def test_a_gradient_that_is_left_out_is_refused(rig):
    truth = [torch.ones(2), torch.ones(3)]
    with pytest.raises(CorrectnessError):
        rig.admitted(rig.right(answer=lambda: truth[:1], truth=lambda: truth))


def test_its_own_distance_decides_where_it_has_one(rig):
    with pytest.raises(CorrectnessError, match=r"it is 3.0e\+00 from"):
        rig.admitted(rig.right(distance=lambda answer, truth: 3.0))


def test_nothing_is_timed_if_one_of_all_is_wrong(rig):
    wrong = rig.right("wrong", answer=lambda: [torch.zeros(2)])
    timed = rig.right(run=lambda: pytest.fail("was timed"))
    case = rig.Case(name="one", inputs={}, contenders=[timed, wrong], baseline="right", rounds=1)
    with pytest.raises(CorrectnessError, match="wrong is wrong"):
        rig.measured(case)


def test_what_cannot_run_is_absent_with_the_reason(rig):
    def unsupported():
        raise UnsupportedError("x: no kernel has it. Fix: leave it out.")

    def unknown():
        raise ArgumentError("implementation", "'native'", "one of ()", "leave it out")

    def mistaken():
        raise ArgumentError("query", "2 axes", "4", "add them")

    assert rig.admitted(rig.right(answer=unsupported)).reason == "x: no kernel has it."
    assert "not built" in rig.admitted(rig.right(answer=unknown)).reason
    with pytest.raises(ArgumentError, match="query"):
        rig.admitted(rig.right(answer=mistaken))


def test_rows_tell_each_contender_and_the_absent(rig):
    case = rig.Case(
        name="a case",
        inputs={"T": 2},
        contenders=[
            rig.right("first", run=lambda: sum(range(100_000))),
            rig.right("second", run=lambda: sum(range(100)), rule="another"),
            rig.Absent("third", "not built"),
        ],
        baseline="first",
        rounds=3,
    )
    first, second, third = rig.measured(case)
    assert third == {
        "case": "a case", "inputs": {"T": 2}, "contender": "third", "absent": "not built"
    }  # fmt: skip
    assert first["baseline / it"] == 1
    assert second["baseline / it"] > 10
    assert second["rule"] == "another"
    assert len(second["rounds_cpu_ms"]) == 3
    assert second["cpu_ms"]["least"] <= second["cpu_ms"]["median"]


def test_kernels_are_pinned_while_it_answers_and_runs_and_not_after(rig, monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "baseline")
    seen = []
    contender = rig.right(
        run=lambda: seen.append(os.environ["AAT_NATIVE"]),
        answer=lambda: seen.append(os.environ["AAT_NATIVE"]) or [torch.ones(1)],
        truth=lambda: [torch.ones(1)],
        instruction_set="off",
    )
    rig.admitted(contender)
    contender.pinned()()
    assert seen == ["off", "off"]
    assert os.environ["AAT_NATIVE"] == "baseline"
    monkeypatch.delenv("AAT_NATIVE")
    replace(contender, instruction_set="avx2", run=lambda: None).pinned()()
    assert "AAT_NATIVE" not in os.environ


def test_forms_are_called_in_turn():
    from benchmarks.timing import interleaved

    calls = []
    runs = [lambda name=name: calls.append(name) for name in "ab"]
    times = interleaved(runs, 3, repeats=[2, 1], warm=True)
    assert "".join(calls) == "ab" + "aab" + "baa" + "aab"
    assert [len(own) for own in times] == [3, 3]
