"""Ricci flow on a torus against curvature by derivatives, closed forms and a flow of one factor."""

import math
from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    GeometricFlow,
    PeriodicGrid,
    reaction_diffusion,
)
from adaptive_attention_tiling.mathematics.dynamics.sampled_metric import (
    deturck_term,
    principal_curvatures,
    sampled_christoffel,
    sampled_jet,
)
from adaptive_attention_tiling.mathematics.geometry import RiemannianStructure
from adaptive_attention_tiling.mathematics.geometry.curvature import ricci, riemann
from adaptive_attention_tiling.mathematics.geometry.jets import MetricJet

DOUBLE = torch.float64
TURN = 2 * math.pi


def torus(n, points):
    return PeriodicGrid((points,) * n, (TURN,) * n)


def bent(x):
    """A metric of period 2 pi without symmetry, in any dimension."""
    n = x.shape[-1]

    def entry(i, j):
        if i == j:
            return 2 + 0.3 * x[..., (i + 1) % n].sin() + 0.2 * x[..., i].cos()
        return 0.2 * (x[..., i] + x[..., j]).cos() + 0.1 * x[..., (i + j) % n].sin()

    return torch.stack([torch.stack([entry(i, j) for j in range(n)], -1) for i in range(n)], -2)


def conformal(x, height=0.2):
    """u of g = e^2u (dx^2 + dy^2)."""
    return height * (x[..., 0].cos() + (x[..., 0] + 2 * x[..., 1]).sin() / 2)


def plane(u, n=2):
    return (2 * u).exp()[..., None, None] * torch.eye(n, dtype=u.dtype)


@pytest.mark.parametrize(("n", "points", "error"), [(2, 30, 1e-12), (3, 10, 1e-3)])
def test_ricci_tensor_is_that_of_derivatives(n, points, error):
    grid = torus(n, points)
    x = grid.coordinates()
    exact = RiemannianStructure(bent, n, checks=False).ricci_tensor(x)
    flow, metric = GeometricFlow(grid), bent(x)
    for connection in (None, sampled_christoffel(grid, metric)):
        found = flow.compute_ricci_tensor(metric, connection)
        torch.testing.assert_close(found, exact, rtol=0, atol=error)
    if n == 2:
        # Of a connection with its own Ricci tensor: d_k Gamma^k_ij + Gamma^k_kl Gamma^l_ij - ...
        other = torch.zeros(*grid.points, 2, 2, 2, dtype=DOUBLE)
        other[..., 0, 1, 1] = x[..., 0].sin()
        expected = torch.zeros_like(metric)
        expected[..., 1, 1] = x[..., 0].cos()
        torch.testing.assert_close(flow.compute_ricci_tensor(metric, other), expected)
        # Gamma^0_00 = sin y has the trace sin y dx, whose derivative is half seen.
        other = torch.zeros_like(other)
        other[..., 0, 0, 0] = x[..., 1].sin()
        expected = torch.zeros_like(metric)
        expected[..., 0, 1] = expected[..., 1, 0] = -x[..., 1].cos() / 2
        torch.testing.assert_close(flow.compute_ricci_tensor(metric, other), expected)
        batch = torch.stack([metric, plane(conformal(x))])
        together = flow.compute_ricci_tensor(batch)
        torch.testing.assert_close(together[0], flow.compute_ricci_tensor(metric))
        single = flow.compute_ricci_tensor(metric.float())
        torch.testing.assert_close(single, exact.float(), rtol=0, atol=2e-4)


def test_principal_curvatures_are_sectional():
    grid = torus(3, 10)
    x = grid.coordinates()
    metric = bent(x)
    space = RiemannianStructure(bent, 3, checks=False)
    found = principal_curvatures(metric, space.ricci_tensor(x))
    planes = torch.randn(2, 200, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    point = x[2, 3, 4].repeat(200, 1)
    sections = space.sectional_curvature(point, planes[0], planes[1])
    low, high = found[2, 3, 4].min(), found[2, 3, 4].max()
    assert bool((sections >= low - 1e-12).all())
    assert bool((sections <= high + 1e-12).all())
    assert float(sections.max() - sections.min()) > 0.8 * float(high - low)


def test_deturck_leaves_a_parabolic_equation():
    generator = torch.Generator().manual_seed(1)
    grid = torus(3, 6)
    jet = sampled_jet(grid, bent(grid.coordinates()))
    second = torch.randn(jet.second.shape, dtype=DOUBLE, generator=generator)
    second = second + second.transpose(-1, -2)
    second = second + second.transpose(-3, -4)
    moved = MetricJet(jet.metric, jet.first, jet.second + second)

    def rate(j):
        return -2 * ricci(j.metric, riemann(j)) + deturck_term(j)

    symbol = torch.einsum("...kl,...ijkl->...ij", torch.linalg.inv(jet.metric), second)
    torch.testing.assert_close(rate(moved) - rate(jet), symbol, rtol=0, atol=1e-12)
    # L_W g by the definition W^k d_k g_ij + g_kj d_i W^k + g_ik d_j W^k.
    grid = torus(2, 28)
    metric = bent(grid.coordinates())
    jet = sampled_jet(grid, metric)
    W = torch.einsum(
        "...ij,...kij->...k", torch.linalg.inv(metric), sampled_christoffel(grid, metric)
    )
    change = sampled_jet(grid, W[..., None, :].expand(*W.shape, 2)).first[..., 0, :, :]
    lie = torch.einsum("...kj,...ki->...ij", metric, change)
    lie = lie + lie.mT + torch.einsum("...k,...ijk->...ij", W, jet.first)
    torch.testing.assert_close(deturck_term(jet), lie, rtol=0, atol=1e-10)


def test_a_conformal_torus_flows_as_its_factor_does():
    grid = torus(2, 16)
    u = conformal(grid.coordinates())
    flow = GeometricFlow(grid).evolve(plane(u), time=0.3, every=1)
    k2 = grid.minus_laplacian()

    def rate(v):
        return -(-2 * v).exp() * torch.fft.irfftn(k2 * torch.fft.rfftn(v), s=grid.points)

    factors, energies = u, []
    for size in flow.times.diff():
        energies.append(float(-(factors * (2 * factors).exp() * rate(factors)).sum()))
        a = rate(factors)
        b = rate(factors + size / 2 * a)
        c = rate(factors + size / 2 * b)
        d = rate(factors + size * c)
        factors = factors + size / 6 * (a + 2 * b + 2 * c + d)
    torch.testing.assert_close(flow.metrics[-1], plane(factors), rtol=0, atol=1e-6)
    # u_t = e^-2u Laplace u: int |grad u|^2 never grows; area is kept (dA/dt = -4 pi chi = 0).
    assert all(after < before for before, after in pairwise(energies))
    torch.testing.assert_close(flow.volumes, flow.volumes[:1].expand_as(flow.volumes))
    assert bool((flow.curvatures.diff() < 0).all())
    assert float(flow.curvatures[-1]) < 0.6 * float(flow.curvatures[0])
    assert not flow.singular
    bend = -(-2 * u).exp() * torch.fft.irfftn(-k2 * torch.fft.rfftn(u), s=grid.points)
    worst = grid.coordinates().flatten(0, 1)[bend.abs().argmax()]
    torch.testing.assert_close(flow.places[0], worst)
    torch.testing.assert_close(flow.curvatures[0], bend.abs().max(), rtol=1e-4, atol=0)
    bounded = GeometricFlow(grid).evolve(
        plane(u), time=0.3, largest_curvature=float(bend.max()) / 2
    )
    assert bounded.singular
    assert bounded.times.tolist() == [0.0]
    assert GeometricFlow(grid).detect_singularities(flow, 1e-3) == []


def test_the_energy_of_heat_never_grows():
    grid = torus(2, 16)
    start = torch.randn(16, 16, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    heat = reaction_diffusion(grid, torch.ones(1, dtype=DOUBLE), torch.zeros_like)
    for method, step in (("etdrk4", 0.02), ("imex_euler", 0.5), ("euler", 2 / 128)):
        path = heat.evolve(start, step=step, steps=30, method=method, every=1)
        energy = -(path * heat.linear_rate(path)).sum((-1, -2, -3))
        assert float(energy.diff().max()) < 1e-14 * float(energy[0])
        assert float(energy[-1]) < 0.1 * float(energy[0])


def test_a_flat_torus_stays_and_a_product_flows_factor_by_factor():
    constant = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 3.0]], dtype=DOUBLE)
    space = torus(3, 4)
    for gauge in ("hamilton", "deturck"):
        flat = GeometricFlow(space, gauge=gauge).evolve(
            constant.expand(4, 4, 4, 3, 3), time=0.5, every=1
        )
        torch.testing.assert_close(flat.metrics[-1], flat.metrics[0], rtol=0, atol=1e-14)
        assert len(flat.times) > 3
    grid = PeriodicGrid((8, 8, 3), (TURN, TURN, 1.0))
    surface = plane(conformal(torus(2, 8).coordinates(), 0.05))
    product = torch.zeros(8, 8, 3, 3, 3, dtype=DOUBLE)
    product[..., :2, :2] = surface[:, :, None]
    product[..., 2, 2] = 5.0
    whole = GeometricFlow(grid).evolve(product, time=0.1)
    part = GeometricFlow(torus(2, 8)).evolve(surface, time=0.1)
    torch.testing.assert_close(whole.metrics[-1][:, :, 1, :2, :2], part.metrics[-1], rtol=0,
                               atol=2e-6)  # fmt: skip
    torch.testing.assert_close(whole.metrics[-1][..., 2, 2], product[..., 2, 2])
    torch.testing.assert_close(whole.curvatures[-1], part.curvatures[-1], rtol=1e-4, atol=0)


def test_waves_and_changes_of_coordinates():
    grid = PeriodicGrid((8, 3, 3), (TURN,) * 3)
    x = grid.coordinates()
    wave = torch.eye(3, dtype=DOUBLE).repeat(8, 3, 3, 1, 1)
    # Transverse and without trace: h = -k^2 h. Along x: a change of coordinates, flat.
    wave[..., 1, 2] = wave[..., 2, 1] = 1e-6 * (2 * x[..., 0]).cos()
    gauge = torch.eye(3, dtype=DOUBLE).repeat(8, 3, 3, 1, 1)
    gauge[..., 0, 0] += 1e-6 * (2 * x[..., 0]).cos()
    for name, kept in (("hamilton", 1.0), ("deturck", math.exp(-4 * 0.2))):
        flow = GeometricFlow(grid, gauge=name)
        end = flow.evolve(wave, time=0.2).metrics[-1]
        ratio = end[0, 0, 0, 1, 2] / 1e-6
        assert float(ratio) == pytest.approx(math.exp(-4 * 0.2), rel=1e-4)
        end = flow.evolve(gauge, time=0.2).metrics[-1]
        assert float((end[0, 0, 0, 0, 0] - 1) / 1e-6) == pytest.approx(kept, rel=1e-4)


def test_gauges_agree_on_shapes_and_only_deturck_smooths_coordinates():
    grid = torus(2, 12)
    noise = 1e-3 * torch.randn(
        12, 12, 2, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)
    )
    start = bent(grid.coordinates()) + noise + noise.mT
    ends = {}
    for gauge in ("hamilton", "deturck"):
        end = GeometricFlow(grid, gauge=gauge).evolve(start, time=1.0, share=0.9, every=1000)
        spectrum = grid.transform(end.metrics[-1].flatten(-2)).abs()
        ends[gauge] = float(end.curvatures[-1]), float(spectrum[6].max() / spectrum.max())
        assert float(end.volumes[-1] / end.volumes[0]) == pytest.approx(1, abs=1e-5)
    assert ends["hamilton"][0] == pytest.approx(ends["deturck"][0], rel=5e-3)
    assert ends["hamilton"][1] > 1e-5
    assert ends["deturck"][1] < 1e-7


def test_steps_of_euler_and_their_figures():
    grid = torus(2, 16)
    metric = plane(conformal(grid.coordinates()))
    flow = GeometricFlow(grid)
    exact = flow.evolve(metric, time=0.02).metrics[-1]
    errors = []
    for steps in (5, 10):
        g = metric
        for _ in range(steps):
            g, figures = flow.flow_step(g, flow.compute_ricci_tensor(g), 0.02 / steps)
        errors.append(float((g - exact).abs().max()))
    assert 0.95 < math.log2(errors[0] / errors[1]) < 1.05
    first = flow.flow_metrics(metric, flow.compute_ricci_tensor(metric))
    assert float(first.total_scalar_curvature) == pytest.approx(0, abs=1e-6)  # 4 pi chi
    assert float(first.volume) == pytest.approx(float((2 * conformal(grid.coordinates())).exp()
                                                      .mean()) * TURN**2)  # fmt: skip
    assert float(first.rate) == pytest.approx(2 * float(first.largest_curvature))
    assert float(first.least_eigenvalue) == pytest.approx(float(metric[..., 0, 0].min()))
    assert float(figures.largest_curvature) < float(first.largest_curvature)
    # dV/dt = -int R dV in three dimensions, where it is not 0.
    space = torus(3, 8)
    metric = bent(space.coordinates())
    flow = GeometricFlow(space)
    tensor = flow.compute_ricci_tensor(metric)
    after, before = flow.flow_step(metric, tensor, 1e-5)
    _, then = flow.flow_step(after, tensor, 1e-5)
    falling = float((then.volume - before.volume) / 1e-5)
    assert falling == pytest.approx(-float(before.total_scalar_curvature), rel=1e-3)
    # DeTurck's step adds dt L_W g.
    moved, _ = GeometricFlow(space, gauge="deturck").flow_step(metric, tensor, 1e-5)
    torch.testing.assert_close(moved - after, 1e-5 * deturck_term(sampled_jet(space, metric)))


def test_steps_beyond_the_limit_are_unstable_and_refused():
    grid = torus(2, 8)
    flow = GeometricFlow(grid, gauge="deturck")
    flat = torch.diag(torch.tensor([1.0, 0.5], dtype=DOUBLE)).expand(8, 8, 2, 2)
    limit = flow.stability_limit(flat)
    assert limit == pytest.approx(2 / (16 + 32))
    assert flow.stability_limit(flat, "rk4") == pytest.approx(2.785293563405282 / 48)
    for slant in (-0.5, 0.5):
        slanted = torch.tensor([[1.0, slant], [slant, 1.0]], dtype=DOUBLE)
        worst = (torch.linalg.inv(slanted).abs() * 16).sum()
        assert flow.stability_limit(slanted.expand(8, 8, 2, 2)) == pytest.approx(2 / float(worst))
    checker = (-1.0) ** torch.arange(8, dtype=DOUBLE)
    bent_once = sampled_jet(grid, (checker[:, None] * checker)[..., None, None] * flat).second
    assert float(bent_once[..., 0, 1].abs().max()) < 1e-12  # the sign of a Nyquist wave is nobody's
    wave = flat + 1e-6 * (checker[:, None] * checker)[..., None, None] * torch.eye(2)
    rate = (wave - flow.flow_step(wave, flow.compute_ricci_tensor(wave), limit / 2)[0]) / (
        limit / 2
    )
    growth = (wave - 1.1 * limit * rate - flat).abs().max() / 1e-6
    assert float(growth) == pytest.approx(1.2, rel=1e-3)
    with pytest.raises(ArgumentError, match=r"timestep: got .* Euler stops being stable"):
        flow.flow_step(wave, flow.compute_ricci_tensor(wave), 1.1 * limit)


def test_gradients():
    grid = torus(2, 3)
    metric = bent(grid.coordinates()).requires_grad_()

    def symmetric(g):
        return (g + g.mT) / 2

    for gauge in ("hamilton", "deturck"):
        flow = GeometricFlow(grid, gauge=gauge)

        def step(g, flow=flow):
            g = symmetric(g)
            after, figures = flow.flow_step(g, flow.compute_ricci_tensor(g), 0.01)
            return after, figures.volume, figures.total_scalar_curvature

        assert torch.autograd.gradcheck(step, (metric,), fast_mode=True)
    flow = GeometricFlow(grid)
    assert torch.autograd.gradcheck(
        lambda g: flow.evolve(symmetric(g), time=0.2).metrics[-1], (metric,), fast_mode=True
    )
    assert torch.autograd.gradgradcheck(
        lambda g: flow.compute_ricci_tensor(symmetric(g)), (metric,), fast_mode=True
    )


FLAT = torch.eye(2, dtype=DOUBLE).repeat(4, 4, 1, 1)
INDEFINITE = FLAT.clone()
INDEFINITE[1, 2, 0, 0] = -1
SKEW = FLAT.clone()
SKEW[..., 0, 1] = 0.1
FLOW = GeometricFlow(torus(2, 4))
TORSION = torch.zeros(4, 4, 2, 2, 2, dtype=DOUBLE)
TORSION[..., 0, 0, 1] = 1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: FLOW.compute_ricci_tensor(INDEFINITE), r"metric: got eigenvalue -1 at \[1, 2\]"),
        (lambda: FLOW.compute_ricci_tensor(SKEW), "metric: got A - A"),
        (lambda: FLOW.compute_ricci_tensor(FLAT[:3]), r"metric: got \[3, 4, 2, 2\]"),
        (lambda: FLOW.compute_ricci_tensor(FLAT * math.nan), "metric: got NaN"),
        (lambda: FLOW.compute_ricci_tensor(FLAT, TORSION), "connection: got torsion 1"),
        (lambda: FLOW.compute_ricci_tensor(FLAT, TORSION[..., 0]), "connection: got"),
        (lambda: FLOW.compute_ricci_tensor(FLAT, math.nan * TORSION), "connection: got"),
        (lambda: FLOW.flow_step(FLAT, SKEW, 0.01), "ricci: got A - A"),
        (lambda: FLOW.flow_step(FLAT, 0 * FLAT, 0.0), "timestep: got 0.0"),
        (lambda: FLOW.flow_step(FLAT, 20 * FLAT, 0.05), "timestep: got eigenvalue -1"),
        (lambda: FLOW.stability_limit(FLAT, "leapfrog"), "method: got 'leapfrog'"),
        (lambda: FLOW.evolve(FLAT, time=-1.0), "time: got -1.0"),
        (lambda: FLOW.evolve(FLAT, time=1.0, largest_curvature=0), "largest_curvature: got 0"),
        (lambda: FLOW.evolve(FLAT, time=1.0, share=1.5), "share: got 1.5"),
        (lambda: FLOW.evolve(FLAT, time=1.0, every=0), "every: got 0"),
        (lambda: FLOW.evolve(FLAT[None], time=1.0), "expected one metric"),
        (lambda: GeometricFlow(PeriodicGrid((8,), (1.0,))), "grid: got 1 axes"),
        (lambda: GeometricFlow(PeriodicGrid((4, 4), (1.0, 1.0), "differences")), "differences"),
        (lambda: GeometricFlow(torus(2, 4), gauge="lorenz"), "gauge: got 'lorenz'"),
    ],
)  # fmt: skip
def test_what_cannot_flow_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
