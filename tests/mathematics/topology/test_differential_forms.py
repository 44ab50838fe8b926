import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology.differential_forms import (
    DifferentialForm,
    codifferential,
    exterior_derivative,
    hodge_star,
    integrate,
    interior_product,
    laplacian,
    lie_derivative,
    pullback,
    wedge,
)
from adaptive_attention_tiling.mathematics.topology.exterior_algebra import (
    compound,
    contraction,
    multi_indices,
    star_components,
    wedge_components,
)

DEGREES = [(n, k) for n in (2, 3, 4) for k in range(n + 1)]


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def random(seed, *shape):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def smooth_form(dimension, degree, seed):
    """Sines of linear functions plus quadratic ones: no component is constant."""
    size = len(multi_indices(dimension, degree))
    linear, square = random(seed, dimension, size), random(seed + 100, dimension, size)
    return DifferentialForm(
        degree, dimension, lambda x: torch.sin(x @ linear.to(x)) + x.square() @ square.to(x)
    )


def smooth_metric(dimension, seed):
    base = random(seed, dimension, dimension) / 3

    def metric(x):
        identity = torch.eye(dimension, dtype=x.dtype)
        factor = identity + base * torch.sin(x)[..., None, :]
        return factor @ factor.mT + identity

    return metric


def smooth_map(source, target, seed):
    matrix = random(seed, source, target)
    return lambda x: torch.sin(x @ matrix) + (x * x).sum(-1, keepdim=True) / 4


def zero(dimension, degree):
    size = len(multi_indices(dimension, degree))
    return lambda x: x.new_zeros(*x.shape[:-1], size)


def close(first, second, tolerance=1e-11):
    scale = 1 + second.abs().max() if second.numel() else 1
    assert (first - second).abs().sum() <= tolerance * scale


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_golden_d_of_d_is_zero(degree):
    """B7 d d = 0, on a 1-form and others."""
    form = smooth_form(4, degree, 1)
    points = random(2, 5, 4)
    assert exterior_derivative(form)(points).abs().max() > 0.1
    twice = exterior_derivative(exterior_derivative(form))(points)
    assert twice.abs().max() <= 2e-14


def test_golden_vector_calculus():
    """d is grad, curl and div; star and i_X are as in R^3."""
    gradient = exterior_derivative(DifferentialForm(0, 3, lambda x: x.prod(-1, keepdim=True)))
    assert gradient(torch.tensor([2.0, 3.0, 5.0])).tolist() == [15, 10, 6]
    turning = DifferentialForm(
        1, 3, lambda x: torch.stack([-x[..., 1], x[..., 0], 0 * x[..., 2]], -1)
    )
    assert exterior_derivative(turning)(torch.ones(3)).tolist() == [2, 0, 0]  # e12, e13, e23
    star = hodge_star(exterior_derivative(turning), torch.eye(3))
    assert star(torch.ones(3)).tolist() == [0, 0, 2]
    radial = DifferentialForm(1, 3, lambda x: x * 1.0)
    assert codifferential(radial, torch.eye(3))(torch.ones(3)).tolist() == [-3]
    assert interior_product(lambda x: x, exterior_derivative(turning))(
        torch.tensor([1.0, 2.0, 3.0])
    ).tolist() == [-4, 2, 0]


def test_golden_laplace_beltrami_on_the_sphere():
    """Y = cos theta sin theta e^{i phi} (real part) has eigenvalue l (l + 1) = 6."""
    harmonic = DifferentialForm(
        0, 2, lambda x: torch.sin(x[..., :1]) * torch.cos(x[..., :1]) * torch.cos(x[..., 1:])
    )

    def sphere(x):
        one = torch.ones_like(x[..., 0])
        return torch.diag_embed(torch.stack([one, torch.sin(x[..., 0]).square()], -1))

    points = torch.tensor([[0.4, 1.0], [1.1, -2.0], [2.5, 0.3]], dtype=torch.float64)
    close(laplacian(harmonic, sphere)(points), 6 * harmonic(points))


@pytest.mark.parametrize(("n", "p", "q"), [(3, 1, 1), (3, 0, 2), (4, 1, 2), (4, 2, 2), (3, 2, 2)])
def test_law_wedge_and_leibniz(n, p, q):
    a, b, c = smooth_form(n, p, 3), smooth_form(n, q, 4), smooth_form(n, 1, 5)
    points = random(6, 4, n)
    close(wedge(a, b)(points), (-1) ** (p * q) * wedge(b, a)(points))
    close(wedge(wedge(a, b), c)(points), wedge(a, wedge(b, c))(points))
    d = exterior_derivative
    right = wedge(d(a), b) + (-1.0) ** p * wedge(a, d(b))
    close(d(wedge(a, b))(points), right(points))


@pytest.mark.parametrize(("m", "n", "k"), [(2, 3, 0), (2, 3, 1), (3, 3, 2), (4, 3, 2), (3, 4, 1)])
def test_law_pullback_commutes_with_d_and_wedge(m, n, k):
    map_, form, other = smooth_map(m, n, 7), smooth_form(n, k, 8), smooth_form(n, 1, 9)
    points = random(10, 4, m)
    d = exterior_derivative
    close(pullback(map_, d(form), m)(points), d(pullback(map_, form, m))(points))
    product = wedge(pullback(map_, form, m), pullback(map_, other, m))
    close(pullback(map_, wedge(form, other), m)(points), product(points))


@pytest.mark.parametrize(("n", "k"), [(n, k) for n, k in DEGREES if n < 4 and k])
def test_law_interior_products(n, k):
    field, form, other = smooth_map(n, n, 11), smooth_form(n, k, 12), smooth_form(n, 1, 13)
    points = random(14, 4, n)

    def inner(w):
        return interior_product(field, w)

    if k > 1:
        close(inner(inner(form))(points), zero(n, k - 2)(points))
    right = wedge(inner(form), other) + (-1.0) ** k * wedge(form, inner(other))
    close(inner(wedge(form, other))(points), right(points))


@pytest.mark.parametrize(("n", "k"), [(2, 0), (2, 1), (3, 1), (3, 2), (3, 3)])
def test_law_lie_derivative_is_the_change_along_the_flow(n, k):
    """For a linear field X = A x the flow is exp(t A) x: d/dt of the pullback at t = 0."""
    generator, form, points = random(15, n, n), smooth_form(n, k, 16), random(17, 3, n)
    step = 1e-4

    def field(x):
        return x @ generator.mT

    def pulled(t):
        flow = torch.linalg.matrix_exp(t * generator)
        return pullback(lambda x: x @ flow.mT, form, n)(points)

    change = (8 * (pulled(step) - pulled(-step)) - pulled(2 * step) + pulled(-2 * step)) / 12 / step
    close(lie_derivative(field, form)(points), change, 1e-9)


@pytest.mark.parametrize(("n", "k"), DEGREES)
def test_law_hodge_star(n, k):
    metric, points = smooth_metric(n, 18), random(19, 4, n)
    a, b = smooth_form(n, k, 20), smooth_form(n, k, 21)
    twice = hodge_star(hodge_star(a, metric), metric)
    close(twice(points), (-1) ** (k * (n - k)) * a(points))
    close(wedge(a, hodge_star(b, metric))(points), wedge(b, hodge_star(a, metric))(points))
    g = metric(points)
    # The reference: raise every index of the full antisymmetric arrays.
    inverse, total = torch.linalg.inv(g), 0
    indices = multi_indices(n, k)
    for i, first in enumerate(indices):
        for j, second in enumerate(indices):
            minor = inverse[:, first][:, :, second]
            total = total + a(points)[:, i] * b(points)[:, j] * torch.linalg.det(minor)
    volume = torch.linalg.det(g).sqrt()
    close(wedge(a, hodge_star(b, metric))(points)[:, 0], total * volume)


@pytest.mark.parametrize(("n", "k"), [(2, 0), (2, 1), (3, 0), (3, 1)])
def test_law_codifferential_is_adjoint(n, k):
    """The integral of <d a, b> - <a, delta b> over a torus of periodic forms is 0."""

    def periodic(degree, seed):
        size = len(multi_indices(n, degree))
        phases = random(seed, n, size)
        return DifferentialForm(degree, n, lambda x: torch.sin(x[..., :, None] + phases).sum(-2))

    def metric(x):
        return torch.diag_embed(1.5 + torch.sin(x + x.roll(1, -1)) / 2)

    a, b = periodic(k, 22), periodic(k + 1, 23)
    left = wedge(exterior_derivative(a), hodge_star(b, metric))
    right = wedge(a, hodge_star(codifferential(b, metric), metric))
    count = 20
    axis = torch.arange(count, dtype=torch.float64) * 2 * math.pi / count
    points = torch.stack(torch.meshgrid(*[axis] * n, indexing="ij"), -1).reshape(-1, n)
    both = [each(points).mean() for each in (left, right)]
    assert abs(both[0] - both[1]) < 1e-5 * abs(both[0])
    assert abs(both[0]) > 1e-3


@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 1), (3, 2)])
def test_law_stokes(n, k):
    """The integral of d w over a curved cell is that of w over its boundary."""
    form, chart = smooth_form(n, k, 24), smooth_map(k + 1, n, 25)
    lower, upper = (
        torch.zeros(k + 1).double(),
        0.5 + torch.rand(k + 1, generator=seeded(26)).double(),
    )
    inside = integrate(exterior_derivative(form), chart, lower, upper, order=16)
    total = 0
    for axis in range(k + 1):
        rest = [i for i in range(k + 1) if i != axis]
        for corner, sign in ((upper, 1), (lower, -1)):

            def side(x, axis=axis, value=corner[axis]):
                parts = [*x.unbind(-1)]
                parts.insert(axis, value.expand(x.shape[:-1]))
                return chart(torch.stack(parts, -1))

            total = total + (-1) ** axis * sign * integrate(
                form, side, lower[rest], upper[rest], 16
            )
    close(inside, total, 1e-10)
    assert abs(inside) > 1e-2


def test_pair_components_and_loops():
    matrix = random(27, 2, 4, 5)
    for k in range(5):
        minors = compound(matrix, k)
        for i, rows in enumerate(multi_indices(4, k)):
            for j, columns in enumerate(multi_indices(5, k)):
                expected = torch.linalg.det(matrix[:, rows][:, :, columns]) if k else torch.ones(2)
                close(minors[:, i, j], expected)
    form, points = smooth_form(3, 1, 28), random(29, 2, 3, 3)
    d = exterior_derivative(form)
    whole = laplacian(form, smooth_metric(3, 30))(points)
    for i in range(2):
        for j in range(3):
            close(d(points)[i, j], d(points[i, j]))
            close(whole[i, j], laplacian(form, smooth_metric(3, 30))(points[i, j]))


def test_gradients():
    points, weight = random(31, 1, 2).requires_grad_(), random(32, 2, 2).requires_grad_()

    def second_order(x, w):
        form = DifferentialForm(1, 2, lambda y: torch.sin(y @ w))

        def metric(y):
            return torch.eye(2, dtype=y.dtype) + w @ w.mT + y[..., None] * y[..., None, :]

        return laplacian(form, metric)(x)

    assert torch.autograd.gradcheck(second_order, (points, weight))
    components = random(33, 1, 3).requires_grad_()
    vector = random(34, 1, 3).requires_grad_()
    factor = random(35, 1, 3, 3).requires_grad_()

    def algebra(a, v, f):
        metric = f @ f.mT + torch.eye(3, dtype=f.dtype)
        one = wedge_components(star_components(a, 2, metric), v, 3, 1, 1)
        return contraction(v, one, 2) + compound(f, 2).sum(-1)

    assert torch.autograd.gradcheck(algebra, (components, vector, factor))
    assert torch.autograd.gradgradcheck(algebra, (components, vector, factor))


def test_float32_stays():
    form = smooth_form(3, 1, 36)
    assert laplacian(form, torch.eye(3))(torch.ones(2, 3)).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DifferentialForm(-1, 2, zero(2, 0)), "degree: got -1 on R"),
        (lambda: DifferentialForm(1, 2, zero(2, 0))(torch.ones(2)), r"floating \[..., 2\]"),
        (lambda: smooth_form(2, 1, 0)(torch.ones(3)), r"points: got shape \[3\]"),
        (
            lambda: wedge(smooth_form(2, 1, 0), smooth_form(3, 1, 0)),
            r"second: got degree 1 on R\^3",
        ),
        (lambda: smooth_form(2, 1, 0) + smooth_form(2, 2, 0), "second: got degree 2"),
        (lambda: interior_product(lambda x: x, smooth_form(2, 0, 0)), "form: got degree 0"),
        (lambda: codifferential(smooth_form(2, 0, 0), torch.eye(2)), "form: got degree 0"),
        (
            lambda: hodge_star(smooth_form(2, 1, 0), torch.diag(torch.tensor([1.0, -1.0])))(
                torch.ones(2)
            ),
            "metric: got a matrix that is not positive definite",
        ),
        (
            lambda: codifferential(smooth_form(2, 1, 0), lambda x: torch.zeros(2, 2).to(x))(
                torch.ones(2)
            ),
            "not positive definite",
        ),
        (
            lambda: integrate(smooth_form(2, 1, 0), lambda x: x, torch.zeros(2), torch.ones(2)),
            "lower: got shapes",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
