"""Rounds come when they are due, do what the observations call for, and can be resumed."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.data.synthetic import ShiftingClusters
from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import (
    KINDS,
    AdaptationConfig,
    AdaptationPolicy,
    SplatField,
    Splats,
    apply_edit,
    death,
    measure_coverage,
    plan_edits,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

H, K, D = 2, 6, 3


def make(kind: str = "diagonal", *, seed: int = 0, dead: int = 2) -> SplatField:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    rank = {"low_rank": 2, "full": D}.get(kind)
    alive = torch.ones(H, K, dtype=torch.bool)
    alive[:, K - dead :] = False
    return SplatField(
        Splats(
            kind=kind,
            mean=3 * normal(H, K, D),
            scale=(0.3 * normal(H, K, *(() if kind == "scalar" else (D,)))).exp(),
            log_amplitude=normal(H, K),
            alive=alive,
            factor=None if rank is None else 0.3 * normal(H, K, D, rank),
        )
    )


def tokens(seed: int, *, batch: int = 3, length: int = 16, centre: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(batch, H, length, D, generator=generator) + centre


def line(places: list[float], amplitudes: list[float] | None = None) -> Splats:
    """Unit splats on a line; slots at nan are empty."""
    mean = torch.tensor(places, dtype=torch.float64)
    alive = ~mean.isnan()
    amplitude = torch.tensor(amplitudes or [1.0] * len(places), dtype=torch.float64)
    return Splats(
        kind="scalar",
        mean=mean.nan_to_num(0.0)[None, :, None],
        scale=torch.ones(1, len(places), dtype=torch.float64),
        log_amplitude=amplitude.log()[None],
        alive=alive[None],
    )


def plan_for(splats: Splats, activation: list[float], points: list[float], **options: object):
    settled = options.pop("settled", [True] * splats.count)
    return plan_edits(
        splats,
        torch.tensor([activation], dtype=torch.float64),
        torch.tensor([settled]),
        torch.tensor(points, dtype=torch.float64)[None, :, None],
        AdaptationConfig(**options),
        torch.Generator().manual_seed(0),
    )


NAN = float("nan")


def test_golden_a_splat_that_does_nothing_goes_where_it_is_missed():
    plan = plan_for(line([0, 5, 10]), [0.5, 0.0, 0.5], [0, 10, 30])
    assert plan[1:] == (0, 0, 0, 0, 1)
    assert plan.edit.splats.mean.flatten().tolist() == [0, 30, 10]
    assert plan.edit.source.tolist() == [[0, -1, 2]]
    spare = plan_for(line([0, 5, 10, NAN]), [0.5, 0.0, 0.5, 0.0], [0, 10, 30])
    assert spare[1:] == (0, 0, 0, 0, 1), "one gap is filled once"


def test_golden_it_dies_where_all_is_covered():
    plan = plan_for(line([0, 5, 10]), [0.5, 0.0, 0.5], [0, 10])
    assert plan[1:] == (0, 1, 0, 0, 0)
    assert plan.edit.splats.alive.tolist() == [[True, False, True]]


def test_golden_points_that_are_missed_get_splats_in_empty_slots():
    plan = plan_for(line([0, NAN, 10]), [0.5, 0.0, 0.5], [0, 10, 30, 60])
    assert plan[1:] == (1, 0, 0, 0, 0), "there is one empty slot"
    assert plan.edit.splats.mean[0, 1, 0] in (30, 60)
    plan = plan_for(line([0, NAN, NAN, NAN]), [1.0, 0, 0, 0], [0, 20, 30, 60])
    assert plan.births == 2, "as many as config.most"
    assert plan_for(line([0, NAN]), [1.0, 0], [0, 30], most=0)[1:] == (0, 0, 0, 0, 0)


def test_golden_new_splats_are_like_the_others():
    splats = line([0, 10, 20, NAN], [4.0, 2.0, 1.0, 9.0])
    splats.scale[0, :] = torch.tensor([1.0, 2.0, 3.0, 50.0])
    born = plan_for(splats, [0.3, 0.3, 0.4, 0], [0, 100]).edit.splats
    assert born.scale[0, 3] == 2
    assert_close(born.log_amplitude[0, 3].exp(), torch.tensor(2.0, dtype=torch.float64))
    born = plan_for(splats, [0.3, 0.3, 0.4, 0], [0, 100], scale=0.5).edit.splats
    assert born.scale[0, 3] == 0.5


def test_golden_splats_that_do_the_same_become_one():
    plan = plan_for(line([0, 0.1, 10, 10.2]), [0.25] * 4, [0, 10])
    assert plan[1:] == (0, 0, 2, 0, 0)
    assert plan.edit.splats.alive.tolist() == [[True, False, True, False]]
    assert_close(plan.edit.splats.mean[0, 0], torch.tensor([0.05], dtype=torch.float64))
    assert plan_for(line([0, 0.1, 10, 10.2]), [0.25] * 4, [0, 10], most=1).merges == 1
    assert plan_for(line([0, 0.1, 10, 10.2]), [0.25] * 4, [0, 10], merge=0.9999).merges == 0


def test_golden_a_splat_that_does_too_much_is_split():
    activation = [0.9, 0.03, 0.03, 0.0]
    plan = plan_for(line([0, 10, 20, NAN]), activation, [0, 10, 20], split=2.0)
    assert plan[1:] == (0, 0, 0, 1, 0)
    assert plan.edit.source.tolist() == [[0, 1, 2, 0]]
    full = plan_for(line([0, 10, 20]), activation[:3], [0, 10, 20], split=2.0)
    assert full.splits == 0, "no room"
    both = plan_for(line([0, 10, 20, NAN]), [0.47, 0.53, 0, 0], [0, 10], split=1.1, death=0)
    assert both.edit.source.tolist() == [[0, 1, 2, 1]], "the busier one takes the only slot"


def test_a_slot_that_is_left_in_a_round_is_taken_in_it():
    plan = plan_for(line([0, 0.05, 10, 20]), [0.1, 0.1, 0.7, 0.1], [0, 10, 20], split=2.0)
    assert plan[1:] == (0, 0, 1, 1, 0)
    assert plan.edit.source.tolist() == [[0, 2, 2, 3]] or plan.edit.source.tolist() == [
        [1, 2, 2, 3]
    ]


def test_the_young_are_not_judged():
    settled = [False, False, False, True]
    splats, activation = line([0, 0.05, 10, 20]), [0.0, 0.1, 0.8, 0.1]
    assert plan_for(splats, activation, [0], settled=settled, split=2.0)[1:] == (0, 0, 0, 0, 0)
    assert sum(plan_for(splats, activation, [0], split=2.0)[1:]) > 0


def test_heads_are_edited_each_by_itself():
    one, two = line([0, 5, 10]), line([0, 0.1, NAN])
    splats = one.with_arrays({n: torch.cat([a, two.arrays()[n]]) for n, a in one.arrays().items()})
    plan = plan_edits(
        splats,
        torch.tensor([[0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]),
        torch.ones(2, 3, dtype=torch.bool),
        torch.tensor([[0.0, 10], [0, 30]], dtype=torch.float64)[..., None],
        AdaptationConfig(),
        torch.Generator().manual_seed(0),
    )
    assert plan[1:] == (1, 1, 1, 0, 0)
    assert plan.edit.splats.alive.tolist() == [[True, False, True], [True, True, False]]


def rounds(config: AdaptationConfig, steps: int) -> list[int]:
    policy = AdaptationPolicy(config, make())
    due = []
    for number in range(steps):
        policy.observe(tokens(number))
        if policy.step(number).coverage_before is not None:
            due.append(number)
    return due


def test_rounds_are_dense_at_first_and_sparse_later():
    config = AdaptationConfig(every=10, growth=2.0, longest=40, start=5, on_shift=False)
    # 10, 20, 40 and no more than 40 steps apart
    assert rounds(config, 200) == [5, 15, 35, 75, 115, 155, 195]
    assert rounds(replace(config, stop=75), 200) == [5, 15, 35]
    assert rounds(replace(config, growth=1.0), 40) == [5, 15, 25, 35]


def test_a_shift_brings_dense_rounds_back():
    config = AdaptationConfig(every=10, growth=10.0, longest=1000, start=0, reference=64, recent=16)
    policy = AdaptationPolicy(config, make())
    due, shifts = [], []
    for number in range(120):
        policy.observe(tokens(number, batch=8, centre=0.0 if number < 60 else 4.0))
        report = policy.step(number)
        due += [number] if report.coverage_before is not None else []
        shifts += [number] if report.shifted else []
    # By plan: 0, 10, 110. The windows are of two steps, the first one after step 60 ends with 61.
    assert shifts == [61]
    assert due == [0, 10, 71, 81]


def test_switched_off_as_by_default_it_does_nothing():
    field = make()
    before = copy.deepcopy(field.state_dict())
    policy = AdaptationPolicy(AdaptationConfig(), field)
    for number in range(3):
        policy.observe(tokens(number))
        assert policy.step(number).edits == 0
    assert policy.sampled == 0
    assert policy.history.age.max() == 0
    for name, value in field.state_dict().items():
        assert_bit_equal(value, before[name])


CONFIG = AdaptationConfig(
    every=3, growth=1.2, start=4, window=4, sample=64, split=1.5, death=0.3, merge=0.7, recent=16
)


def train(
    field: SplatField,
    optimizer: torch.optim.Optimizer,
    policy: AdaptationPolicy,
    steps: range,
) -> list[object]:
    reports = []
    for number in steps:
        x = tokens(number)
        optimizer.zero_grad()
        loss = -field.log_features(x).logsumexp(-1).mean()
        loss.backward()
        optimizer.step()
        policy.observe(x)
        reports.append(policy.step(number))
    return reports


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_training_goes_on_bit_for_bit(kind):
    def fresh() -> tuple[SplatField, torch.optim.Optimizer, AdaptationPolicy]:
        field = make(kind)
        optimizer = torch.optim.AdamW(field.parameters(), lr=0.05)
        return field, optimizer, AdaptationPolicy(CONFIG, field, optimizer)

    whole = fresh()
    expected = train(*whole, range(40))
    first, second = fresh(), fresh()
    reports = train(*first, range(23))
    for old, new in zip(first, second, strict=True):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    reports += train(*second, range(23, 40))
    assert reports == expected
    assert sum(report.edits for report in expected) > 5
    for name, value in whole[0].state_dict().items():
        assert_bit_equal(second[0].state_dict()[name], value)
    assert_bit_equal(second[2].sample, whole[2].sample)
    assert_bit_equal(second[2].generator.get_state(), whole[2].generator.get_state())
    for name in ("merges", "splits"):
        assert any(getattr(report, name) for report in expected), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_run_keeps_shapes_finite_numbers_and_at_least_one_splat(kind):
    field = make(kind, dead=3)
    shapes = {n: v.shape for n, v in field.state_dict().items()}
    optimizer = torch.optim.AdamW(field.parameters(), lr=0.1)
    policy = AdaptationPolicy(replace(CONFIG, growth=1.0), field, optimizer)
    train(field, optimizer, policy, range(100))
    assert {n: v.shape for n, v in field.state_dict().items()} == shapes
    assert all(v.isfinite().all() for v in field.state_dict().values())
    assert field.alive.any(1).all()


def test_draws_are_its_own_and_decided_by_the_seed():
    def outcome(seed: int) -> Tensor:
        field = make()
        policy = AdaptationPolicy(replace(CONFIG, seed=seed), field)
        for number in range(12):
            policy.observe(tokens(number, centre=5.0))
            policy.step(number)
        return field.raw_mean.detach()

    state = torch.get_rng_state()
    one = outcome(1)
    assert_bit_equal(torch.get_rng_state(), state)
    assert_bit_equal(outcome(1), one)
    assert any((outcome(seed) != one).any() for seed in (2, 3, 4))


def test_observing_sends_no_gradients_and_changes_no_structure():
    field, x = make(), tokens(0).requires_grad_()
    before = copy.deepcopy(field.state_dict())
    policy = AdaptationPolicy(CONFIG, field)
    policy.observe(x)
    assert x.grad is None
    assert not policy.sample.requires_grad
    field.log_features(x)
    for name, value in field.state_dict().items():
        assert_bit_equal(value, before[name])


def test_padding_is_neither_sampled_nor_counted():
    x = tokens(0, batch=4)
    padding = torch.arange(16) < torch.tensor([[5], [16], [0], [9]])
    x[~padding[:, None].expand(4, H, 16)] = 1e4
    config = replace(CONFIG, reference=64, recent=16)
    policy = AdaptationPolicy(config, make())
    for _ in range(10):
        policy.observe(x, padding)
    assert policy.sampled == 10 * 16
    assert policy.sample.abs().max() < 1e3
    assert int(policy.detector.seen) == 30, "one token of each of three sequences"
    assert policy.detector.vectors[:30].abs().max() < 1e3
    assert policy.detector.vectors[:30].abs().sum(-1).min() > 0


def test_adaptation_follows_clusters_that_move():
    """Without any training: what a fixed field has lost, an adaptive one covers again."""
    source = ShiftingClusters(shifts=(60,), centres=4, dimension=D * 2, separation=8.0)
    generator = torch.Generator().manual_seed(0)
    width = source.dimension
    ones = torch.ones(1, 6, width)
    start = torch.cat([source.means(0), torch.zeros(2, width)])[None]
    field = SplatField.diagonal(start, ones, torch.ones(1, 6))
    apply_edit(field, death(field.splats(), torch.tensor([[False] * 4 + [True] * 2])))
    fixed = field.splats().detached()
    config = AdaptationConfig(every=10, growth=1.0, start=10, window=8, reference=64, recent=16)
    policy, reports = AdaptationPolicy(config, field), []
    for number in range(140):
        vectors, _ = source.vectors(number, 8, generator)
        policy.observe(vectors[:, None])
        reports.append(policy.step(number))
    covered = {r.step: r.coverage_after for r in reports if r.coverage_after is not None}
    assert min(covered[50], covered[130]) > 0.9
    vectors = source.vectors(140, 8, generator)[0].flatten(0, 1)[None]
    assert measure_coverage(fixed, vectors).share < 0.1, "the old clusters are of no use"
    splats = field.splats()
    assert int(splats.alive.sum()) == 4
    closest = torch.cdist(splats.mean[splats.alive], source.means(140)).min(1)
    assert closest.indices.sort().values.tolist() == [0, 1, 2, 3], "one splat in each"
    assert closest.values.max() < 1
    assert any(r.shifted for r in reports[60:70])
    assert not any(r.shifted for r in reports[:60])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("every", {"every": 0}),
        ("growth", {"growth": 0.5}),
        ("longest", {"every": 100, "longest": 50}),
        ("start", {"start": -1}),
        ("stop", {"start": 5, "stop": 5}),
        ("window", {"window": 0}),
        ("death", {"death": 1.0}),
        ("split", {"split": 1.0}),
        ("spread", {"spread": 0.0}),
        ("merge", {"merge": 0.0}),
        ("most", {"most": -1}),
        ("scale", {"scale": 0.0}),
        ("radius", {"radius": 0.0}),
        ("support", {"support": 1.0}),
        ("sample", {"sample": 0}),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(name, options):
    with pytest.raises(ArgumentError) as caught:
        AdaptationConfig(**options)
    assert caught.value.name == name


def test_a_round_without_observations_and_a_foreign_state_are_refused():
    policy = AdaptationPolicy(replace(CONFIG, start=0), make())
    with pytest.raises(ArgumentError, match="observe"):
        policy.step(0)
    other = AdaptationPolicy(replace(CONFIG, sample=32), make())
    with pytest.raises(ArgumentError) as caught:
        policy.load_state_dict(other.state_dict())
    assert caught.value.name == "state"
