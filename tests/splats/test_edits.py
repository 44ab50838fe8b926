"""Edits keep moments, reuse slots, and say where everything went."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import (
    KINDS,
    Edit,
    Splats,
    birth,
    death,
    log_determinant,
    log_mass,
    merge,
    no_edit,
    relocate,
    split,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

H, K, D, R = 2, 8, 4, 2
DEAD = (3, 6)


def make(kind: str, *, dead: tuple[int, ...] = DEAD, width: int = D) -> Splats:
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    alive = torch.ones(H, K, dtype=torch.bool)
    alive[:, list(dead)] = False
    rank = {"low_rank": R, "full": width}.get(kind)
    return Splats(
        kind=kind,
        mean=2 * normal(H, K, width),
        scale=(0.3 * normal(H, K, *(() if kind == "scalar" else (width,)))).exp(),
        log_amplitude=normal(H, K),
        alive=alive,
        factor=None if rank is None else 0.7 * normal(H, K, width, rank),
    )


def slots(*pairs: tuple[int, int]) -> Tensor:
    mask = torch.zeros(H, K, dtype=torch.bool)
    for head, slot in pairs:
        mask[head, slot] = True
    return mask


def dense_moments(splats: Splats) -> tuple[Tensor, Tensor, Tensor]:
    """Mass [H], mean [H, D] and covariance [H, D, D] of the mixture of what lives."""
    sigma = splats.covariance
    mass = splats.log_amplitude.exp() * torch.linalg.det(2 * math.pi * sigma).sqrt()
    mass = mass * splats.alive
    share = mass / mass.sum(1, keepdim=True)
    mean = torch.einsum("hk,hkd->hd", share, splats.mean)
    delta = splats.mean - mean[:, None]
    sigma = sigma + delta[..., None] * delta[..., None, :]
    return mass.sum(1), mean, torch.einsum("hk,hkde->hde", share, sigma)


def kept_covariance(kind: str, sigma: Tensor) -> Tensor:
    """The part of a covariance that edits of this kind promise to keep."""
    if kind == "scalar":
        return sigma.diagonal(dim1=-2, dim2=-1).sum(-1)
    return sigma


@pytest.mark.parametrize("kind", KINDS)
def test_masses_and_determinants_are_those_of_the_dense_covariance(kind):
    splats = make(kind)
    assert_close(log_determinant(splats), torch.linalg.slogdet(splats.covariance).logabsdet)
    dense = splats.log_amplitude.exp() * torch.linalg.det(2 * math.pi * splats.covariance).sqrt()
    assert_close(log_mass(splats).exp(), dense)


@pytest.mark.parametrize("spread", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_a_split_keeps_mass_mean_and_covariance(kind, spread):
    splats = make(kind)
    # A head that splits two into its two empty slots, and one that splits one.
    edit = split(splats, slots((0, 0), (0, 5), (1, 7)), spread=spread)
    before, after = dense_moments(splats), dense_moments(edit.splats)
    assert_close(after[0], before[0])
    assert_close(after[1], before[1])
    assert_close(kept_covariance(kind, after[2]), kept_covariance(kind, before[2]))
    assert (edit.splats.mean[0, 0] - splats.mean[0, 0]).abs().max() > 0.05 * spread


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_takes_the_first_empty_slots_and_tells_so(kind):
    splats = make(kind)
    edit = split(splats, slots((0, 0), (0, 5), (1, 7)))
    assert edit.source[0].tolist() == [0, 1, 2, 0, 4, 5, 5, 7]
    assert edit.source[1].tolist() == [0, 1, 2, 7, 4, 5, 6, 7]
    assert edit.splats.alive[0].all()
    assert edit.splats.alive[1].tolist() == [True] * 6 + [False, True]
    assert_bit_equal(edit.splats.mean[0, [1, 2, 4, 7]], splats.mean[0, [1, 2, 4, 7]])
    mass = log_mass(edit.splats).exp()
    assert_close(mass[0, [0, 3]], log_mass(splats).exp()[0, [0, 0]] / 2)


def test_golden_a_line_is_cut_across_its_length():
    """Variance 4 along x: halves at -+1 with variance 3, each with half of the mass."""
    splats = Splats(
        kind="full",
        mean=torch.tensor([[[1.0, 2.0], [9.0, 9.0]]], dtype=torch.float64),
        scale=torch.tensor([[[2.0, 1.0], [1.0, 1.0]]], dtype=torch.float64),
        log_amplitude=torch.zeros(1, 2, dtype=torch.float64),
        alive=torch.tensor([[True, False]]),
        factor=torch.zeros(1, 2, 2, 2, dtype=torch.float64),
    )
    halves = split(splats, torch.tensor([[True, False]]), spread=0.5).splats
    assert sorted(halves.mean[0, :, 0].tolist()) == pytest.approx([0.0, 2.0])
    assert halves.mean[0, :, 1].tolist() == pytest.approx([2.0, 2.0])
    expected = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert_close(halves.covariance[0], expected.expand(2, 2, 2))
    # a sqrt(det) / 2 = 1 * 2 / 2 over sqrt(3)
    assert halves.log_amplitude.exp()[0].tolist() == pytest.approx([1 / math.sqrt(3)] * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_undoes_a_split(kind):
    splats = make(kind)
    if kind == "low_rank":  # cut along F: the widest coordinate is no column of F to return to
        splats = replace(splats, scale=0.1 * splats.scale)
    halves = split(splats, slots((0, 2), (1, 4))).splats
    edit = merge(halves, torch.tensor([[[2, 3]], [[4, 3]]]))
    assert_close(edit.splats.mean, torch.where(splats.alive[..., None], splats.mean, halves.mean))
    index = (torch.tensor([0, 1]), torch.tensor([2, 4]))
    assert_close(edit.splats.covariance[index], splats.covariance[index])
    assert_close(edit.splats.log_amplitude[index], splats.log_amplitude[index])
    assert_bit_equal(edit.splats.alive, splats.alive)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merge_keeps_mass_mean_and_what_the_kind_can_hold_of_the_covariance(kind):
    splats = make(kind)
    only = [0, 1]
    lonely = replace(splats, alive=slots((0, 0), (0, 1), (1, 0), (1, 1)))
    edit = merge(splats, torch.tensor([[[0, 1], [-1, -1]], [[1, 0], [5, 7]]]))
    kept = replace(edit.splats, alive=slots((0, 0), (1, 1)))
    before, after = dense_moments(lonely), dense_moments(kept)
    assert_close(after[0], before[0])
    assert_close(after[1], before[1])
    if kind == "full":
        assert_close(after[2], before[2])
    elif kind == "scalar":
        assert_close(kept_covariance(kind, after[2]), kept_covariance(kind, before[2]))
    else:
        diagonals = [m.diagonal(dim1=-2, dim2=-1) for m in (after[2], before[2])]
        assert_close(*diagonals)
        assert (after[2] - before[2]).abs().max() > 1e-3, "nothing was lost, so nothing is tested"
    assert edit.splats.alive[:, only].tolist() == [[True, False], [False, True]]
    assert not edit.splats.alive[1, 7]


def test_a_low_rank_merge_loses_less_than_a_diagonal_one():
    splats = make("low_rank")
    pairs = torch.tensor([[[0, 1]], [[4, 5]]])
    merged = merge(splats, pairs).splats.covariance[torch.arange(H), pairs[:, 0, 0]]
    full = merge(as_full(splats), pairs).splats.covariance[torch.arange(H), pairs[:, 0, 0]]
    diagonal = torch.diag_embed(full.diagonal(dim1=-2, dim2=-1))
    lost = (merged - full).square().sum((-2, -1))
    assert (lost < 0.5 * (diagonal - full).square().sum((-2, -1))).all()


def as_full(splats: Splats) -> Splats:
    lower = torch.linalg.cholesky(splats.covariance)
    scale = lower.diagonal(dim1=-2, dim2=-1)
    return replace(splats, kind="full", scale=scale, factor=lower.tril(-1))


def test_a_low_rank_splat_without_a_factor_or_with_rank_above_its_width_can_be_edited():
    for rank in (0, D + 2):
        splats = make("low_rank")
        splats = replace(splats, factor=torch.zeros(H, K, D, rank, dtype=torch.float64))
        halves = split(splats, slots((0, 0), (1, 0))).splats
        assert_close(dense_moments(halves)[2], dense_moments(splats)[2])
        merged = merge(halves, torch.tensor([[[0, 3]], [[3, 0]]])).splats
        assert merged.factor is not None
        assert merged.factor.shape == (H, K, D, rank)
        assert_close(dense_moments(merged)[2], dense_moments(splats)[2])


def test_a_merge_goes_on_with_the_heavier():
    splats = make("diagonal")
    mass = log_mass(splats)
    edit = merge(splats, torch.tensor([[[0, 1]], [[1, 0]]]))
    heavier = mass[:, :2].argmax(1)
    assert edit.source[0, 0] == heavier[0]
    assert edit.source[1, 1] == heavier[1]
    assert edit.source[0, 1] == edit.source[1, 0] == -1
    assert edit.source[:, 2:].tolist() == [list(range(2, K))] * H


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["split", "merge", "death", "relocate"])
def test_permuting_splats_permutes_what_comes_out(kind, name):
    splats = make(kind)
    order = torch.tensor([5, 0, 3, 7, 1, 6, 2, 4])
    place = order.argsort()
    shuffled = splats.with_arrays({n: a[:, order] for n, a in splats.arrays().items()})
    which = slots((0, 0), (1, 5))
    pairs = torch.tensor([[[0, 1]], [[5, 7]]])
    points = torch.randn(H, K, D, dtype=torch.float64)

    def edited(values: Splats, which: Tensor, pairs: Tensor, points: Tensor) -> Splats:
        if name == "split":
            return split(values, which).splats
        if name == "merge":
            return merge(values, pairs).splats
        if name == "death":
            return death(values, which).splats
        return relocate(values, which, points, scale=0.5, amplitude=2.0).splats

    one = edited(splats, which, pairs, points)
    two = edited(shuffled, which[:, order], place[pairs], points[:, order])
    # As sets: a new half may lie in another of the empty slots.
    for head in range(H):
        rows = [torch.cat([s.mean, s.log_amplitude[..., None]], -1)[head] for s in (one, two)]
        living = [r[s.alive[head]] for r, s in zip(rows, (one, two), strict=True)]
        along = torch.tensor([1.0, 0.7, -0.4, 0.3, 0.1], dtype=torch.float64)
        assert_close(*[r[(r @ along).argsort()] for r in living])


@pytest.mark.parametrize("kind", KINDS)
def test_births_fill_what_deaths_emptied(kind):
    splats = make(kind, dead=())
    edit = death(splats, slots((0, 1), (0, 4), (1, 2)))
    assert edit.source[0].tolist() == [0, -1, 2, 3, -1, 5, 6, 7]
    points = torch.randn(H, 2, D, dtype=torch.float64)
    where = torch.tensor([[True, True], [False, True]])
    born = birth(edit.splats, points, scale=0.5, amplitude=2.0, where=where)
    assert born.splats.alive.all()
    assert_bit_equal(born.splats.mean[0, [1, 4]], points[0])
    assert_bit_equal(born.splats.mean[1, 2], points[1, 1])
    variance = born.splats.covariance[0, [1, 4]]
    assert_close(variance, (0.25 * torch.eye(D, dtype=torch.float64)).expand(2, D, D))
    assert_close(born.splats.log_amplitude[1, 2].exp(), torch.tensor(2.0, dtype=torch.float64))
    both = edit.then(born)
    assert both.source.tolist() == born.source.tolist()
    assert both.splats.arrays().keys() == splats.arrays().keys()
    for name, array in both.splats.arrays().items():
        assert array.shape == splats.arrays()[name].shape


def test_births_take_scales_of_their_own():
    splats = make("diagonal")
    points = torch.zeros(H, 1, D, dtype=torch.float64)
    wide = torch.arange(1.0, D + 1).expand(H, 1, D)
    edit = birth(splats, points, scale=wide, amplitude=torch.tensor([[1.0], [3.0]]))
    assert_bit_equal(edit.splats.scale[:, 3], wide[:, 0].double())
    assert_close(edit.splats.log_amplitude[:, 3].exp(), torch.tensor([1.0, 3.0]).double())
    edit = birth(splats, points, scale=torch.tensor([[2.0], [5.0]]), amplitude=1.0)
    assert edit.splats.scale[:, 3].tolist() == [[2.0] * D, [5.0] * D]


def test_relocated_splats_start_afresh_in_their_own_slots():
    splats = make("scalar")
    points = torch.randn(H, K, D, dtype=torch.float64)
    which = slots((0, 4), (0, 7), (1, 0))
    edit = relocate(splats, which, points, scale=0.5, amplitude=2.0)
    assert_bit_equal(edit.splats.mean[which], points[which])
    assert_bit_equal(edit.splats.mean[~which], splats.mean[~which])
    assert_bit_equal(edit.splats.alive, splats.alive)
    assert_bit_equal(edit.source == -1, which)


def test_edits_in_a_row_compose_their_maps():
    splats = make("full")
    first = death(splats, slots((0, 0)))
    second = split(first.splats, slots((0, 5), (1, 1)))
    third = merge(second.splats, torch.tensor([[[1, 2]], [[-1, -1]]]))
    total = first.then(second).then(third)
    assert total.source[0, 0] == 5, "the half of 5 in the slot of the dead 0"
    assert total.source[0, 2] == -1
    assert total.source[1].tolist() == [0, 1, 2, 1, 4, 5, 6, 7]
    assert_bit_equal(no_edit(splats).then(first).source, first.source)


def test_edits_leave_their_argument_alone():
    splats = make("low_rank")
    copy = splats.detached()
    split(splats, slots((0, 0)))
    merge(splats, torch.tensor([[[0, 1]], [[0, 1]]]))
    death(splats, slots((0, 0)))
    birth(splats, torch.zeros(H, 1, D), scale=1.0, amplitude=1.0)
    relocate(splats, slots((0, 0)), torch.zeros(H, K, D), scale=1.0, amplitude=1.0)
    for name, array in splats.arrays().items():
        assert_bit_equal(array, copy.arrays()[name])


def test_a_scalar_split_parts_where_the_centres_vary_most():
    splats = make("scalar")
    splats.mean[..., 2] *= 10
    splats.mean[:, list(DEAD), 1] = 1e6  # the empty do not count
    edit = split(splats, slots((0, 0), (1, 1)))
    moved = (edit.splats.mean[0, 0] - splats.mean[0, 0]).abs()
    assert moved.argmax() == 2
    assert moved[[0, 1, 3]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("splats", lambda s: split(s, slots((0, 0), (0, 1), (0, 2)))),
        ("splats", lambda s: birth(s, torch.zeros(H, 3, D), scale=1.0, amplitude=1.0)),
        ("which", lambda s: split(s, slots((0, 3)))),
        ("which", lambda s: split(s, slots((0, 0)).long())),
        ("which", lambda s: relocate(s, slots((0, 3)), s.mean, scale=1.0, amplitude=1.0)),
        ("spread", lambda s: split(s, slots((0, 0)), spread=1.0)),
        ("dead", lambda s: death(s, torch.zeros(H, K - 1, dtype=torch.bool))),
        ("points", lambda s: birth(s, torch.zeros(H, 1, D + 1), scale=1.0, amplitude=1.0)),
        ("points", lambda s: relocate(s, slots(), s.mean[:, :2], scale=1.0, amplitude=1.0)),
        ("where", lambda s: birth(s, s.mean[:, :1], scale=1, amplitude=1, where=slots())),
        ("scale", lambda s: birth(s, s.mean[:, :1], scale=0.0, amplitude=1.0)),
        ("scale", lambda s: birth(s, s.mean[:, :1], scale=torch.ones(H, 4), amplitude=1.0)),
        ("amplitude", lambda s: birth(s, s.mean[:, :1], scale=1.0, amplitude=-1.0)),
        ("pairs", lambda s: merge(s, torch.tensor([[[0, 0]], [[0, 1]]]))),
        ("pairs", lambda s: merge(s, torch.tensor([[[0, 1], [1, 2]], [[0, 1], [-1, -1]]]))),
        ("pairs", lambda s: merge(s, torch.tensor([[[0, 3]], [[0, 1]]]))),
        ("pairs", lambda s: merge(s, torch.tensor([[[0, K]], [[0, 1]]]))),
        ("pairs", lambda s: merge(s, torch.tensor([[[0, -1]], [[0, 1]]]))),
        ("pairs", lambda s: merge(s, torch.tensor([[0, 1], [0, 1]]))),
        ("source", lambda s: Edit(splats=s, source=torch.zeros(H, K))),
        ("source", lambda s: Edit(splats=s, source=torch.full((H, K), K))),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(name, call):
    with pytest.raises(ArgumentError) as caught:
        call(make("diagonal"))
    assert caught.value.name == name
