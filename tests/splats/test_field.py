"""SplatField: constrained values, round trips, and what it refuses."""

import copy
import math
import pickle

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.splats import KINDS, Bounds, SplatField, Splats
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

HEADS, COUNT, WIDTH = 2, 4, 3


def tensors(kind, dtype=torch.float32):
    wide = (HEADS, COUNT, WIDTH)
    factor = None
    if kind == "low_rank":
        factor = torch.randn(*wide, 2, dtype=dtype)
    elif kind == "full":
        factor = torch.randn(*wide, WIDTH, dtype=dtype).tril(-1)
    return Splats(
        kind=kind,
        mean=torch.randn(wide, dtype=dtype),
        scale=0.5 + torch.rand(wide[:2] if kind == "scalar" else wide, dtype=dtype),
        factor=factor,
        log_amplitude=torch.randn(HEADS, COUNT, dtype=dtype),
        alive=torch.tensor([[True, True, False, True], [True] * 4]),
    )


def assert_same_splats(actual, expected):
    assert actual.kind == expected.kind
    assert actual.arrays().keys() == expected.arrays().keys()
    for name, array in expected.arrays().items():
        assert_close(actual.arrays()[name], array, what=name)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_splats_go_in_and_come_out(kind, dtype):
    first, second = tensors(kind, dtype), tensors(kind, dtype)
    field = SplatField(first)
    assert_same_splats(field.splats(), first)
    field.set_splats(second)
    assert_same_splats(field.splats(), second)


@pytest.mark.parametrize("kind", KINDS)
def test_huge_steps_never_leave_the_bounds(kind):
    bounds = Bounds(mean=2.0, scale=(0.1, 3.0), amplitude=(1e-3, 100.0))
    splats = tensors(kind)
    arrays = splats.arrays() | {"mean": splats.mean.clamp(-1.5, 1.5)}
    field = SplatField(splats.with_arrays(arrays), background=1e-2, bounds=bounds)
    optimizer = torch.optim.SGD(field.parameters(), lr=1e6)
    x = torch.randn(3, HEADS, 8, WIDTH)
    for step in range(4):
        optimizer.zero_grad()
        sign = -1 if step % 2 else 1
        (sign * torch.logsumexp(field.log_features(x), -1).sum()).backward()
        optimizer.step()
        values = field.splats()
        assert (values.mean.abs() <= 2.0).all()
        assert ((values.scale >= 0.1 * (1 - 1e-6)) & (values.scale <= 3.0 * (1 + 1e-6))).all()
        for logs in (values.log_amplitude, field.log_background):
            assert ((logs >= math.log(1e-3) - 1e-5) & (logs <= math.log(100) + 1e-5)).all()
        if values.factor is not None:
            assert (values.factor.abs() <= 3.0).all()
        assert not field.log_features(x).isnan().any()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_values_at_their_bounds_can_be_set_again(kind, sign):
    """An edit reads and writes all values, also those that training drove to a bound."""
    field = SplatField(tensors(kind))
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.fill_(sign * 1e6)
    saturated = field.splats().detached()
    field.set_splats(saturated)
    again = field.splats()
    for name, array in saturated.arrays().items():
        assert torch.allclose(again.arrays()[name].float(), array.float(), rtol=1e-2), name
    assert all(torch.isfinite(parameter).all() for parameter in field.parameters())


@pytest.mark.parametrize("norm_factor", [None, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_round_trip(kind, norm_factor):
    field = SplatField(tensors(kind), norm_factor=norm_factor)
    other = SplatField(tensors(kind), norm_factor=None if norm_factor is None else 0.1)
    other.load_state_dict(field.state_dict())
    x = torch.randn(1, HEADS, 5, WIDTH)
    assert_bit_equal(other.log_features(x), field.log_features(x))
    assert "alive" in field.state_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_are_the_same_field(kind):
    field = SplatField(tensors(kind), norm_factor=0.5)
    x = torch.randn(1, HEADS, 5, WIDTH)
    for twin in (copy.deepcopy(field), pickle.loads(pickle.dumps(field))):
        assert_bit_equal(twin.log_features(x), field.log_features(x))
        with torch.no_grad():
            twin.raw_mean.add_(1.0)
        assert not torch.equal(twin.log_features(x), field.log_features(x))


def test_another_dtype_takes_everything_but_the_mask_along():
    field = SplatField(tensors("low_rank"), norm_factor=0.5).to(torch.float64)
    assert field.alive.dtype == torch.bool
    assert field.norm_factor.dtype == torch.float64
    assert field.log_features(torch.randn(1, HEADS, 5, WIDTH).double()).dtype == torch.float64


def test_full_takes_covariances():
    root = torch.randn(HEADS, COUNT, WIDTH, WIDTH, dtype=torch.float64)
    covariance = root @ root.mT + 0.1 * torch.eye(WIDTH, dtype=torch.float64)
    mean = torch.randn(HEADS, COUNT, WIDTH, dtype=torch.float64)
    field = SplatField.full(mean, covariance, torch.ones(HEADS, COUNT, dtype=torch.float64))
    assert_close(field.splats().covariance, covariance)


def test_sizes_and_what_a_print_tells():
    field = SplatField(tensors("diagonal"))
    assert (field.heads, field.count, field.width, field.features) == (HEADS, COUNT, WIDTH, 5)
    assert field.has_background
    assert field.bounded
    bare = SplatField(tensors("diagonal"), background=None, norm_factor=1.0)
    assert (bare.features, bare.has_background, bare.bounded) == (COUNT, False, False)
    assert bare.log_background is None
    assert "diagonal, heads=2, splats=4, width=3, without background" in repr(bare)


def refused(name, build):
    with pytest.raises(ArgumentError, match=f"^{name}: got ") as caught:
        build()
    assert caught.value.name == name


WIDE, FLAT = torch.zeros(HEADS, COUNT, WIDTH), torch.ones(HEADS, COUNT)
ONES = torch.ones_like(WIDE)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("kind", lambda: Splats(**{**vars(tensors("scalar")), "kind": "round"})),
        ("mean", lambda: SplatField.scalar(WIDE[0], FLAT, FLAT)),
        ("mean", lambda: SplatField.scalar(WIDE + 17, FLAT, FLAT)),
        ("mean", lambda: SplatField.scalar(WIDE + math.nan, FLAT, FLAT)),
        ("scale", lambda: SplatField.scalar(WIDE, ONES, FLAT)),
        ("scale", lambda: SplatField.diagonal(WIDE, FLAT, FLAT)),
        ("scale", lambda: SplatField.diagonal(WIDE, -ONES, FLAT)),
        ("scale", lambda: SplatField.diagonal(WIDE, 1e-3 * ONES, FLAT)),
        ("scale", lambda: SplatField.diagonal(WIDE, 1e3 * ONES, FLAT)),
        ("log_amplitude", lambda: SplatField.diagonal(WIDE, ONES, FLAT[0])),
        ("alive", lambda: Splats(**{**vars(tensors("scalar")), "alive": torch.ones(2)})),
        ("amplitude", lambda: SplatField.diagonal(WIDE, ONES, 0 * FLAT)),
        ("amplitude", lambda: SplatField.diagonal(WIDE, ONES, 1e6 * FLAT)),
        ("factor", lambda: Splats(**{**vars(tensors("scalar")), "factor": ONES})),
        ("factor", lambda: Splats(**{**vars(tensors("low_rank")), "factor": None})),
        ("factor", lambda: Splats(**{**vars(tensors("full")), "factor": ONES})),
        ("factor", lambda: SplatField.low_rank(WIDE, ONES, 65 * ONES[..., None], FLAT)),
        ("covariance", lambda: SplatField.full(WIDE, torch.zeros(2, 4, 3, 3), FLAT)),
        (
            "covariance",
            lambda: SplatField.full(WIDE, torch.eye(3) + torch.ones(2, 4, 3, 3).triu(1), FLAT),
        ),
        ("background", lambda: SplatField(tensors("scalar"), background=0.0)),
        ("background", lambda: SplatField(tensors("scalar"), background=1e9)),
        ("splats", lambda: SplatField(tensors("scalar")).set_splats(tensors("diagonal"))),
        ("scale", lambda: Bounds(scale=(2.0, 1.0))),
        ("amplitude", lambda: Bounds(amplitude=(0.0, 1.0))),
        ("mean", lambda: Bounds(mean=0.0)),
    ],
)
def test_what_is_refused_is_named(name, build):
    refused(name, build)


def test_what_is_kept_for_evaluation_follows_every_change():
    field = SplatField.random(heads=1, splats=3, width=2).eval()
    x = torch.randn(1, 1, 4, 2)
    with torch.no_grad():
        first = field.log_features(x)
        assert field.prepared() is field.prepared()
        field.raw_mean.add_(0.5)
        moved = field.log_features(x)
        assert not torch.equal(moved, first)
        field.load_state_dict(SplatField.random(heads=1, splats=3, width=2).state_dict())
        assert not torch.equal(field.log_features(x), moved)
        assert field.double().log_features(x.double()).dtype == torch.float64
    assert field.prepared() is not field.prepared()
    assert field.train().log_features(x.double()).requires_grad
