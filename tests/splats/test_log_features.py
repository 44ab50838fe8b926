"""Log features against the plain formula, and at the edges of what numbers hold."""

import pytest
import torch

from adaptive_attention_tiling.splats import KINDS, Bounds, SplatField, Splats
from adaptive_attention_tiling.testing import assert_close

HEADS, COUNT, WIDTH = 2, 5, 3


def make(kind, *, dtype=torch.float64, background=1e-3, norm_factor=None, dead=(), bounds=None):
    wide = (HEADS, COUNT, WIDTH)
    factor = None
    if kind == "low_rank":
        factor = torch.randn(*wide, 2, dtype=dtype)
    elif kind == "full":
        factor = torch.randn(*wide, WIDTH, dtype=dtype)
    alive = torch.ones(HEADS, COUNT, dtype=torch.bool)
    for head, slot in dead:
        alive[head, slot] = False
    splats = Splats(
        kind=kind,
        mean=2 * torch.randn(wide, dtype=dtype) + 1,
        scale=0.5 + torch.rand(wide[:2] if kind == "scalar" else wide, dtype=dtype),
        factor=factor,
        log_amplitude=torch.randn(HEADS, COUNT, dtype=dtype),
        alive=alive,
    )
    return SplatField(splats, background=background, norm_factor=norm_factor, bounds=bounds)


def plain(field, x):
    """The formula itself, in float64, with an inverse matrix for every splat."""
    splats = field.splats()
    inverse = torch.linalg.inv(splats.covariance.double())
    gap = x.double()[:, :, :, None] - splats.mean.double()[:, None]
    distance = torch.einsum("bhtkd,hkde,bhtke->bhtk", gap, inverse, gap)
    logs = 0.5 * splats.log_amplitude.double()[:, None] - 0.5 * distance
    logs = logs.masked_fill(~splats.alive[:, None], -torch.inf)
    if field.has_background:
        last = 0.5 * field.log_background.double()[:, None, None]
        logs = torch.cat([logs, last.expand(*logs.shape[:-1], 1)], -1)
    if field.norm_factor is not None:
        kappa = field.norm_factor.double()[:, None, None]
        logs = logs + 0.5 * kappa * x.double().square().sum(-1, keepdim=True)
    return logs


@pytest.mark.parametrize("norm_factor", [None, 0.3])
@pytest.mark.parametrize("background", [None, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_log_features_are_the_formula(kind, dtype, background, norm_factor):
    field = make(kind, dtype=dtype, background=background, norm_factor=norm_factor, dead=[(0, 1)])
    x = torch.randn(2, HEADS, 7, WIDTH, dtype=dtype)
    assert_close(field.log_features(x), plain(field, x).to(dtype), row="contract")


def test_golden_scalar_splat():
    """a = 4, s = 2, x - mu = (2, 4): 1/2 log 4 - 20 / 8 = log 2 - 2.5."""
    field = SplatField.scalar(
        torch.tensor([[[1.0, -1.0]]]), torch.tensor([[2.0]]), torch.tensor([[4.0]]), background=None
    )
    logs = field.log_features(torch.tensor([[[[3.0, 3.0]]]]))
    assert_close(logs, torch.tensor([[[[0.6931472 - 2.5]]]]))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_points_and_of_every_parameter(kind):
    field = make(kind, norm_factor=0.2, dead=[(1, 0)])
    x = torch.randn(2, HEADS, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    names, values = zip(*field.named_parameters(), strict=True)

    def features(x, *values):
        logs = torch.func.functional_call(field, dict(zip(names, values, strict=True)), (x,))
        return logs.masked_fill(torch.isinf(logs), 0.0)

    field.forward = field.log_features
    assert torch.autograd.gradcheck(features, (x, *values))


@pytest.mark.parametrize("kind", KINDS)
def test_state_of_prepared_features_is_in_their_tensors(kind):
    """Gradients sent to `tensors` and from there to the parameters are those of the whole."""
    field, x = make(kind), torch.randn(1, HEADS, 4, WIDTH, dtype=torch.float64)
    weights = torch.randn(1, HEADS, 4, field.features, dtype=torch.float64)
    whole = torch.autograd.grad((field.log_features(x) * weights).sum(), list(field.parameters()))
    prepared = field.prepared()
    leaves = tuple(
        t.detach().requires_grad_() if t.is_floating_point() else t for t in prepared.tensors
    )
    (prepared.function(leaves, x) * weights).sum().backward()
    pairs = [
        (t, leaf.grad)
        for t, leaf in zip(prepared.tensors, leaves, strict=True)
        if t.requires_grad and leaf.grad is not None
    ]
    parts = torch.autograd.grad(
        [t for t, _ in pairs], list(field.parameters()), [grad for _, grad in pairs]
    )
    for part, expected in zip(parts, whole, strict=True):
        assert_close(part, expected, gradient=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_slot_weighs_nothing_and_has_no_gradient(kind):
    field = make(kind, dead=[(0, 2), (1, 4)])
    x = torch.randn(1, HEADS, 6, WIDTH, dtype=torch.float64, requires_grad=True)
    logs = field.log_features(x)
    assert (logs[:, 0, :, 2] == -torch.inf).all()
    assert (logs[:, 1, :, 4] == -torch.inf).all()
    torch.logsumexp(logs, -1).sum().backward()
    assert torch.isfinite(x.grad).all()
    for name, parameter in field.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        if name != "raw_background":
            assert (parameter.grad[0, 2] == 0).all(), name
            assert (parameter.grad[1, 4] == 0).all(), name


def test_a_field_of_empty_slots_and_a_background_reads_evenly():
    field = make("scalar", dead=[(h, k) for h in range(HEADS) for k in range(COUNT)])
    logs = field.log_features(torch.randn(1, HEADS, 4, WIDTH, dtype=torch.float64))
    assert torch.isfinite(torch.logsumexp(logs, -1)).all()


def test_the_background_is_last_and_the_same_everywhere():
    field = make("diagonal", background=torch.tensor([1e-2, 1e-4], dtype=torch.float64))
    last = field.log_features(10 * torch.randn(2, HEADS, 9, WIDTH, dtype=torch.float64))[..., -1]
    expected = 0.5 * torch.tensor([1e-2, 1e-4], dtype=torch.float64).log()
    assert_close(last, expected[:, None].expand_as(last))


def test_the_norm_factor_adds_half_of_it_times_the_square_norm():
    field = make("diagonal", norm_factor=torch.tensor([0.5, 2.0]))
    plain_field = SplatField(field.splats().detached(), background=1e-3)
    x = torch.randn(1, HEADS, 4, WIDTH, dtype=torch.float64)
    added = field.log_features(x) - plain_field.log_features(x)
    expected = x.square().sum(-1) * torch.tensor([0.25, 1.0])[:, None]
    assert_close(added, expected[..., None].expand_as(added))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_distant_points_give_no_nan_and_no_weight(kind, dtype):
    """With the narrowest deviations beside the widest, 1000 units from the centres."""
    field = make(kind, dtype=dtype, background=None)
    with torch.no_grad():
        field.raw_scale.copy_(torch.where(field.raw_scale > 0, 1e3, -1e3))
        if field.raw_factor is not None:
            field.raw_factor.mul_(30)
    x = 1e3 * torch.randn(2, HEADS, 50, WIDTH, dtype=dtype)
    x.requires_grad_()
    logs = field.log_features(x)
    assert not logs.isnan().any()
    ceiling = 0.5 * field.splats().log_amplitude[:, None]
    assert (logs <= ceiling + 1e-3).all(), float((logs - ceiling).max())
    torch.logsumexp(logs, -1).sum().backward()
    assert not x.grad.isnan().any()
    assert all(not p.grad.isnan().any() for p in field.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_accurate_far_from_the_origin(kind):
    field = make(kind, bounds=Bounds(mean=1e3))
    splats = field.splats().detached()
    moved = splats.with_arrays({**splats.arrays(), "mean": splats.mean + 100})
    field.set_splats(moved)
    x = 100 + torch.randn(1, HEADS, 5, WIDTH, dtype=torch.float64)
    expected = plain(field, x)
    actual = field.float().log_features(x.float()).double()
    # x and mu are rounded to 4e-6 each, and long distances multiply what that makes of them.
    assert ((actual - expected).abs() / expected.abs().clamp(min=1.0)).max() <= 1e-4


def test_a_thin_splat_stays_accurate_along_its_factor():
    """Sigma = 0.01 I + F F^T with |F| = 60: at 3 F, Sigma^-1 is a difference of large numbers.

    What rounding leaves is 1e-7 of |x|^2 / 0.01 = 3e6, and never a weight above the amplitude.
    """
    mean = torch.zeros(1, 1, WIDTH)
    scale = torch.full_like(mean, 0.1)
    factor = torch.full((1, 1, WIDTH, 1), 60 / WIDTH**0.5)
    field = SplatField.low_rank(mean, scale, factor, torch.ones(1, 1), background=None)
    steps = torch.linspace(-3, 3, 101)[:, None] * factor[0, 0, :, 0]
    logs = field.log_features(steps[None, None])
    assert (logs <= 0).all()
    assert (logs - plain(field, steps[None, None])).abs().max() < 1


@pytest.mark.parametrize("shape", [(2, 7, 3), (1, 3, 7, 3), (1, 2, 7, 4)])
def test_points_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"x: got shape .*\[B, 2, T, 3\]"):
        make("scalar").log_features(torch.zeros(shape, dtype=torch.float64))
