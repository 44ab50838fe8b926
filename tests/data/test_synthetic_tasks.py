"""What holds for every synthetic task: shapes, seeds, the oracle and the blind guess."""

import math

import pytest
import torch

from adaptive_attention_tiling.data.synthetic import (
    IGNORED,
    AssociativeRecall,
    Copy,
    Induction,
    Needle,
    SelectiveCopy,
    ShiftingClusters,
    TokenBatch,
)
from adaptive_attention_tiling.errors import ArgumentError


def _copy(task):
    return lambda read: read[-1 - read.index(0)]


def _selective_copy(task):
    def solve(read):
        symbols = [token for token in read if token > task.blanks]
        return symbols[read.count(task.blanks) - 1]

    return solve


def _after_the_first(task):
    return lambda read: read[read.index(read[-1]) + 1]


def _recall(task):
    pairs = getattr(task, "recall", task).pairs

    def solve(read):
        return dict(zip(read[: 2 * pairs : 2], read[1 : 2 * pairs : 2], strict=True))[read[-1]]

    return solve


# Each oracle turns a task into a function from the tokens read so far to the answer.
TASKS = {
    "copy": (Copy(vocabulary=8, length=22), _copy),
    "selective copy": (SelectiveCopy(vocabulary=9, length=30, items=7), _selective_copy),
    "selective copy, noise": (
        SelectiveCopy(vocabulary=12, length=30, items=7, blanks=4),
        _selective_copy,
    ),
    "induction": (Induction(vocabulary=6, length=19), _after_the_first),
    "recall": (AssociativeRecall(vocabulary=16, length=37, pairs=5), _recall),
    "recall, blank": (AssociativeRecall(vocabulary=17, length=20, pairs=5, noise=False), _recall),
    "needle": (Needle(vocabulary=11, length=17), _after_the_first),
    "needle at the start": (Needle(vocabulary=10, length=17, depth=0), _after_the_first),
    "needle at the end": (Needle(vocabulary=10, length=17, depth=1), _after_the_first),
    "shifting": (
        ShiftingClusters(shifts=(10,), recall=AssociativeRecall(vocabulary=24, length=20, pairs=5)),
        _recall,
    ),
}


@pytest.fixture(params=TASKS)
def name(request):
    return request.param


@pytest.fixture
def task(name):
    return TASKS[name][0]


@pytest.fixture
def oracle(name):
    task, make = TASKS[name]
    return make(task)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def accuracy(batch, solve):
    """The share of asked positions at which `solve`, given no more than was read, is right."""
    asked = (batch.targets != IGNORED).nonzero().tolist()
    right = [
        solve(batch.inputs[row, : at + 1].tolist()) == batch.targets[row, at] for row, at in asked
    ]
    return sum(right) / len(right)


def test_batches_are_token_ids_of_the_shape_told(task):
    batch = task.batch(50, seeded(0))
    for tensor in (batch.inputs, batch.targets):
        assert tensor.shape == (50, task.length)
        assert tensor.dtype == torch.int64
    assert batch.inputs.min() >= 0
    assert batch.inputs.max() < task.vocabulary
    answers = batch.targets[batch.targets != IGNORED]
    assert answers.min() >= 0
    assert answers.max() < task.vocabulary


def test_each_sequence_asks_as_many_answers_as_told(task):
    asked = task.batch(50, seeded(0)).targets != IGNORED
    assert asked.sum(dim=1).tolist() == [task.asked] * 50


def test_a_seed_fixes_the_batches_and_nothing_else_does(task):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    generator = seeded(5)
    first, second = task.batch(20, generator), task.batch(20, generator)
    assert torch.equal(torch.get_rng_state(), before)

    torch.manual_seed(2)
    again = task.batch(20, seeded(5))
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.inputs, task.batch(20, seeded(6)).inputs)


def test_an_oracle_that_reads_up_to_the_question_reaches_the_optimum(task, oracle):
    assert accuracy(task.batch(300, seeded(3)), oracle) == task.optimum


def test_an_oracle_asked_one_position_early_cannot_know(task, oracle):
    batch = task.batch(300, seeded(3))
    early = torch.full_like(batch.targets, IGNORED)
    early[:, :-1] = batch.targets[:, 1:]

    def solve(read):
        try:
            return oracle(read)
        except (KeyError, IndexError, ValueError):
            return None

    assert accuracy(TokenBatch(inputs=batch.inputs, targets=early), solve) < 0.5


def test_cross_entropy_leaves_out_what_is_not_asked(task):
    batch = task.batch(10, seeded(0))
    logits = torch.zeros(10, task.vocabulary, task.length)
    logits.scatter_(1, batch.targets.clamp(min=0)[:, None], 100.0)
    logits[:, 0].masked_fill_(batch.targets == IGNORED, -100.0)
    assert torch.nn.functional.cross_entropy(logits, batch.targets) == 0


def test_a_blind_guess_gets_chance(task):
    targets = task.batch(6000, seeded(4)).targets
    answers = targets[targets != IGNORED]
    counts = torch.bincount(answers, minlength=task.vocabulary)
    assert (counts > 0).sum() == round(1 / task.chance)
    share = counts[counts > 0] / len(answers)
    deviation = math.sqrt(task.chance * (1 - task.chance) / len(answers))
    assert (share - task.chance).abs().max() < 5 * deviation


@pytest.mark.parametrize("size", [0, -3, 2.0, True])
def test_a_batch_holds_at_least_one_sequence(task, size):
    with pytest.raises(ArgumentError) as caught:
        task.batch(size, seeded(0))
    assert caught.value.name == "size"
    assert caught.value.got == size


def test_a_task_is_a_value(task):
    with pytest.raises(AttributeError):
        task.length = 3
    assert hash(task) == hash(type(task)(**{f: getattr(task, f) for f in vars(task)}))
    with pytest.raises(TypeError):
        type(task)(8)


@pytest.mark.parametrize(
    "make", [Copy, SelectiveCopy, Induction, AssociativeRecall, Needle, ShiftingClusters]
)
def test_the_defaults_make_a_task(make):
    task = make()
    batch = task.batch(2, seeded(0))
    assert batch.inputs.shape == (2, task.length)
    assert 0 < task.chance < task.optimum == 1


@pytest.mark.parametrize(
    ("make", "arguments", "name"),
    [
        (Copy, {"vocabulary": 1}, "vocabulary"),
        (Copy, {"vocabulary": 8.0}, "vocabulary"),
        (Copy, {"length": 0}, "length"),
        (Copy, {"length": 7}, "length"),
        (SelectiveCopy, {"items": 0}, "items"),
        (SelectiveCopy, {"blanks": 0}, "blanks"),
        (SelectiveCopy, {"vocabulary": "64"}, "vocabulary"),
        (SelectiveCopy, {"vocabulary": 5, "blanks": 4}, "vocabulary"),
        (SelectiveCopy, {"length": None}, "length"),
        (SelectiveCopy, {"length": 31}, "length"),
        (Induction, {"vocabulary": 1}, "vocabulary"),
        (Induction, {"length": 2}, "length"),
        (AssociativeRecall, {"pairs": 0}, "pairs"),
        (AssociativeRecall, {"vocabulary": 3, "pairs": 1}, "vocabulary"),
        (AssociativeRecall, {"vocabulary": 9}, "vocabulary"),
        (AssociativeRecall, {"length": 3, "pairs": 1}, "length"),
        (AssociativeRecall, {"length": 15}, "length"),
        (AssociativeRecall, {"power": 0}, "power"),
        (AssociativeRecall, {"power": 1.1}, "power"),
        (AssociativeRecall, {"power": math.nan}, "power"),
        (Needle, {"vocabulary": 1}, "vocabulary"),
        (Needle, {"length": 2}, "length"),
        (Needle, {"depth": -0.1}, "depth"),
        (Needle, {"depth": 1.1}, "depth"),
        (Needle, {"depth": math.nan}, "depth"),
        (ShiftingClusters, {"shifts": (0,)}, "shifts"),
        (ShiftingClusters, {"shifts": (5, 5)}, "shifts"),
        (ShiftingClusters, {"centres": 0}, "centres"),
        (ShiftingClusters, {"centres": 17}, "centres"),
        (ShiftingClusters, {"dimension": 0}, "dimension"),
        (ShiftingClusters, {"separation": 0.0}, "separation"),
        (ShiftingClusters, {"separation": math.inf}, "separation"),
        (ShiftingClusters, {"spread": -1.0}, "spread"),
        (ShiftingClusters, {"spread": math.nan}, "spread"),
        (ShiftingClusters, {"seed": -1}, "seed"),
        (ShiftingClusters, {"recall": AssociativeRecall(vocabulary=16)}, "recall"),
    ],
)
def test_what_cannot_be_a_task_is_told(make, arguments, name):
    with pytest.raises(ArgumentError) as caught:
        make(**arguments)
    error = caught.value
    assert error.name == name
    assert error.got is arguments[name]
    assert error.expected
    assert error.fix


@pytest.mark.parametrize(
    "smallest",
    [
        Copy(vocabulary=2, length=2),
        SelectiveCopy(vocabulary=3, length=2, items=1),
        SelectiveCopy(vocabulary=6, length=32, blanks=4),
        Induction(vocabulary=2, length=3),
        AssociativeRecall(vocabulary=4, length=4, pairs=1),
        AssociativeRecall(vocabulary=10, length=16),
        Needle(vocabulary=2, length=3),
        ShiftingClusters(recall=AssociativeRecall(vocabulary=18), centres=16),
    ],
)
def test_what_just_fits_is_a_task(smallest):
    assert smallest.batch(3, seeded(0)).inputs.shape == (3, smallest.length)
