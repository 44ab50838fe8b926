"""Golden values, laws and gradients of positive definite matrices."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.geometry import (
    PositiveDefinite,
    frechet_mean,
    point_between,
)
from adaptive_attention_tiling.mathematics.linalg import matrix_log, symmetric_part

F64 = torch.float64
A = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
B = torch.diag(torch.tensor([1.0, 3.0], dtype=F64))


def points(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*shape, shape[-1], generator=generator, dtype=F64)
    return a @ a.mT / shape[-1] + 0.3 * torch.eye(shape[-1], dtype=F64)


def tangents(*shape, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return symmetric_part(torch.randn(*shape, shape[-1], generator=generator, dtype=F64))


def test_golden_distance():
    space = PositiveDefinite(2)
    assert space.distance(A, B).item() == pytest.approx(1.44644497489, abs=5e-12)
    eigenvalues = torch.linalg.eigvals(torch.linalg.solve(A, B)).real
    assert space.distance(A, B).item() == pytest.approx(eigenvalues.log().norm().item(), rel=1e-14)


@pytest.fixture(scope="module")
def pyriemann():
    return pytest.importorskip(
        "pyriemann", reason="pyriemann, of the oracles extra, is not installed"
    )


def test_golden_pyriemann_distance_riemann(pyriemann):
    from pyriemann.geometry.distance import distance_logeuclid, distance_riemann

    space = PositiveDefinite(2)
    assert distance_riemann(A.numpy(), B.numpy()) == pytest.approx(1.44644497489, abs=5e-12)
    x, y = points(6, 4), points(6, 4, seed=1)
    for ours, theirs in (
        (PositiveDefinite(4).distance, distance_riemann),
        (PositiveDefinite(4).log_euclidean_distance, distance_logeuclid),
    ):
        expected = [theirs(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
        torch.testing.assert_close(ours(x, y), torch.tensor(expected), rtol=1e-12, atol=0)
    assert space.distance(A, A).item() == 0


def test_pyriemann_maps_mean_and_geodesic(pyriemann):
    from pyriemann.geometry.geodesic import geodesic_riemann
    from pyriemann.geometry.mean import mean_riemann
    from pyriemann.geometry.tangentspace import exp_map_riemann, log_map_riemann

    space, x, v = PositiveDefinite(4), points(7, 4), tangents(7, 4)
    reference = x[0].numpy()
    log = log_map_riemann(x.numpy(), reference, C12=True)
    torch.testing.assert_close(space.log(x[0], x), torch.from_numpy(log), rtol=1e-11, atol=1e-11)
    exp = exp_map_riemann(v.numpy(), reference, Cm12=True)
    torch.testing.assert_close(space.exp(x[0], v), torch.from_numpy(exp), rtol=1e-10, atol=1e-10)
    half = geodesic_riemann(x[0].numpy(), x[1].numpy(), 0.3)
    torch.testing.assert_close(
        point_between(space, x[0], x[1], 0.3), torch.from_numpy(half), rtol=1e-11, atol=1e-11
    )
    weights = torch.arange(1.0, 8.0, dtype=F64)
    theirs = mean_riemann(x.numpy(), sample_weight=weights.numpy(), tol=1e-12, maxiter=200)
    ours = frechet_mean(space, x, weights, least_curvature=-0.5)
    torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-9, atol=1e-9)


def test_laws():
    space = PositiveDefinite(3)
    x, y, z = (points(20, 3, seed=s) for s in range(3))
    d, log = space.distance(x, y), space.log(x, y)
    torch.testing.assert_close(d, space.distance(y, x), rtol=1e-12, atol=0)
    assert (d <= space.distance(x, z) + space.distance(z, y) + 1e-12).all()
    torch.testing.assert_close(space.inner(x, log, log).sqrt(), d, rtol=1e-11, atol=0)
    torch.testing.assert_close(space.exp(x, log), y, rtol=1e-11, atol=1e-12)
    v, w = tangents(20, 3), tangents(20, 3, seed=6)
    torch.testing.assert_close(space.log(x, space.exp(x, v)), v, rtol=1e-8, atol=1e-9)
    moved = [space.transport(x, y, t) for t in (v, w)]
    torch.testing.assert_close(space.inner(y, *moved), space.inner(x, v, w), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(space.transport(y, x, moved[0]), v, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(space.transport(x, y, log), -space.log(y, x), rtol=1e-10, atol=1e-11)
    a = torch.randn(3, 3, generator=torch.Generator().manual_seed(7), dtype=F64)
    torch.testing.assert_close(space.distance(a @ x @ a.T, a @ y @ a.T), d, rtol=1e-10, atol=0)
    inverses = space.distance(torch.linalg.inv(x), torch.linalg.inv(y))
    torch.testing.assert_close(inverses, d, rtol=1e-11, atol=0)
    assert (space.log_euclidean_distance(x, y) <= d + 1e-12).all()  # flat, and not longer
    one = torch.eye(3, dtype=F64)
    torch.testing.assert_close(space.log_euclidean_distance(one, y), space.distance(one, y))


@pytest.mark.parametrize("step", [1e-4, 1e-10])
def test_near_matrices_keep_their_digits(step):
    space, x = PositiveDefinite(3), points(3)
    v = 0.1 * tangents(3)
    length = space.inner(x, v, v).sqrt().item()
    moved = space.exp(x, step * v)
    rounding = 1e-16 * 30 / (step * length)
    assert space.distance(x, moved).item() == pytest.approx(step * length, rel=rounding + 1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_points_far_below_are_as_far_as_those_above(dtype):
    """d(P, e^-t P) = t sqrt(m), both ways, where e^-t P - P is rounded to -P."""
    space, p = PositiveDefinite(2), A.to(dtype)
    close = {"rtol": 16 * torch.finfo(dtype).eps, "atol": 0}
    for t in (1.0, 10.0, 40.0):
        low, length = p * math.exp(-t), torch.tensor(t * math.sqrt(2), dtype=dtype)
        torch.testing.assert_close(space.distance(p, low), length, **close)
        torch.testing.assert_close(space.distance(low, p), length, **close)
        torch.testing.assert_close(space.log(p, low), -t * p, **close)
        torch.testing.assert_close(space.exp(p, -t * p), low, rtol=32 * close["rtol"], atol=0)


def test_matrices_of_size_one_are_the_line_of_logarithms():
    space = PositiveDefinite(1)
    x = torch.tensor([[0.5], [8.0], [4.0]], dtype=F64)[..., None]
    torch.testing.assert_close(space.distance(x[0], x[1]), torch.tensor(16.0, dtype=F64).log())
    mean = frechet_mean(space, x, least_curvature=-0.5)
    torch.testing.assert_close(mean, torch.tensor([[16.0 ** (1 / 3)]], dtype=F64))


def test_transport_is_what_the_connection_says():
    """Carried in many steps by dV = -Gamma(V, dx) in the chart."""
    space, steps = PositiveDefinite(2), 400
    x, y = points(2, 2)
    v = tangents(2)
    times = torch.linspace(0, 1, 2 * steps + 1, dtype=F64)[:, None, None]
    path = space.coordinates(space.exp(x, times * space.log(x, y)))
    gamma = space.christoffel_symbols(path[1::2])
    turn = torch.einsum("bkij,bi->bkj", gamma, path[2::2] - path[:-2:2])
    carried = space.coordinates(v)
    for one in turn:
        carried = carried - one @ (carried - one @ carried / 2)
    torch.testing.assert_close(
        space.from_coordinates(carried), space.transport(x, y, v), rtol=1e-4, atol=1e-5
    )


def test_chart_metric_and_curvature():
    space = PositiveDefinite(2)
    p = points(8, 2)
    x = space.coordinates(p)
    torch.testing.assert_close(space.from_coordinates(x), p, rtol=0, atol=0)
    v, w = tangents(8, 2), tangents(8, 2, seed=6)
    a, b = space.coordinates(v), space.coordinates(w)
    g = torch.einsum("bi,bij,bj->b", a, space.metric_matrix(x), b)
    torch.testing.assert_close(g, space.inner(p, v, w))
    k = space.sectional_curvature(x, a, b)
    assert ((k >= -0.5 - 1e-10) & (k <= 1e-10)).all()
    # K(V, W) = tr([V, W]^2) / 4 (|V|^2 |W|^2 - <V, W>^2) at the identity
    one = space.coordinates(torch.eye(2, dtype=F64)).expand(8, 3)
    bracket = v @ w - w @ v
    area = (v * v).sum((1, 2)) * (w * w).sum((1, 2)) - (v * w).sum((1, 2)).square()
    expected = (bracket @ bracket).diagonal(dim1=-2, dim2=-1).sum(-1) / 4 / area
    torch.testing.assert_close(
        space.sectional_curvature(one, a, b), expected, rtol=1e-9, atol=1e-11
    )
    plane = torch.tensor([[1.0, 0, -1], [0, 1, 0]], dtype=F64)  # traceless: the hyperbolic plane
    lowest = space.sectional_curvature(one[0], *plane).item()
    assert lowest == pytest.approx(-0.5, abs=1e-12)
    centre = torch.tensor([1.0, 0, 1], dtype=F64)
    assert space.sectional_curvature(one[0], centre, plane[1]).item() == pytest.approx(0, abs=1e-12)


GRADIENTS = {
    "apart": (points(2), points(2, seed=1)),
    "scaled": (torch.eye(2, dtype=F64), 2 * torch.eye(2, dtype=F64)),
    "equal": (points(2), points(2)),
    "at the identity": (torch.eye(2, dtype=F64), torch.eye(2, dtype=F64)),
}


def test_gradients():
    """First and second derivatives along symmetric matrices, at equal eigenvalues too."""
    space = PositiveDefinite(2)
    ends = zip(*GRADIENTS.values(), strict=True)
    x, y = (space.coordinates(torch.stack(end)).requires_grad_() for end in ends)
    v = torch.tensor([0.3, -0.1, 0.2], dtype=F64, requires_grad=True)
    zero = torch.zeros(3, dtype=F64, requires_grad=True)
    on = space.from_coordinates
    calls = [
        (lambda a, b: space.log(on(a), on(b)), (x, y)),
        (lambda a, t: space.exp(on(a), on(t)), (x, v)),
        (lambda a, t: space.exp(on(a), on(t)), (x, zero)),
        (lambda a, b, t: space.transport(on(a), on(b), on(t)), (x, y, v)),
        (lambda a, t: space.inner(on(a), on(t), on(t)), (x, v)),
        (space.metric_matrix, (x,)),
        (lambda a, b: space.distance(on(a[:2]), on(b[:2])), (x, y)),
        (lambda a, b: space.log_euclidean_distance(on(a[:2]), on(b[:2])), (x, y)),
    ]
    for function, inputs in calls:
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, atol=1e-5)


def test_equal_matrices_have_distance_zero_without_a_slope():
    space = PositiveDefinite(3)
    x = points(4, 3).requires_grad_()
    y = x.detach().clone().requires_grad_()
    d = space.distance(x, y)
    slopes = torch.autograd.grad(d.sum(), (x, y), create_graph=True)
    seconds = torch.autograd.grad(sum(s.sum() for s in slopes), (x, y))
    assert all((t == 0).all() for t in (d, *slopes, *seconds, space.log(x, y)))


def test_gradients_far_below():
    """Of the way by L^-1 Q L^-T and by e^A, one pair of a batch near and one far."""
    space, x = PositiveDefinite(2), points(2, 2)
    y = points(2, 2, seed=1) * torch.tensor([1.0, 1e-3], dtype=F64)[:, None, None]
    v = tangents(2, 2) - 3 * x * torch.tensor([0.0, 1.0], dtype=F64)[:, None, None]
    for function, inputs in (
        (lambda p, q: space.distance(*map(symmetric_part, (p, q))), (x, y)),
        (lambda p, q: space.log(*map(symmetric_part, (p, q))), (x, y)),
        (lambda p, q: space.exp(*map(symmetric_part, (p, q))), (x, v)),
    ):
        inputs = [a.clone().requires_grad_() for a in inputs]
        assert torch.autograd.gradcheck(function, inputs, eps=1e-7, atol=1e-4, rtol=1e-5)


def test_a_batch_is_its_rows_and_broadcasts():
    space = PositiveDefinite(3)
    x, y, v = points(2, 1, 3), points(3, 3, seed=1), tangents(2, 3, 3)
    for function, extra in [(space.distance, ()), (space.log, ()), (space.transport, (v,))]:
        rows = [
            torch.stack([function(a[0], b, *(e[i, j] for e in extra)) for j, b in enumerate(y)])
            for i, a in enumerate(x)
        ]
        torch.testing.assert_close(
            function(x, y, *extra), torch.stack(rows), rtol=1e-11, atol=1e-12
        )
        single = function(x.float(), y.float(), *(e.float() for e in extra)).double()
        torch.testing.assert_close(single, torch.stack(rows), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PositiveDefinite(2).distance(A, -B), "other: got smallest eigenvalue -3"),
        (lambda: PositiveDefinite(2).log(A - 3 * B, B), "point: got smallest eigenvalue -8.03"),
        (lambda: PositiveDefinite(2).exp(A, A.triu()), "tangent: got A - A.T up to 0.5"),
        (lambda: PositiveDefinite(3).distance(A, B), r"got shape \[2, 2\], expected \[\*b, 3, 3\]"),
        (lambda: PositiveDefinite(2).check_point(torch.nan * A), "point: got NaN"),
        (lambda: matrix_log(A - A), "smallest eigenvalue 0"),
    ],
)
def test_what_is_not_positive_definite_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
