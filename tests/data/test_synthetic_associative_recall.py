import pytest
import torch

from adaptive_attention_tiling.data.synthetic import IGNORED, AssociativeRecall


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_smallest_recall():
    batch = AssociativeRecall(vocabulary=4, length=4, pairs=1, noise=False).batch(20, seeded())
    rows = set(map(tuple, torch.cat([batch.inputs, batch.targets], dim=1).tolist()))
    assert rows == {
        (1, 2, 1, 0, IGNORED, IGNORED, 2, IGNORED),
        (1, 3, 1, 0, IGNORED, IGNORED, 3, IGNORED),
    }


def test_keys_and_values_come_from_their_halves_and_differ_within_a_sequence():
    task = AssociativeRecall(vocabulary=13, length=20, pairs=5)
    inputs = task.batch(400, seeded()).inputs
    keys, values = inputs[:, :10:2], inputs[:, 1:10:2]
    assert set(keys.flatten().tolist()) == {1, 2, 3, 4, 5}
    assert set(values.flatten().tolist()) == {6, 7, 8, 9, 10, 11, 12}
    for tokens in (keys, values):
        assert (tokens.sort(dim=1).values.diff(dim=1) > 0).all()


def test_each_key_comes_again_once_at_the_start_of_a_slot():
    task = AssociativeRecall(vocabulary=40, length=33, pairs=6, noise=False)
    batch = task.batch(300, seeded())
    asked = batch.targets != IGNORED
    rows, places = asked.nonzero(as_tuple=True)
    assert (places >= 12).all()
    assert (places % 2 == 0).all()
    again = batch.inputs[asked].reshape(300, 6)
    assert torch.equal(again.sort(dim=1).values, batch.inputs[:, :12:2].sort(dim=1).values)
    assert len(rows) == 6 * 300


def test_without_noise_all_else_is_zero():
    task = AssociativeRecall(vocabulary=40, length=33, pairs=6, noise=False)
    batch = task.batch(300, seeded())
    rest = batch.inputs[:, 12:]
    assert torch.equal(rest != 0, batch.targets[:, 12:] != IGNORED)


def test_noise_is_any_token_alike_likely_and_so_at_times_a_key():
    """With noise that never met a key, the oracle's success would say nothing about noise."""
    task = AssociativeRecall(vocabulary=16, length=100, pairs=4)
    batch = task.batch(500, seeded())
    rest, asked = batch.inputs[:, 8:], batch.targets[:, 8:] != IGNORED
    noise = rest[~asked]
    share = torch.bincount(noise, minlength=16) / len(noise)
    assert (share - 1 / 16).abs().max() < 5 * (15 / 16**2 / len(noise)) ** 0.5
    key_again = (rest[:, :, None] == batch.inputs[:, None, :8:2]).any(dim=2) & ~asked
    assert key_again.any(dim=1).double().mean() > 0.9


@pytest.mark.parametrize("power", [0.01, 0.5, 1.0])
def test_the_slot_of_a_single_key_follows_the_power_law(power):
    task = AssociativeRecall(vocabulary=4, length=22, pairs=1, power=power)
    targets = task.batch(20_000, seeded()).targets
    counts = (targets != IGNORED).sum(dim=0)
    law = torch.arange(1, 11, dtype=torch.float64) ** (power - 1)
    law /= law.sum()
    assert counts[2::2].sum() == 20_000
    error = (counts[2::2] / 20_000 - law).abs()
    assert (error < 5 * (law * (1 - law) / 20_000).sqrt()).all()


def test_two_keys_are_drawn_in_turn_without_putting_back():
    """P(first in slot i, second in slot j) = w_i / W * w_j / (W - w_i), worked by hand."""
    task = AssociativeRecall(vocabulary=6, length=10, pairs=2, power=0.01, noise=False)
    inputs = task.batch(20_000, seeded()).inputs
    first = (inputs[:, 4:] == inputs[:, :1]).int().argmax(dim=1) // 2
    second = (inputs[:, 4:] == inputs[:, 2:3]).int().argmax(dim=1) // 2
    counts = torch.bincount(3 * first + second, minlength=9).reshape(3, 3)
    weights = [n**-0.99 for n in (1, 2, 3)]
    for i in range(3):
        for j in range(3):
            law = 0.0
            if i != j:
                law = weights[i] / sum(weights) * weights[j] / (sum(weights) - weights[i])
            assert abs(counts[i, j] / 20_000 - law) <= 5 * (law * (1 - law) / 20_000) ** 0.5


def test_the_first_key_is_asked_sooner_than_the_last():
    task = AssociativeRecall(vocabulary=64, length=416, pairs=8, noise=False)
    inputs = task.batch(1000, seeded()).inputs
    again = (inputs[:, 16:, None] == inputs[:, None, :16:2]).int().argmax(dim=1)
    median = again.median(dim=0).values
    assert median[0] < median[3] < median[7]


def test_full_slots_still_hold_every_key():
    task = AssociativeRecall(vocabulary=64, length=32, pairs=8)
    targets = task.batch(100, seeded()).targets
    assert (targets[:, 16::2] != IGNORED).all()
