import math
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    ScaleCohomology,
    beta_connection,
    beta_fixed_point,
    beta_fixed_points,
    beta_flow,
    block_connection,
    doubling_operator,
    feigenbaum_function,
    fixed_point,
    fixed_points,
    gauge_beta,
    ising_decimation,
    migdal_kadanoff,
    phi4_beta,
    renormalization_flow,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def mixing(k):
    """A block map of two couplings with a saddle at 0: eigenvalues 1.9 and 0.6, and curvature."""
    x, y = k.unbind(-1)
    return torch.stack([1.9 * x + 0.3 * y + 0.4 * x * y, 0.6 * y - 0.2 * x**2 + 0.1 * y**2], -1)


def test_every_fixed_point_of_migdal_and_kadanoff():
    starts = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
    found = fixed_points(migdal_kadanoff, starts)
    critical = 0.304688931718
    places = sorted(float(point.couplings) for point in found.points)
    assert places == pytest.approx([0.0, critical], abs=1e-11)
    assert bool(found.converged.all())
    assert set(found.reached.tolist()) == {0, 1}
    kinds = {round(float(p.couplings), 3): (p.stability, p.relevant) for p in found.points}
    assert kinds == {0.0: ("sink", 0), 0.305: ("source", 1)}
    sink = next(p for p in found.points if not p.relevant)
    assert float(sink.correlation_exponent) == math.inf


def test_starts_without_an_end_are_told_apart():
    def no_root_on_the_left(k):
        return k + torch.where(k > 0, 0.5 * (k - 1), 1.0 + k * k)

    found = fixed_points(no_root_on_the_left, real([[2.0], [0.4], [3.0]]))
    assert found.converged.tolist() == [True, True, True]
    assert len(found.points) == 1
    mixed = fixed_points(no_root_on_the_left, real([[-30.0], [2.0]]), steps=3)
    assert mixed.converged.tolist() == [False, True]
    assert mixed.reached.tolist() == [-1, 0]


def test_counts_of_directions():
    factors = real([3.0, 1.0, 0.5])
    point = fixed_point(lambda k: factors * k, real([0.1, 0.0, 0.2]), 3.0)
    assert (point.relevant, point.marginal, point.irrelevant) == (1, 1, 1)
    assert point.stability == "marginal"
    torch.testing.assert_close(point.exponents, factors.log() / math.log(3))
    saddle = fixed_point(mixing, real([0.1, 0.1]))
    assert saddle.stability == "saddle"
    barely = point._replace(exponents=real([1e-9, 0.0, -1e-9]))
    assert (barely.relevant, barely.marginal, barely.irrelevant) == (0, 3, 0)
    torch.testing.assert_close(saddle.eigenvalues.real, real([1.9, 0.6]))
    assert float(saddle.correlation_exponent) == pytest.approx(math.log(2) / math.log(1.9))


def test_points_nearer_than_a_distance_or_a_share_of_their_size_are_one():
    def pair(low, high):
        return lambda k: (k - low) * (k - high)

    for low, high, apart, count in ((0.1, 0.3, 0.25, 1), (0.1, 0.3, 0.15, 2), (8.0, 9.0, 0.2, 1)):
        starts = real([[low - 0.01], [high + 0.01]])
        assert len(beta_fixed_points(pair(low, high), starts, apart=apart).points) == count


def test_golden_one_loop_wilson_fisher():
    """B5: g* = 3 epsilon / (N + 8), 1/3 for N = 1 and epsilon = 1."""
    starts = torch.cartesian_prod(real([-0.2, 0.2]), real([0.0, 0.1, 0.6]))
    found = beta_fixed_points(lambda k: phi4_beta(k, 1.0, 1, 1), starts)
    gauss, wilson = sorted(found.points, key=lambda p: float(p.couplings[1]))
    torch.testing.assert_close(gauss.exponents, real([2.0, 1.0]))
    assert gauss.stability == "source"
    assert float(wilson.couplings[1]) == pytest.approx(0.333333333333, abs=1e-12)
    torch.testing.assert_close(wilson.exponents, real([2 - 1 / 3, -1.0]))
    assert (wilson.relevant, wilson.irrelevant, wilson.stability) == (1, 1, "saddle")
    for components in (2, 3, 7):
        point = beta_fixed_point(lambda k, n=components: phi4_beta(k, 0.5, n, 1), real([0, 0.3]))
        assert float(point.couplings[1]) == pytest.approx(1.5 / (components + 8), abs=1e-14)


def series_of_nu(components, count=8):
    """Coefficients in epsilon of nu, from exponents at small epsilon."""
    epsilons = [0.005 * (k + 1) for k in range(count)]
    rows = []
    for epsilon in epsilons:
        start = real([0.0, 3 * epsilon / (components + 8)])
        point = beta_fixed_point(lambda k, e=epsilon: phi4_beta(k, e, components), start)
        rows.append(point.correlation_exponent)
    powers = real(epsilons)[:, None] ** torch.arange(count)
    return torch.linalg.solve(powers, torch.stack(rows))


@pytest.mark.parametrize("components", [1, 2, 3])
def test_golden_wilson_fisher_nu_to_second_order(components):
    """B5: nu = 1/2 + 1/12 + 7/162 = 0.626543209877 for N = 1 and d = 3."""
    n = components
    c = series_of_nu(n)
    second = (n + 2) * (n * n + 23 * n + 60) / (8 * (n + 8) ** 3)
    assert float(c[1]) == pytest.approx((n + 2) / (4 * (n + 8)), abs=1e-7)
    assert float(c[2]) == pytest.approx(second, abs=1e-5)
    if n == 1:
        assert second == pytest.approx(7 / 162)
        assert float(c[:3].sum()) == pytest.approx(0.626543209877, abs=1e-5)
        assert float(c[0] + real(1 / 12 + 7 / 162)) == pytest.approx(0.626543209877, abs=1e-9)


def test_golden_b0_of_colour():
    """B5: b0 = 11 - 2 n_f / 3 = 7 for six flavours; b1 = 102 - 38 n_f / 3."""
    assert gauge_beta(3, 6) == (Fraction(7), Fraction(26))
    assert gauge_beta(3, 16).one_loop == Fraction(1, 3)
    assert gauge_beta(3, 17).one_loop < 0
    assert gauge_beta(2, 0) == (Fraction(22, 3), Fraction(136, 3))
    assert gauge_beta(2, 1).two_loops == Fraction(136, 3) - Fraction(49, 6)
    assert gauge_beta(3, 5).two_loops == Fraction(116, 3)


def test_coupling_of_colour_runs():
    one_loop = gauge_beta(3, 6)._replace(two_loops=Fraction(0))
    scales = torch.linspace(0, 4, 5, dtype=torch.float64)
    flow = beta_flow(one_loop, real([[0.01], [0.005]]), scales)
    wanted = 1 / (1 / real([[0.01], [0.005]]) - 14 * scales[:, None, None])
    torch.testing.assert_close(flow, wanted, rtol=1e-9, atol=0)
    with pytest.raises(ArgumentError, match="stop before a singularity"):
        beta_flow(one_loop, real([0.01]), real([0.0, 8.0]), 1e-5)
    # Sixteen flavours come to rest at -b0 / b1, seen towards large lengths.
    rest = beta_fixed_point(gauge_beta(3, 16), real([0.003]))
    assert float(1 / rest.couplings) == pytest.approx(302, abs=1e-9)
    assert rest.stability == "sink"
    far = beta_flow(gauge_beta(3, 16), real([0.003]), real([0.0, 6e3]), 1e-8)[-1]
    torch.testing.assert_close(far, rest.couplings, rtol=1e-5, atol=0)


def test_golden_feigenbaum_as_a_fixed_point_of_doubling():
    """B5: delta = 4.6692016091 is its only relevant eigenvalue; alpha = -2.5029078751."""
    start = torch.cat([feigenbaum_function(11), torch.zeros(2, dtype=torch.float64)])
    found = fixed_point(doubling_operator, start)
    assert found.relevant == 1
    assert float(found.eigenvalues[0].real) == pytest.approx(4.6692016091, abs=1e-9)
    alpha = 1 / (1 + found.couplings.sum())
    assert float(alpha) == pytest.approx(-2.5029078751, abs=5e-11)
    # Spectrum of the linear part: 1 / alpha^2 stands for a change of the unit of length.
    gaps = (found.eigenvalues.real - 1 / alpha.square()).abs()
    assert float(gaps.min()) < 1e-6
    batch = torch.stack([start, 1.01 * start])
    each = torch.stack([doubling_operator(row) for row in batch])
    torch.testing.assert_close(doubling_operator(batch), each, rtol=1e-14, atol=1e-15)
    assert torch.autograd.gradcheck(doubling_operator, start[:5].clone().requires_grad_())

    def g(c, x):
        return 1 + sum(c[k] * x ** (2 * k + 2) for k in range(len(c)))

    c = 0.9 * start
    for x in (0.1, 0.3):
        wanted = g(c, g(c, g(c, 1.0) * x)) / g(c, 1.0)
        assert float(g(doubling_operator(c), x)) == pytest.approx(float(wanted), abs=1e-11)


def test_connection_composes_and_is_the_derivative_of_the_flow():
    start = real([[0.3, -0.2], [0.05, 0.4]])
    both = block_connection(mixing, start, 1, 4)
    first, second = block_connection(mixing, start, 1, 2), block_connection(mixing, start, 2, 4)
    composed = first.then(second)
    torch.testing.assert_close(composed.matrix, both.matrix, rtol=1e-13, atol=1e-14)
    assert composed.log_scale == pytest.approx(both.log_scale) == pytest.approx(3 * math.log(2))
    # Flat: there and back is the identity, whichever way.
    back = block_connection(mixing, start, 4, 1)
    unit = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    torch.testing.assert_close(both.then(back).matrix, unit, rtol=0, atol=1e-12)
    assert back.log_scale == -both.log_scale
    assert torch.equal(block_connection(mixing, start, 2, 2).matrix, unit)
    for row, matrix in zip(start, both.matrix, strict=True):
        k = renormalization_flow(mixing, row, 1)[-1]
        slope = torch.func.jacrev(lambda x: renormalization_flow(mixing, x, 3)[-1])(k)
        torch.testing.assert_close(matrix, slope)
        single = block_connection(mixing, row, 1, 4)
        torch.testing.assert_close(single.matrix, matrix, rtol=1e-14, atol=1e-15)


def test_inverses_do_not_depend_on_the_batch():
    def faded(k):
        return torch.stack([k[..., 0], 1e-12 * k[..., 1]], -1)

    back = block_connection(faded, torch.ones(9000, 2, dtype=torch.float64), 1, 0)
    torch.testing.assert_close(back.matrix[7], real([[1.0, 0], [0, 1e12]]))


@pytest.mark.parametrize(("power", "dtype"), [(2, torch.float32), (3, torch.float64)])
def test_a_multiple_root_is_one_fixed_point(dtype, power):
    starts = torch.linspace(-0.4, 1.5, 5, dtype=dtype)[:, None]
    found = fixed_points(lambda k: k + (k - 0.5) ** power, starts)
    assert len(found.points) == 1
    assert bool(found.converged.all())
    assert float(found.points[0].couplings) == pytest.approx(0.5, abs=5e-3)


def test_observables_are_pulled_back():
    start = real([0.3, -0.2])
    connection = block_connection(mixing, start, 0, 3)

    def observable(k):
        return (k.sin() * real([1.0, 2.0])).sum(-1)

    place = start.clone().requires_grad_()
    (fine,) = torch.autograd.grad(observable(renormalization_flow(mixing, place, 3)[-1]), place)
    end = renormalization_flow(mixing, start, 3)[-1].requires_grad_()
    (coarse,) = torch.autograd.grad(observable(end), end)
    torch.testing.assert_close(connection.pull_back(coarse), fine)
    change = real([0.7, -1.1])
    pairing = (connection.transport(change) * coarse).sum()
    torch.testing.assert_close(pairing, (change * connection.pull_back(coarse)).sum())


def test_exponents_of_long_transport_are_scaling_dimensions():
    critical = fixed_point(migdal_kadanoff, real([0.3])).couplings
    found = block_connection(migdal_kadanoff, critical, 0, 5).exponents()
    assert float(found) == pytest.approx(0.747235718929, abs=1e-9)
    finer = block_connection(migdal_kadanoff, critical, 5, 0).exponents()
    torch.testing.assert_close(finer, -found)
    growth = block_connection(mixing, real([0.0, 0.0]), 0, 60, 2.0).exponents()
    wanted = real([math.log2(1.9), math.log2(0.6)])
    # Left and right eigenvectors of dR are not orthogonal, which fades as 1 / steps.
    torch.testing.assert_close(growth, wanted, rtol=0, atol=0.01)


def test_continuous_connection_is_the_ordered_exponential():
    def beta(k):
        return phi4_beta(k, 0.3, 1)

    start = real([[0.05, 0.1], [-0.02, 0.3]])
    whole = beta_connection(beta, start, 0.5, 1.5, 1e-7)
    first = beta_connection(beta, start, 0.5, 1.0, 1e-7)
    parts = first.then(beta_connection(beta, start, 1.0, 1.5, 1e-7))
    torch.testing.assert_close(parts.matrix, whole.matrix, rtol=1e-6, atol=1e-8)
    back = beta_connection(beta, start, 1.5, 0.5, 1e-7)
    unit = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    torch.testing.assert_close(whole.then(back).matrix, unit, rtol=0, atol=1e-6)
    at = beta_flow(beta, start, real([0.0, 0.5]))[-1]
    step = real([1e-5, -2e-5])
    ends = [beta_flow(beta, at + s * step, real([0.0, 1.0]))[-1] for s in (1, -1)]
    torch.testing.assert_close(whole.transport(step), (ends[0] - ends[1]) / 2, rtol=1e-6, atol=0)
    assert beta_connection(beta, start, 1.0, 1.0).matrix.equal(unit)
    # At a fixed point it is the exponential of one matrix.
    wilson = beta_fixed_point(beta, real([0.0, 0.15]))
    slope = torch.func.jacrev(beta)(wilson.couplings)
    there = beta_connection(beta, wilson.couplings, 0.0, 0.7, 1e-7)
    torch.testing.assert_close(there.matrix, torch.matrix_exp(0.7 * slope), rtol=1e-6, atol=1e-7)


def test_gradients_reach_what_maps_close_over():
    def transport(strength):
        def block_map(k):
            return torch.stack([strength * k[..., 0] + k[..., 1] ** 2, 0.5 * k[..., 1].sin()], -1)

        return block_connection(block_map, real([0.3, 0.2]), 0, 2).matrix

    assert torch.autograd.gradcheck(transport, real(1.4).requires_grad_())

    def exponents(epsilon):
        return beta_fixed_point(lambda k: phi4_beta(k, epsilon, 2), real([0.0, 0.1])).exponents

    assert torch.autograd.gradcheck(exponents, real(0.3).requires_grad_())
    flow = real([0.1, 0.2]).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda k: beta_flow(lambda x: phi4_beta(x, 1.0), k, real([0.0, 0.5])), flow, atol=1e-6
    )


def test_the_specification_in_one_object():
    start = real([[0.29], [0.32]])
    system = ScaleCohomology(start, block_map=migdal_kadanoff, steps=12)
    flow = system.renormalization_flow(lambda k: k.tanh()[..., 0])
    assert flow.couplings.shape == (13, 2, 1)
    torch.testing.assert_close(flow.values, flow.couplings.tanh()[..., 0])
    assert flow.log_scales[-1] == pytest.approx(12 * math.log(2))
    assert flow.resting.tolist() == [True, False]
    points = system.fixed_points(flow)
    critical = next(p for p in points if p.relevant)
    assert float(critical.exponents) == pytest.approx(0.747235718929, abs=1e-11)
    assert len(system.fixed_points(real([[0.3]]))) == 1
    assert len(system.fixed_points()) == len(points)
    connection = system.scale_connection(1, 3)
    composed = system.scale_connection(1, 2).then(system.scale_connection(2, 3))
    torch.testing.assert_close(connection.matrix, composed.matrix)
    (field,) = system.scale_invariants(critical)
    assert (field.name, float(field.weight)) == ("scaling field 0", pytest.approx(0.7472357))
    assert system.anomaly_polynomial([((1,), 1)]) == {(3,): Fraction(1, 6)}
    assert system.anomaly_polynomial([((3,), 1), ((4,), 1), ((5,), -1)], 2) == {}


def test_the_scale_of_one_object_reaches_its_parts():
    factors = real([2.0, 0.5])
    system = ScaleCohomology(real([0.1, 0.2]), block_map=lambda k: factors * k, scale=3.0)
    assert system.scale_connection(0, 2).log_scale == pytest.approx(2 * math.log(3))
    # A flow may have run to infinity.
    starts = real([[math.inf, 0.0], [0.1, 0.2], [math.nan, 1.0]])
    (origin,) = system.fixed_points(starts)
    torch.testing.assert_close(origin.exponents, factors.log() / math.log(3))


def test_the_specification_with_a_beta_function():
    def beta(k):
        return phi4_beta(k, 1.0, 1, 1)

    system = ScaleCohomology(real([0.0, 0.3]), beta=beta, scale=math.e, steps=12)
    flow = system.renormalization_flow()
    torch.testing.assert_close(flow.values, flow.couplings)
    assert float(flow.couplings[-1, 1]) == pytest.approx(1 / 3, abs=1e-5)
    found = {round(float(p.couplings[1]), 6) for p in system.fixed_points(flow)}
    assert 0.333333 in found
    torch.testing.assert_close(
        system.scale_connection(0.0, 1.0).matrix, beta_connection(beta, real([0, 0.3]), 0, 1).matrix
    )
    with pytest.raises(ArgumentError, match="a beta function has none"):
        system.free_energy(lambda k: k[..., 0], 2.0)


ONE = real([1.0])
MISUSED = {
    "starts": (lambda: fixed_points(migdal_kadanoff, ONE), r"starts: got shape \[1\]"),
    "apart": (lambda: fixed_points(migdal_kadanoff, ONE[None], apart=0.0), "apart: got 0.0"),
    "none": (
        lambda: fixed_points(lambda k: k + 1 + k**2, real([[0.3], [2]])),
        "starts: got 2 from",
    ),
    "components": (lambda: phi4_beta(real([0.0, 1]), 1.0, 0), "components: got 0"),
    "loops": (lambda: phi4_beta(real([0.0, 1]), 1.0, 1, 3), "loops: got 3"),
    "couplings": (lambda: phi4_beta(ONE, 1.0), r"couplings: got shape \[1\]"),
    "colours": (lambda: gauge_beta(1, 0), "colours: got 1"),
    "flavours": (lambda: gauge_beta(3, -1), "flavours: got -1"),
    "below": (lambda: block_connection(mixing, real([0.0, 0]), -1, 2), r"scales: got \(-1, 2\)"),
    "factor": (lambda: block_connection(ising_decimation, ONE, 0, 1, 1.0), "scale: got 1.0"),
    "erased": (
        lambda: block_connection(lambda k: 0 * k, real([1.0, 2]), 1, 0),
        "a direction that coarsening has erased",
    ),
    "one scale": (lambda: block_connection(mixing, real([0.0, 0]), 1, 1).exponents(), "twice"),
    "neither": (lambda: ScaleCohomology(ONE), "block_map: got None"),
    "both": (
        lambda: ScaleCohomology(ONE, block_map=mixing, beta=mixing),
        "pass one of the two",
    ),
    "NaN": (lambda: ScaleCohomology(ONE * math.nan, beta=mixing), "couplings: got shape"),
    "no scale": (lambda: ScaleCohomology(ONE, beta=mixing, scale=1.0), "scale: got 1.0"),
    "no steps": (lambda: ScaleCohomology(ONE, beta=mixing, steps=0), "steps: got 0"),
    "between": (
        lambda: ScaleCohomology(ONE, block_map=ising_decimation).scale_connection(0.5, 1),
        "expected whole numbers",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
