"""Parameters, optimizer moments and statistics follow an edit's map."""

import copy
import math

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.splats import (
    KINDS,
    Bounds,
    Edit,
    SplatField,
    Splats,
    apply_edit,
    birth,
    death,
    merge,
    no_edit,
    relocate,
    split,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

H, K, D = 2, 6, 3
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True, foreach=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01),
}


def make(kind: str = "diagonal", *, dead: tuple[int, ...] = (4,), **options: object) -> SplatField:
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    alive = torch.ones(H, K, dtype=torch.bool)
    alive[:, list(dead)] = False
    rank = {"low_rank": 2, "full": D}.get(kind)
    splats = Splats(
        kind=kind,
        mean=normal(H, K, D),
        scale=(0.3 * normal(H, K, *(() if kind == "scalar" else (D,)))).exp(),
        log_amplitude=normal(H, K),
        alive=alive,
        factor=None if rank is None else 0.5 * normal(H, K, D, rank),
    )
    return SplatField(splats, norm_factor=0.1, **options)


def rows(field: SplatField) -> dict[str, torch.nn.Parameter]:
    return {n: p for n, p in field.named_parameters() if n != "raw_background"}


def train(field: SplatField, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """A loss of each parameter entry by itself, so that slots do not touch each other."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.stack([(p - 0.3).square().sum() for p in field.parameters()]).sum()
        loss.backward()
        optimizer.step()


def which(*places: tuple[int, int]) -> Tensor:
    mask = torch.zeros(H, K, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


# What each edit does, and the slots that it changes: slot 4 is the empty one.
EDITS = {
    "split": (
        lambda s: split(s, which((0, 1), (1, 2))),
        which((0, 1), (0, 4), (1, 2), (1, 4)),
    ),
    "death": (lambda s: death(s, which((0, 0), (1, 5))), which((0, 0), (1, 5))),
    "birth": (
        lambda s: birth(s, torch.ones(H, 1, D), scale=0.5, amplitude=2.0),
        which((0, 4), (1, 4)),
    ),
    "merge": (
        lambda s: merge(s, torch.tensor([[[1, 2]], [[5, 0]]])),
        which((0, 1), (0, 2), (1, 5), (1, 0)),
    ),
    "relocate": (
        lambda s: relocate(s, which((0, 3)), torch.ones(H, K, D), scale=1.0, amplitude=1.0),
        which((0, 3)),
    ),
}


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("name", EDITS)
def test_slots_that_were_not_edited_train_on_as_if_nothing_had_happened(name, optimizer_name):
    field = make("full")
    optimizer = OPTIMIZERS[optimizer_name](field.parameters())
    train(field, optimizer, 3)
    rival = copy.deepcopy(field)
    rival_optimizer = OPTIMIZERS[optimizer_name](rival.parameters())
    rival_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    edit, touched = EDITS[name][0](field.splats()), EDITS[name][1]
    apply_edit(field, edit, optimizer=optimizer)
    train(field, optimizer, 2)
    train(rival, rival_optimizer, 2)
    for one, two in zip(rows(field).values(), rows(rival).values(), strict=True):
        assert_bit_equal(one[~touched], two[~touched])
    if name != "death":
        assert (field.raw_mean[touched] != rival.raw_mean[touched]).any()
    assert field.raw_background is not None
    assert_bit_equal(field.raw_background, rival.raw_background)
    assert field.norm_factor is not None
    assert_bit_equal(field.norm_factor, rival.norm_factor)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EDITS)
def test_the_field_holds_the_values_of_the_edit(name, kind):
    field = make(kind)
    parameters = dict(field.named_parameters())
    edit = EDITS[name][0](field.splats())
    apply_edit(field, edit)
    held = field.splats()
    assert_bit_equal(held.alive, edit.splats.alive)
    assert_close(held.mean, edit.splats.mean)
    assert_close(held.covariance, edit.splats.covariance)
    assert_close(held.log_amplitude, edit.splats.log_amplitude)
    assert all(p is parameters[n] for n, p in field.named_parameters())


def moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    state = optimizer.state[parameter]
    return {k: v.clone() for k, v in state.items() if v.dim()}


@pytest.mark.parametrize("optimizer_name", ["adamw", "amsgrad", "fused", "momentum"])
def test_both_halves_of_a_split_inherit_moments_and_new_splats_have_none(optimizer_name):
    field = make("low_rank", dead=(3, 4))
    optimizer = OPTIMIZERS[optimizer_name](field.parameters())
    train(field, optimizer, 3)
    before = {n: moments(optimizer, p) for n, p in rows(field).items()}
    steps = {n: copy.deepcopy(optimizer.state[p].get("step")) for n, p in rows(field).items()}
    halves = split(field.splats(), which((0, 1), (1, 2)))
    points = torch.ones(H, 1, D)
    edit = halves.then(birth(halves.splats, points, scale=0.5, amplitude=2.0))
    assert edit.source.tolist() == [[0, 1, 2, 1, -1, 5], [0, 1, 2, 2, -1, 5]]
    apply_edit(field, edit, optimizer=optimizer)
    for name, parameter in rows(field).items():
        for key, value in moments(optimizer, parameter).items():
            old = before[name][key]
            assert (old[0, 1] != 0).any()
            assert_bit_equal(value[0, [0, 1, 2, 3, 5]], old[0, [0, 1, 2, 1, 5]])
            assert_bit_equal(value[1, 3], old[1, 2])
            assert_bit_equal(value[:, 4], torch.zeros_like(old[:, 4]))
        assert optimizer.state[parameter].get("step") == steps[name]


def test_the_first_step_of_a_new_splat_is_as_long_as_documented():
    field = make("scalar")
    optimizer = torch.optim.AdamW(field.parameters(), lr=1e-3, weight_decay=0)
    train(field, optimizer, 1)
    for parameter in field.parameters():
        optimizer.state[parameter]["step"].fill_(10_000)
    edit = birth(field.splats(), torch.full((H, 1, D), 2.0), scale=0.5, amplitude=2.0)
    apply_edit(field, edit, optimizer=optimizer)
    before = field.raw_mean.detach().clone()
    train(field, optimizer, 1)
    step = (field.raw_mean - before).abs()[:, 4] / 1e-3
    expected = torch.full_like(step, (1 - 0.9) / math.sqrt(1 - 0.999))
    assert torch.allclose(step, expected, rtol=0.02)


def test_gradients_that_are_not_used_up_move_along():
    field = make("diagonal")
    field.raw_mean.square().sum().backward()
    assert field.raw_mean.grad is not None
    before = field.raw_mean.grad.clone()
    halves = split(field.splats(), which((0, 1)))
    apply_edit(field, halves.then(death(halves.splats, which((1, 0)))))
    assert_bit_equal(field.raw_mean.grad[0, 4], before[0, 1])
    assert_bit_equal(field.raw_mean.grad[1, 0], torch.zeros(D))


def test_an_optimizer_that_has_not_stepped_is_no_obstacle():
    field = make("scalar")
    optimizer = torch.optim.AdamW(field.parameters())
    apply_edit(field, split(field.splats(), which((0, 1))), optimizer=optimizer)
    assert not optimizer.state
    assert field.alive[0, 4]


def test_an_optimizer_that_lacks_a_parameter_is_named_before_anything_changes():
    field = make("scalar")
    before = copy.deepcopy(field.state_dict())
    optimizer = torch.optim.AdamW([field.raw_mean, field.raw_amplitude])
    edit = split(field.splats(), which((0, 1)))
    with pytest.raises(ArgumentError, match="raw_scale"):
        apply_edit(field, edit, optimizer=optimizer)
    for name, value in field.state_dict().items():
        assert_bit_equal(value, before[name])
    field.raw_scale.requires_grad_(False)
    apply_edit(field, edit, optimizer=optimizer)
    assert field.alive[0, 4]


def test_an_optimizer_with_unknown_state_is_refused():
    field = make("diagonal")
    optimizer = torch.optim.Adafactor(field.parameters())
    train(field, optimizer, 1)
    with pytest.raises(UnsupportedError, match=r"Adafactor keeps 'row_var'"):
        apply_edit(field, split(field.splats(), which((0, 1))), optimizer=optimizer)


def test_values_beyond_the_bounds_are_moved_inside():
    field = make("scalar", bounds=Bounds(mean=8.0, scale=(0.1, 10.0)))
    far = torch.full((H, 1, D), 50.0)
    apply_edit(field, birth(field.splats(), far, scale=100.0, amplitude=1e9))
    born = field.splats()
    assert ((born.mean[:, 4] > 7.9) & (born.mean[:, 4] < 8)).all()
    assert ((born.scale[:, 4] > 9.9) & (born.scale[:, 4] < 10)).all()
    assert ((born.log_amplitude[:, 4].exp() > 9e3) & (born.log_amplitude[:, 4].exp() < 1e4)).all()


def test_splats_that_trained_to_a_bound_do_not_forbid_edits_of_others():
    field = make("scalar")
    with torch.no_grad():
        field.raw_scale[0, 0] = 60.0
        field.raw_mean[0, 0] = 900.0
    assert field.splats().scale[0, 0] == field.bounds.scale[1], "the sigmoid is saturated"
    apply_edit(field, split(field.splats(), which((0, 1))))
    assert field.raw_scale[0, 0] == 60.0
    apply_edit(field, death(field.splats(), which((0, 2))))
    apply_edit(field, split(field.splats(), which((0, 0))))
    assert field.alive[0, 2]


class Recorder:
    def __init__(self) -> None:
        self.sources: list[Tensor] = []

    def follow(self, source: Tensor) -> None:
        self.sources.append(source)


def test_statistics_are_told_once():
    field, recorders = make(), (Recorder(), Recorder())
    edit = death(field.splats(), which((0, 1)))
    apply_edit(field, edit, statistics=recorders)
    for recorder in recorders:
        assert len(recorder.sources) == 1
        assert_bit_equal(recorder.sources[0], edit.source)


def test_no_edit_changes_nothing():
    field = make("full")
    before = copy.deepcopy(field.state_dict())
    apply_edit(field, no_edit(field.splats()))
    for name, value in field.state_dict().items():
        assert_bit_equal(value, before[name])


def test_an_edit_of_another_field_is_refused():
    edit: Edit = no_edit(make().splats())
    smaller = SplatField.scalar(torch.zeros(H, 2, D), torch.ones(H, 2), torch.ones(H, 2))
    with pytest.raises(ArgumentError) as caught:
        apply_edit(smaller, edit)
    assert caught.value.name == "edit"
