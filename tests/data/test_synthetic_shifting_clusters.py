import math

import pytest
import torch

from adaptive_attention_tiling.data.synthetic import AssociativeRecall, ShiftingClusters
from adaptive_attention_tiling.errors import ArgumentError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def nearest(points, means):
    return torch.cdist(points, means).argmin(dim=-1)


def right(task, step, *, means_of, size=300):
    """How often the centre nearest by the means of another step is the one drawn from."""
    points, labels = task.vectors(step, size, seeded(7))
    return (nearest(points, task.means(means_of)) == labels).double().mean().item()


def test_the_phase_changes_at_the_steps_given():
    task = ShiftingClusters(shifts=(3, 5))
    assert [task.phase(step) for step in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    assert task.phases == 3
    assert ShiftingClusters(shifts=()).phase(10**9) == 0


@pytest.mark.parametrize("step", [-1, 1.0])
def test_a_step_is_a_whole_number(step):
    task = ShiftingClusters()
    asks = (
        task.phase,
        task.means,
        task.keys,
        lambda step: task.vectors(step, 1, seeded()),
        lambda step: task.batch(1, seeded(), step=step),
    )
    for ask in asks:
        with pytest.raises(ArgumentError) as caught:
            ask(step)
        assert caught.value.name == "step"


def test_centres_lie_as_far_apart_as_told():
    task = ShiftingClusters(centres=5, dimension=7, separation=3.0)
    for step in (0, 1000):
        distances = torch.pdist(task.means(step))
        torch.testing.assert_close(distances, torch.full((10,), 3.0))


def test_centres_hold_within_a_phase_and_move_between_phases():
    task = ShiftingClusters(shifts=(10, 20))
    assert torch.equal(task.means(0), task.means(9))
    assert torch.equal(task.means(10), task.means(19))
    phases = [task.means(step) for step in (0, 10, 20)]
    for a, b in [(0, 1), (1, 2), (0, 2)]:
        assert (phases[a] - phases[b]).norm(dim=1).min() > 1
    assert not torch.equal(task.means(0), ShiftingClusters(shifts=(10, 20), seed=1).means(0))
    # Those of the first phases do not depend on how many follow.
    assert torch.equal(task.means(10), ShiftingClusters(shifts=(10,)).means(10))


def test_vectors_and_labels():
    task = ShiftingClusters(centres=3, dimension=5, spread=0.5)
    points, labels = task.vectors(0, 200, seeded())
    assert points.shape == (200, 64, 5)
    assert points.dtype == torch.float32
    assert labels.shape == (200, 64)
    assert labels.dtype == torch.int64
    share = torch.bincount(labels.flatten(), minlength=3) / labels.numel()
    assert (share - 1 / 3).abs().max() < 5 * (2 / 9 / labels.numel()) ** 0.5

    noise = points - task.means(0)[labels]
    assert noise.mean().abs() < 5 * 0.5 / noise.numel() ** 0.5
    assert abs(noise.std() - 0.5) < 5 * 0.5 / (2 * noise.numel()) ** 0.5

    again, same = task.vectors(0, 200, seeded())
    assert torch.equal(points, again)
    assert torch.equal(labels, same)
    assert not torch.equal(points, task.vectors(0, 200, seeded(1))[0])


def test_a_batch_of_vectors_holds_at_least_one_sequence():
    with pytest.raises(ArgumentError) as caught:
        ShiftingClusters().vectors(0, 0, seeded())
    assert caught.value.name == "size"


def test_the_nearest_centre_is_never_wrong_for_clusters_far_apart():
    task = ShiftingClusters(separation=20.0)
    assert task.bayes_accuracy == pytest.approx(1, abs=1e-12)
    for step in (0, 1000):
        assert right(task, step, means_of=step) == 1


def test_what_is_fitted_to_one_phase_is_out_of_place_in_the_next():
    task = ShiftingClusters(separation=20.0)
    assert right(task, 1000, means_of=0) < 0.7


def test_the_best_accuracy_for_two_clusters():
    """Of two, the nearer is right when the noise along their line stays below half the way."""
    task = ShiftingClusters(centres=2, separation=3.0, spread=1.5)
    expected = 0.5 * (1 + math.erf(3.0 / (2 * 1.5) / math.sqrt(2)))
    assert task.bayes_accuracy == pytest.approx(expected, abs=1e-10)


def test_the_best_accuracy_when_there_is_one_cluster_or_hardly_any_way_between_them():
    assert ShiftingClusters(centres=1).bayes_accuracy == pytest.approx(1, abs=1e-12)
    close = ShiftingClusters(centres=4, separation=1e-9)
    assert close.bayes_accuracy == pytest.approx(1 / 4, abs=1e-8)


@pytest.mark.parametrize(("centres", "separation"), [(2, 1.0), (4, 2.0), (16, 3.0)])
def test_the_nearest_centre_reaches_the_best_accuracy(centres, separation):
    task = ShiftingClusters(centres=centres, separation=separation)
    best = task.bayes_accuracy
    deviation = math.sqrt(best * (1 - best) / (300 * 64))
    for step in (0, 1000):
        assert abs(right(task, step, means_of=step) - best) < 5 * deviation


def test_the_keys_shift_and_the_values_stay():
    task = ShiftingClusters(
        shifts=(10, 20), recall=AssociativeRecall(vocabulary=22, length=40, pairs=3)
    )
    values = set(range(11, 22))
    for step, keys in [(0, {1, 2, 3}), (9, {1, 2, 3}), (10, {4, 5, 6}), (20, {7, 8, 9})]:
        inputs = task.batch(400, seeded(), step=step).inputs
        assert set(task.keys(step)) == keys
        assert set(inputs[:, :6:2].flatten().tolist()) == keys
        assert set(inputs[:, 1:6:2].flatten().tolist()) == values
        # Key 10 is left over; the noise keeps to the keys of the phase.
        assert set(inputs[:, 6:].flatten().tolist()) == {0} | keys | values


def test_pairs_can_be_recalled_after_the_shift():
    task = ShiftingClusters(recall=AssociativeRecall(vocabulary=24, length=20, pairs=5))
    batch = task.batch(200, seeded(), step=1000)
    rows, places = (batch.targets >= 0).nonzero(as_tuple=True)
    asked = batch.inputs[rows, places]
    pair = (batch.inputs[rows, :10:2] == asked[:, None]).int().argmax(dim=1)
    assert len(rows) == 1000
    assert torch.equal(batch.inputs[rows, 2 * pair + 1], batch.targets[rows, places])


def test_with_all_keys_active_it_is_plain_recall():
    recall = AssociativeRecall(vocabulary=15, length=30)
    shifting = ShiftingClusters(shifts=(), recall=recall).batch(50, seeded(), step=99)
    plain = recall.batch(50, seeded())
    assert torch.equal(shifting.inputs, plain.inputs)
    assert torch.equal(shifting.targets, plain.targets)
