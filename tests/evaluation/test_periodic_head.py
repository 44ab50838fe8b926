"""Heads that attend at a fixed stride."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import head_periodicity


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def found_in(logits, **settings):
    """`head_periodicity` of a head with these logits [n, n]."""
    key = torch.eye(len(logits), dtype=logits.dtype)
    return head_periodicity(logits, key, scale=1.0, **settings)


def noise(seed, tokens=256, deviation=1.5):
    return deviation * torch.randn(tokens, tokens, generator=seeded(seed))


def stride(period, phase, tokens=256, kind="offset"):
    """1 where the offset or the position of a key leaves this phase."""
    place = torch.arange(tokens)
    offset = place[:, None] - place
    return ((offset if kind == "offset" else place.expand_as(offset)) % period == phase).float()


def test_a_bump_of_1_in_noise_of_deviation_1_5_is_told_from_noise():
    """The planted head of 256 tokens, periods 4 to 32: AUC >= 0.90, period right in 39 of 40."""
    strengths, quiet, right = [], [], 0
    for seed in range(40):
        period = 4 + 7 * seed % 29
        planted = found_in(noise(seed) + stride(period, seed % period), shuffles=1)
        strengths.append(planted.strength)
        right += planted.period % period == 0 or period % planted.period == 0
        quiet.append(found_in(noise(seed + 100), shuffles=1).strength)
    clearer = torch.tensor(strengths)[:, None] > torch.tensor(quiet)
    assert float(clearer.double().mean()) >= 0.99
    assert right >= 39


@pytest.mark.parametrize("kind", ["offset", "position"])
@pytest.mark.parametrize(("period", "phase"), [(4, 1), (11, 0), (32, 31)])
def test_kind_period_and_phase_are_found(kind, period, phase):
    head = found_in(noise(period) + 3 * stride(period, phase, kind=kind))
    assert (head.kind, head.period, head.phases) == (kind, period, (phase,))
    assert head.chance == pytest.approx(2 / 200)
    assert 0.2 < head.explained < 1
    # By a step of the lattice (query, offset) the mask repeats; by another one it does not.
    place = torch.arange(100, 200)
    mask = head.mask(place, place - 50)
    assert torch.equal(mask, stride(period, phase, kind=kind)[100:200, 50:150].bool().tril(50))
    for step, offset in head.lattice.tolist():
        assert torch.equal(head.mask(place + step, place - 50 + step - offset).tril(), mask.tril())
    assert not torch.equal(head.mask(place, place - 51).tril(), mask.tril())


def test_masses_are_those_of_rows_held_out():
    logits = noise(0, 200, 1.0) + 4 * stride(9, 4, 200) + 2 * (stride(200, 7, 200))
    logits[:, 0] += 9
    head = found_in(logits, rows=20, span=90, skip=1, generator=seeded(3))
    assert (head.period, head.phases) == (9, (4,))
    order = 100 + torch.randperm(100, generator=seeded(3))[:40]
    attention = logits.masked_fill(torch.ones(200, 200).triu(1).bool(), -torch.inf).softmax(-1)

    def share(i, keys):
        return float(attention[i, keys].sum() / attention[i, 1 : i + 1].sum())

    rows = order[20:].tolist()
    strided = [[j for j in range(1, i + 1) if (i - j) % 9 == 4] for i in rows]
    cost = sum(map(len, strided)) / 20
    assert head.mass.cost == pytest.approx(cost)
    mean = [float(attention[order[:20], order[:20] - o].mean()) for o in range(100)]
    best = sorted(range(100), key=lambda o: -mean[o])[: round(cost)]
    slash = [[i - o for o in best if i - o >= 1] for i in rows]
    window = [range(i - len(keys) + 1, i + 1) for i, keys in zip(rows, strided, strict=True)]
    for mass, kept in (
        (head.mass.strided, strided),
        (head.mass.window, window),
        (head.mass.slash, slash),
    ):
        expected = sum(share(i, list(keys)) for i, keys in zip(rows, kept, strict=True)) / 20
        assert mass == pytest.approx(expected, rel=1e-5)
    assert head.mass.strided > 0.8 > 2 * head.mass.window


def test_chance_is_honest_for_noise():
    chances = [found_in(noise(seed, 160), shuffles=39).chance for seed in range(40)]
    # Twice the share of the clearer of two: 4 +- 1.9 of 40 are at or below a tenth.
    assert sum(chance <= 0.1 for chance in chances) <= 10
    assert sum(chance <= 0.5 for chance in chances) >= 8


def test_columns_that_all_rows_attend_to_are_no_period():
    """Rows at equal distances would see each column again at every such offset."""
    for seed in range(3):
        logits = noise(seed, 512, 0.3)
        logits[:, torch.randperm(512, generator=seeded(seed))[:6]] += 6
        assert found_in(logits, rows=16).chance > 0.01


def test_ripples_under_keys_that_hold_the_attention_are_no_period():
    offset = torch.arange(400)[:, None] - torch.arange(400)
    ripple = (2 * torch.pi * offset / 9).cos() - 12
    chosen = torch.rand(400, 400, generator=seeded(1)) < 0.1
    logits = torch.where(chosen, torch.zeros(()), ripple)
    assert found_in(logits).chance > 0.01
    assert found_in(ripple).chance == pytest.approx(0.01)  # Where it is all there is, it counts.


def test_what_is_smooth_in_the_offset_is_no_period():
    offset = torch.arange(400)[:, None] - torch.arange(400)
    slow = 2 * (2 * torch.pi * offset / 150).cos() - 0.01 * offset
    assert found_in(noise(0, 400, 0.5) + slow).chance > 0.01


def test_a_slow_wave_is_taken_off_before_the_period_is_weighed():
    offset = torch.arange(400)[:, None] - torch.arange(400)
    wave = (2 * torch.pi * offset / 250).cos()
    head = found_in(noise(0, 400, 0.5) + stride(11, 3, 400) + wave)
    assert head.period == 11
    assert head.explained > 0.55  # 0.47 with the wave in the profile.


def test_a_head_without_a_clear_phase_has_its_best_one():
    phases = [found_in(noise(seed, 160), shuffles=1).phases for seed in range(8)]
    assert all(phases)


def test_equal_attention_has_no_period():
    head = found_in(torch.zeros(128, 128))
    assert (head.period, head.chance, head.phases) == (0, 1.0, ())
    assert not head.mask(torch.arange(5), torch.arange(5)).any()
    with pytest.raises(ArgumentError, match="period: got 0"):
        _ = head.lattice


def test_nothing_ahead_of_the_sampled_rows_is_seen():
    logits = noise(0, 256)
    changed = logits + torch.ones(256, 256).triu(1) * 50
    assert found_in(logits, shuffles=9) == found_in(changed, shuffles=9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(2, 128, 4)}, r"query: got query \[2, 128, 4\]"),
        ({"key": torch.full((128, 4), torch.nan)}, "key: got NaN"),
        ({"rows": 0}, "rows: got 0"),
        ({"skip": -1}, "skip: got -1"),
        ({"longest": 50}, r"got profiles of 93 offsets.*2 longest = 100"),
        ({"span": 63}, "got profiles of 63 offsets"),
        ({"shortest": 1}, "shortest: got 1"),
    ],
)
def test_bad_input_is_told(change, message):
    arguments = {"query": torch.rand(128, 4), "key": torch.rand(128, 4)} | change
    with pytest.raises(ArgumentError, match=message):
        head_periodicity(**arguments)
