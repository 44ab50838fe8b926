import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import LearnedMetric, RiemannianStructure
from adaptive_attention_tiling.mathematics.geometry.jets import second_jet


def learned(dimension=3, **options):
    """With weights so large that the metric bends."""
    metric = LearnedMetric(dimension, hidden=11, **options).double()
    with torch.no_grad():
        for parameter in metric.parameters():
            parameter.mul_(2)
    return metric


def points(*batch, dimension=3):
    return torch.randn(*batch, dimension, dtype=torch.float64)


@pytest.mark.parametrize("rank", [None, 1])
def test_no_eigenvalue_is_below_epsilon(rank):
    """At 10,000 points; rounding is that of the largest eigenvalue."""
    metric = learned(4, rank=rank, epsilon=0.05)
    with torch.no_grad():
        values = torch.linalg.eigvalsh(metric(points(10_000, dimension=4)))
    assert bool((values[:, 0] >= 0.05 - 1e-15 * values[:, -1]).all())
    assert float(values[:, -1].max()) > 1
    if rank:  # the bound is met, so a lower one would not do
        assert float(values[:, 0].min()) < 0.05 + 1e-12


@pytest.mark.parametrize(("dimension", "rank"), [(2, 3), (3, 3), (5, 2)])
def test_closed_forms_are_what_forward_mode_gives(dimension, rank):
    """The jet, and R with its gradients by points and parameters."""
    metric, x = learned(dimension, rank=rank), points(2, 4, dimension=dimension).requires_grad_()
    for closed, exact in zip(metric.jet(x), second_jet(metric, x), strict=True):
        torch.testing.assert_close(closed, exact, rtol=0, atol=1e-13)
    inputs = [x, *metric.parameters()]
    weights = torch.randn(2, 4, dtype=torch.float64)
    plain = RiemannianStructure(metric, dimension)
    riemann = plain.curvature_tensor(x)
    exact = torch.einsum("...bd,...abad->...", metric(x).inverse(), riemann)
    gradients = torch.autograd.grad((exact * weights).sum(), inputs)
    scale = float(exact.detach().abs().max())
    for by in (
        metric.scalar_curvature,
        metric.structure().scalar_curvature,
        plain.scalar_curvature,
    ):
        found = by(x)
        torch.testing.assert_close(found, exact, rtol=0, atol=1e-13 * scale)
        for own, other in zip(
            torch.autograd.grad((found * weights).sum(), inputs), gradients, strict=True
        ):
            close = 1e-12 * max(scale, float(other.abs().max()))
            torch.testing.assert_close(own, other, rtol=0, atol=close)


def test_scalar_curvature_has_two_gradients():
    metric, x = learned(2), points(2, dimension=2).requires_grad_()
    module, parameters = Curvature(metric), dict(metric.named_parameters(prefix="metric"))

    def at(x, *values):
        return torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(at, (x, *parameters.values()))
    assert torch.autograd.gradgradcheck(at, (x, *(p.detach() for p in parameters.values())))


class Curvature(torch.nn.Module):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def forward(self, x):
        return self.metric.scalar_curvature(x)


def test_metric_and_distance_have_gradients():
    metric, x = learned(2), points(2, 2, dimension=2) * 0.3
    assert torch.autograd.gradcheck(metric, x.requires_grad_())
    assert torch.autograd.gradgradcheck(metric, x)
    start, end = x.detach()
    length = metric.structure().distance(start, end).sum()
    gradient = torch.autograd.grad(length, metric.outer.bias)[0]
    step = torch.randn_like(gradient)
    lengths = []
    with torch.no_grad():
        for sign in (1, -2):
            metric.outer.bias += sign * 1e-5 * step
            lengths.append(float(metric.structure().distance(start, end).sum()))
    assert (lengths[0] - lengths[1]) / 2e-5 == pytest.approx(float(gradient @ step), rel=1e-6)


def test_a_flat_metric_can_be_learnt():
    """Curvature is a loss like any other: here it falls by half and more in a few steps."""
    metric, x = LearnedMetric(2, hidden=8), torch.randn(32, 2)
    optimizer = torch.optim.Adam(metric.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        loss = metric.scalar_curvature(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension: got 0"),
        ({"dimension": 2, "hidden": 0}, "hidden: got 0"),
        ({"dimension": 2, "rank": 0}, "rank: got 0"),
        ({"dimension": 2, "epsilon": 0.0}, "epsilon: got 0.0, expected a number > 0"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ArgumentError, match=message):
        LearnedMetric(**options)
