"""Hamilton's equations: exact invariants, orders, energies that stay and energies that drift."""

import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.dynamics import (
    HamiltonianSystem,
    implicit_midpoint_orbit,
    split_orbit,
)
from adaptive_attention_tiling.mathematics.dynamics.symplectic_integrators import SPLITTINGS
from adaptive_attention_tiling.mathematics.runge_kutta import integrate

ONE = torch.ones(1, dtype=torch.float64)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def pendulum(q, p):
    return (p.square() / 2 - q.cos()).sum(-1)


def kepler(q, p):
    return p.square().sum(-1) / 2 - 1 / q.norm(dim=-1)


def kepler_force(q):
    return -q / (q[0] * q[0] + q[1] * q[1]) ** 1.5


ECCENTRICITY = 0.6
PERIHELION = tensor(1 - ECCENTRICITY, 0)
FASTEST = tensor(0, math.sqrt((1 + ECCENTRICITY) / (1 - ECCENTRICITY)))


def kepler_error(step, periods, method):
    orbit = split_orbit(
        lambda p: p,
        kepler_force,
        PERIHELION,
        FASTEST,
        step=step,
        steps=round(2 * math.pi * periods / step),
        method=method,
    )
    return float((kepler(*orbit) - kepler(PERIHELION, FASTEST)).abs().max())


@pytest.mark.parametrize(
    ("method", "step", "periods", "expected"),
    [
        ("leapfrog", 0.02, 30, 1.485e-3),
        # The largest error of 30 periods is all but reached in 4.
        ("leapfrog", 0.01, 4, 3.707e-4),
        ("leapfrog", 0.005, 2, 9.263e-5),
        ("yoshida4", 0.02, 4, 7.952e-6),
        ("yoshida4", 0.01, 2, 5.006e-7),
    ],
)
def test_energy_error_of_an_eccentric_orbit(method, step, periods, expected):
    accuracy = 1e-3 if periods == 30 else 1e-2
    assert kepler_error(step, periods, method) == pytest.approx(expected, rel=accuracy)


def test_energies_drift_with_runge_kutta_and_stay_with_a_splitting():
    """1.077e-5 after 30 periods and 2.119e-5 after 60, as told for this orbit and step."""

    def field(t, z):
        return torch.cat([z[2:], kepler_force(z[:2])])

    start = torch.cat([PERIHELION, FASTEST])
    times = 0.02 * torch.arange(round(4 * 2 * math.pi / 0.02) + 1, dtype=torch.float64)
    z = integrate(field, start, times, method="rk4", steps=1)
    errors = (kepler(z[:, :2], z[:, 2:]) + 0.5).abs()
    two, four = float(errors[: len(times) // 2].max()), float(errors.max())
    assert four - two == pytest.approx((2.119e-5 - 1.077e-5) * 2 / 30, rel=0.05)
    stays = [kepler_error(0.02, periods, "leapfrog") for periods in (2, 4)]
    assert stays[1] == pytest.approx(stays[0], rel=1e-2)


def test_kepler_invariants():
    system = HamiltonianSystem(kepler)
    assert float(system.compute_hamiltonian(PERIHELION, FASTEST)) == pytest.approx(-0.5, abs=1e-15)
    momentum = PERIHELION[0] * FASTEST[1] - PERIHELION[1] * FASTEST[0]
    assert float(momentum) == pytest.approx(0.8, abs=1e-15)
    flow = system.flow(PERIHELION, FASTEST, step=0.02, steps=100)
    (qx, qy), (px, py) = flow.positions.unbind(-1), flow.momenta.unbind(-1)
    torch.testing.assert_close(qx * py - qy * px, momentum.expand(101), rtol=0, atol=1e-14)
    runge_lenz = torch.stack([py, -px], -1) * (qx * py - qy * px)[:, None]
    runge_lenz = runge_lenz[0] - flow.positions[0] / flow.positions[0].norm()
    assert float(runge_lenz.norm()) == pytest.approx(ECCENTRICITY, abs=1e-15)


@pytest.mark.parametrize(
    ("method", "order"),
    [("symplectic_euler", 1), ("leapfrog", 2), ("yoshida4", 4), ("implicit_midpoint", 2)],
)
def test_order_on_the_pendulum(method, order):
    system, errors = HamiltonianSystem(pendulum), []
    exact = split_orbit(
        lambda p: p, lambda q: -q.sin(), ONE, 0 * ONE, step=3 / 512, steps=512, method="yoshida4"
    )
    for steps in (12, 24):
        flow = system.flow(ONE, 0 * ONE, step=3 / steps, steps=steps, method=method)
        ends = [torch.cat([one.positions[-1], one.momenta[-1]]) for one in (flow, exact)]
        errors.append(float((ends[0] - ends[1]).norm()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(
    ("amplitude", "period"), [(1.0, 6.69997566437), (math.pi / 2, 7.41629870921)]
)
def test_golden_period_of_the_pendulum(amplitude, period):
    """4 K(sin^2(amplitude / 2))."""
    system, start = HamiltonianSystem(pendulum), tensor(amplitude)
    flow = system.flow(start, 0 * start, step=period / 64, steps=64, method="yoshida4")
    assert float(flow.positions[-1]) == pytest.approx(amplitude, abs=1e-7)
    assert float(flow.momenta[-1]) == pytest.approx(0, abs=1e-4)


def test_golden_coefficients_of_yoshida():
    outer, inner, _ = SPLITTINGS["yoshida4"].drifts
    assert outer == pytest.approx(1.35120719196, abs=1e-11)
    assert inner == pytest.approx(-1.702414383919316, abs=1e-15)


@pytest.mark.parametrize("method", ["symplectic_euler", "leapfrog", "yoshida4"])
def test_steps_beyond_stability_grow_and_are_refused(method):
    """Two springs of frequencies 1 and 5: the faster one sets the limit."""

    def springs(q, p):
        return (p.square() / 2 + tensor(0.5, 12.5) * q.square()).sum(-1)

    system, q, p = HamiltonianSystem(springs), tensor(1.0, 1.0), tensor(0.0, 0.3)
    limit = system.stability_limit(q, p, method)
    assert limit == pytest.approx({"yoshida4": 1.573401}.get(method, 2.0) / 5, abs=1e-6)
    with pytest.raises(ArgumentError, match=rf"step: got .*{method} lets small swings"):
        system.flow(q, p, step=limit * 1.001, steps=1, method=method)
    system.flow(q, p, step=limit * 0.999, steps=1, method=method)
    force = tensor(1.0, 25.0)
    for share, grows in ((0.999, False), (1.001, True)):
        orbit = split_orbit(
            lambda p: p, lambda q: -force * q, q, p, step=limit * share, steps=250, method=method
        )
        assert (float(orbit.positions.abs().max()) > 1e4) == grows


def test_nothing_limits_a_step_where_nothing_swings():
    system = HamiltonianSystem(lambda q, p: (p.square() - q.square()).sum(-1) / 2)
    assert system.stability_limit(ONE, ONE) == math.inf
    with pytest.raises(ArgumentError, match="step: got 1000, expected one that keeps"):
        system.flow(ONE, ONE, step=1000, steps=60)


def test_limits_of_masses_that_are_not_diagonal_and_of_batches():
    stiff, inertia = tensor(2, 1, 1, 3).view(2, 2), tensor(3, -1, -1, 1).view(2, 2)
    system = HamiltonianSystem(
        lambda q, p: ((q @ stiff) * q).sum(-1) / 2 + ((p @ inertia) * p).sum(-1) / 2
    )
    fastest = float(torch.linalg.eigvals(inertia @ stiff).real.max().sqrt())
    limit = system.stability_limit(tensor(0.1, 0.2), tensor(0.3, 0.1))
    assert limit == pytest.approx(2 / fastest, rel=1e-12)
    swings = HamiltonianSystem(pendulum)
    places = tensor(3.0, 2.0, 0.5, 1.0).view(2, 2, 1)  # V'' = cos q
    assert swings.stability_limit(places, places) == pytest.approx(2 / math.cos(0.5) ** 0.5)
    assert swings.stability_limit(places[:0], places[:0]) == math.inf
    turned = HamiltonianSystem(lambda q, p: -(4 * q.square() + p.square()).sum(-1) / 2)
    assert turned.stability_limit(ONE, ONE) == pytest.approx(1)  # both signs turned swings too
    # A mass of both signs has complex squares of frequencies, here +- 3^(1/2) i: no limit helps.
    both = HamiltonianSystem(
        lambda q, p: (q.square().sum(-1) + 4 * q.prod(-1) + (p * p * tensor(1, -1)).sum(-1)) / 2
    )
    assert both.stability_limit(tensor(0, 0), tensor(0, 0)) == math.inf


def oscillator(q, p):
    return (q.square() + p.square()).sum(-1) / 2


def test_exact_invariants_of_steps_on_the_oscillator():
    system, h = HamiltonianSystem(oscillator), 0.3
    q, p = tensor(1.0), tensor(0.5)
    flow = system.flow(q, p, step=h, steps=20, method="symplectic_euler")
    kept = flow.momenta**2 + flow.positions**2 - h * flow.positions * flow.momenta
    torch.testing.assert_close(kept, kept[:1].expand_as(kept), rtol=1e-12, atol=0)
    assert float(kept[0]) == pytest.approx(1.1, abs=1e-15)
    flow = system.flow(q, p, step=h, steps=20)
    kept = flow.momenta**2 + (1 - h * h / 4) * flow.positions**2
    torch.testing.assert_close(kept, kept[:1].expand_as(kept), rtol=1e-12, atol=0)
    assert float(kept[0]) == pytest.approx(1.2275, abs=1e-15)
    flow = system.flow(q, p, step=h, steps=20, method="implicit_midpoint")
    assert float(flow.energy_error) < 1e-12


def step_matrix(method, system, q, p):
    def step(z):
        flow = system.flow(z[:1], z[1:], step=0.1, steps=1, method=method)
        return torch.cat([flow.positions[-1], flow.momenta[-1]])

    return torch.autograd.functional.jacobian(step, torch.cat([q, p]))


@pytest.mark.parametrize(
    "method", ["symplectic_euler", "leapfrog", "yoshida4", "implicit_midpoint"]
)
def test_steps_are_symplectic_and_those_of_runge_kutta_are_not(method):
    system, j = HamiltonianSystem(pendulum), tensor(0, 1, -1, 0).view(2, 2)
    m = step_matrix(method, system, ONE, 0.4 * ONE)
    torch.testing.assert_close(m.T @ j @ m, j, rtol=0, atol=1e-12)
    m = step_matrix("rk4", system, ONE, 0.4 * ONE)
    assert float((m.T @ j @ m - j).abs().max()) > 1e-9


def test_splittings_run_backwards_to_where_they_came_from():
    system = HamiltonianSystem(pendulum)
    for method in ("leapfrog", "yoshida4"):
        flow = system.flow(ONE, 0.4 * ONE, step=0.1, steps=20, method=method)
        back = system.flow(flow.positions[-1], flow.momenta[-1], step=-0.1, steps=20, method=method)
        torch.testing.assert_close(back.positions[-1], ONE, rtol=0, atol=1e-13)


def test_brackets_and_form():
    def component(i):
        def value(z):
            q, p = z.split(3, -1)
            return torch.linalg.cross(q, p)[..., i]

        return value

    def energy(z):
        q, p = z.split(3, -1)
        return p.square().sum(-1) / 2 - 1 / q.norm(dim=-1)

    z = torch.randn(4, 6, dtype=torch.float64)
    system = HamiltonianSystem(kepler)
    found = system.poisson_bracket(component(0), component(1), z)
    torch.testing.assert_close(found, component(2)(z), rtol=1e-12, atol=1e-12)
    noether = system.poisson_bracket(energy, component(2), z)
    torch.testing.assert_close(noether, torch.zeros(4).double(), rtol=0, atol=1e-12)
    u, v = torch.randn(2, 4, 6, dtype=torch.float64)
    expected = (u[:, :3] * v[:, 3:] - u[:, 3:] * v[:, :3]).sum(-1)
    torch.testing.assert_close(system.symplectic_form((u, v)), expected)


def test_a_batch_is_its_rows_and_flows_have_gradients():
    system = HamiltonianSystem(pendulum)
    q, p = torch.randn(2, 5, 1, dtype=torch.float64)
    flow = system.flow(q, p, step=0.1, steps=7)
    for row in (0, 4):
        one = system.flow(q[row], p[row], step=0.1, steps=7)
        torch.testing.assert_close(flow.positions[:, row], one.positions)

    def end(q, p, strength):
        scaled = HamiltonianSystem(lambda a, b: (b**2 / 2 - strength * a.cos()).sum(-1))
        found = scaled.flow(q, p, step=0.1, steps=2, method="yoshida4")
        implicit = scaled.flow(q, p, step=0.1, steps=1, method="implicit_midpoint")
        return found.positions[-1], found.energies[-1], implicit.momenta[-1]

    inputs = (q[:1].requires_grad_(), p[:1].requires_grad_(), tensor(1.5).requires_grad_())
    assert torch.autograd.gradcheck(end, inputs)


def test_bad_input_is_told():
    system = HamiltonianSystem(lambda q, p: ((1 + q.square()) * p.square()).sum(-1))
    with pytest.raises(ArgumentError, match=r"method: .* expected H = T\(p\) \+ V\(q\)"):
        system.flow(ONE, ONE, step=0.1, steps=1)
    system.flow(ONE, ONE, step=0.01, steps=1, method="implicit_midpoint")
    with pytest.raises(ArgumentError, match=r"step: got 9, .*Fix: take a smaller step"):
        implicit_midpoint_orbit(lambda z: -z, ONE, step=9, steps=1)
    with pytest.raises(ArgumentError, match="step: got 0"):
        split_orbit(lambda p: p, lambda q: -q, ONE, ONE, step=0, steps=1)
    with pytest.raises(ArgumentError, match="steps: got -1"):
        split_orbit(lambda p: p, lambda q: -q, ONE, ONE, step=1, steps=-1)
    with pytest.raises(ArgumentError, match=r"method: got 'verlet', expected one of \['leapfrog'"):
        split_orbit(lambda p: p, lambda q: -q, ONE, ONE, step=1, steps=1, method="verlet")
    with pytest.raises(ArgumentError, match="state: got second derivatives of H that are not"):
        HamiltonianSystem(kepler).stability_limit(tensor(0, 0), tensor(1, 1))
    with pytest.raises(ArgumentError, match=r"step: got -3.0, expected \|step\| < 2"):
        HamiltonianSystem(pendulum).flow(0 * ONE, ONE, step=-3.0, steps=1)
    with pytest.raises(ArgumentError, match=r"momentum: got torch.float32 .*torch.float64"):
        system.compute_hamiltonian(ONE, ONE.float())
    with pytest.raises(ArgumentError, match=r"momentum: got .* \[2\] beside .*\[1\]"):
        system.compute_hamiltonian(ONE, torch.ones(2).double())
