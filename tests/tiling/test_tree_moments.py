"""Moments of a node are those of its tokens, at every height; low rank keeps what is largest."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close
from adaptive_attention_tiling.tiling.tree import NodeMoments, merged, moments_of_tokens
from adaptive_attention_tiling.tiling.tree.reference import reference_moments

D, E, LEAF, GROUP = 5, 3, 4, 3


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def tokens(sets: int, offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Of [1, sets] tiles; some tokens are padding, and every token of the first tile."""
    valid = torch.rand(1, sets, LEAF) < 0.7
    valid[:, 0] = False
    return normal(1, sets, LEAF, D) + offset, normal(1, sets, LEAF, E) + offset, valid


def grouped(moments: NodeMoments) -> NodeMoments:
    return moments.map(lambda x: x.unflatten(1, (-1, GROUP)))


def members(x: Tensor, valid: Tensor, per_node: int, node: int) -> Tensor:
    of = slice(node * per_node, (node + 1) * per_node)
    return x.flatten(1, 2)[0, of][valid.flatten()[of]]


def test_hand_worked():
    """Keys -1 and 3 about 1, values 0 and 2 about 1: variances 4, 2 times 1 across."""
    keys, values = torch.tensor([[-1.0], [3.0]]), torch.tensor([[0.0], [2.0]])
    of = moments_of_tokens(keys, values, torch.ones(2, dtype=torch.bool))
    assert (of.count, of.key, of.value, of.radius) == (2, 1, 1, 2)
    assert (of.covariance.item(), of.cross.item()) == (4, 2)
    assert of.variance(torch.tensor([3.0])) == (36, 36)
    assert of.tilt(torch.tensor([3.0])) == 6


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_parent_s_moments_are_those_of_its_tokens(offset):
    keys, values, valid = tokens(GROUP**3, offset)
    # What stands in padding does not matter.
    keys = torch.where(valid[..., None], keys, torch.inf)
    moments, per_node = moments_of_tokens(keys, values, valid), LEAF
    for height in range(4):
        if height:
            moments, per_node = merged(grouped(moments)), per_node * GROUP
        for node in range(moments.count.shape[1]):
            k, v = (members(x, valid, per_node, node) for x in (keys, values))
            at = moments.map(lambda x, node=node: x[0, node])
            assert at.count == len(k)
            if not len(k):
                assert not any(x.any() for x in vars(at).values())
                continue
            wanted = reference_moments(k, v)
            for got, expected in zip(
                (at.key, at.value, at.covariance, at.cross), wanted, strict=True
            ):
                assert_close(got, expected, row="special_case", what=f"height {height}")
            furthest = (k - wanted[0]).norm(dim=-1).max()
            assert at.radius >= furthest * (1 - 1e-12)
            assert at.radius <= furthest * (1 + 1e-12) or height
            assert at.radius <= ((len(k) - 1) * wanted[2].trace()).sqrt() * (1 + 1e-12)


def test_radius_of_a_union_follows_from_its_parts():
    """Sets of one token each: the radius is exact. Two far sets: distance of means plus radius."""
    keys = normal(1, GROUP, 1, D)
    one = moments_of_tokens(keys, keys, torch.ones(1, GROUP, 1, dtype=torch.bool))
    away = (keys[0, :, 0] - keys[0, :, 0].mean(0)).norm(dim=-1).max()
    assert_close(merged(grouped(one)).radius[0, 0], away, row="special_case")
    line = torch.tensor([-11.0, -9.0, 9.0, 11.0], dtype=torch.float64).view(1, 2, 2, 1)
    two = moments_of_tokens(line, line, torch.ones(1, 2, 2, dtype=torch.bool))
    assert merged(two).radius.item() == 11.0


def test_gradients_of_merged_moments_are_those_of_the_tokens():
    keys, values, _ = tokens(GROUP)
    leaves = [keys.requires_grad_(), values.requires_grad_()]
    at = merged(grouped(moments_of_tokens(*leaves, torch.ones(1, GROUP, LEAF, dtype=torch.bool))))
    wanted = reference_moments(*(x.flatten(0, 2) for x in leaves))
    got = [x[0, 0] for x in (at.key, at.value, at.covariance, at.cross)]
    weights = [normal(*x.shape) for x in wanted]
    sums = [
        sum((w * x).sum() for w, x in zip(weights, each, strict=True)) for each in (got, wanted)
    ]
    for fast, slow in zip(*(torch.autograd.grad(s, leaves) for s in sums), strict=True):
        assert_close(fast, slow, gradient=True)


def test_equal_keys_have_finite_gradients():
    keys = torch.ones(1, GROUP, LEAF, D, dtype=torch.float64, requires_grad=True)
    at = merged(grouped(moments_of_tokens(keys, keys, torch.ones(1, GROUP, LEAF).bool())))
    (gradient,) = torch.autograd.grad(at.radius.sum() + at.covariance.sum(), keys)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("rank", [0, 1, 3, D, D + 2])
def test_low_rank_bounds_the_variance_and_keeps_the_leading_part(rank):
    keys, values, _ = tokens(6)
    full = moments_of_tokens(keys, values, torch.ones(1, 6, LEAF, dtype=torch.bool))
    low = full.low_rank(rank)
    query = normal(200, 1, D) * 3
    exact, (held, bound) = full.variance(query)[0], low.variance(query)
    assert (held <= exact * (1 + 1e-12)).all()
    assert (bound >= exact * (1 - 1e-12)).all()
    eigenvalues = torch.linalg.eigvalsh(full.covariance).flip(-1)
    assert_close(low.variances, eigenvalues[..., :rank], row="special_case")
    if rank >= D:
        assert_close(held, exact, row="special_case")
        assert_close(low.tilt(query), full.tilt(query), row="special_case")
        assert not low.rest.any()
    else:
        assert_close(low.rest, eigenvalues[..., rank], row="special_case")
        assert (bound > held).any()
        # Attained along the first axis that is left out.
        axis = torch.linalg.eigh(full.covariance).eigenvectors[..., D - rank - 1]
        assert_close(low.variance(axis)[1], full.variance(axis)[0], row="special_case")


def test_low_rank_is_the_best_approximation():
    """Its error in the Frobenius norm is that of Eckart and Young."""
    keys, values, _ = tokens(1)
    full = moments_of_tokens(keys, values, torch.ones(1, 1, LEAF, dtype=torch.bool))
    low = full.low_rank(2)
    kept = low.axes.mT @ torch.diag_embed(low.variances) @ low.axes
    left = torch.linalg.eigvalsh(full.covariance)[..., : D - 2]
    assert_close((full.covariance - kept).norm(), left.norm(), row="special_case")
    assert_close(low.cross, full.cross @ low.axes.mT, row="special_case")


def test_sets_are_picked_and_joined():
    both = moments_of_tokens(*tokens(4))
    first, last = both.map(lambda x: x[:, :3]), both.map(lambda x: x[:, 3:])
    for name, x in vars(first.joined(last)).items():
        assert_bit_equal(x, getattr(both, name))
    picked = both.picked(torch.tensor([0]), torch.tensor([3]))
    assert_bit_equal(picked.covariance, both.covariance[:, 3])


@pytest.mark.parametrize("rank", [-1, 1.5, True])
def test_ranks_that_are_none(rank):
    with pytest.raises(ArgumentError, match="rank"):
        moments_of_tokens(*tokens(1)).low_rank(rank)
