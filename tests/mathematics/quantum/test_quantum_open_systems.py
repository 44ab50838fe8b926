import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    angle_state,
    berry_holonomy,
    check_density_matrix,
    evolve_density,
    evolve_driven,
    evolve_vector,
    expectation,
    helmholtz_free_energy,
    lindblad_generator,
    pancharatnam_phase,
    pauli_matrices,
    pure_state,
    stationary_density,
    thermal_state,
    trace_distance,
    von_neumann_entropy,
)

X, Y, Z = pauli_matrices()
HALF = torch.eye(2, dtype=torch.complex128) / 2
DOWN = torch.tensor([[[0, 1], [0, 0]]], dtype=torch.complex128)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.complex128)


def hermitian(*shape):
    matrix = noise(*shape)
    return (matrix + matrix.mH) / 2


def mixed(*batch, size=4):
    factor = noise(*batch, size, size)
    state = factor @ factor.mH
    return state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def test_thermal_states_have_the_least_free_energy():
    h, t = hermitian(3, 4, 4), real([0.05, 0.7, 40.0])
    rho = thermal_state(h, t)
    check_density_matrix(rho)
    energies, basis = torch.linalg.eigh(h)
    weights = torch.softmax(-energies / t[:, None], -1).to(basis)
    torch.testing.assert_close(rho, basis @ torch.diag_embed(weights) @ basis.mH)
    least = expectation(rho, h) - t * von_neumann_entropy(rho)
    torch.testing.assert_close(helmholtz_free_energy(h, t), least)
    others = mixed(50, 1)
    assert bool((expectation(others, h) - t * von_neumann_entropy(others) > least).all())
    assert float(trace_distance(thermal_state(h[0], 1e-4), pure_state(basis[0, :, 0]))) < 1e-12
    assert float(trace_distance(thermal_state(h[0], 1e9), torch.eye(4).to(h) / 4)) < 1e-8
    torch.testing.assert_close(
        torch.stack([thermal_state(*p) for p in zip(h, t, strict=True)]), rho
    )


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_cold_and_hot_limits(scale):
    basis = torch.linalg.qr(noise(3, 3)).Q
    h = scale * (basis * torch.tensor([-2.0, -1.0, 3.0])) @ basis.mH
    h, ground = (h + h.mH) / 2, pure_state(basis[:, 0])
    for cold in (1e-300, 1e-5 * scale):
        rho = thermal_state(h, cold)
        torch.testing.assert_close(rho, ground, rtol=0, atol=1e-13)
        assert abs(float(helmholtz_free_energy(h, cold)) / scale + 2) < 1e-14
    hot = thermal_state(h, 1e300), float(helmholtz_free_energy(h, 1e300))
    torch.testing.assert_close(hot[0], torch.eye(3).to(h) / 3, rtol=0, atol=1e-13)
    assert abs(hot[1] / 1e300 + math.log(3)) < 1e-14
    pair = scale * torch.diag(torch.tensor([1, 1, 2], dtype=torch.complex128))
    mixture = torch.diag(torch.tensor([0.5, 0.5, 0])).to(h)
    torch.testing.assert_close(thermal_state(pair, 1e-300), mixture, rtol=0, atol=1e-15)


def test_slopes_of_the_free_energy_are_entropy_and_state():
    h, t = hermitian(4, 4).requires_grad_(), real(0.6).requires_grad_()
    slope = torch.autograd.grad(helmholtz_free_energy((h + h.mH) / 2, t), (h, t))
    torch.testing.assert_close(slope[0], thermal_state(h, t).detach())
    torch.testing.assert_close(slope[1], -von_neumann_entropy(thermal_state(h.detach(), 0.6)))
    same = torch.diag(torch.tensor([1, 1, 2], dtype=torch.complex128)).requires_grad_()

    def state(h, t):
        return thermal_state((h + h.mH) / 2, t)

    assert torch.autograd.gradcheck(state, (same, t))
    assert torch.autograd.gradgradcheck(state, (same, t), fast_mode=True)


def test_stationary_states():
    up, down = 0.3, 0.8
    jumps = torch.cat([math.sqrt(down) * DOWN, math.sqrt(up) * DOWN.mT])
    cold = stationary_density(Z / 2, jumps)
    torch.testing.assert_close(cold.diagonal().real, real([down, up]) / (up + down))
    bath = thermal_state(-Z / 2, 1 / math.log(down / up))  # detailed balance
    torch.testing.assert_close(cold, bath)
    h, jumps = hermitian(2, 3, 3), noise(2, 2, 3, 3)
    found = stationary_density(h, jumps)
    check_density_matrix(found)
    still = lindblad_generator(h, jumps) @ found.flatten(-2)[..., None]
    assert float(still.abs().max()) < 1e-13
    torch.testing.assert_close(evolve_density(mixed(size=3), h, 60.0, jumps), found)

    def stationary(h, jumps):
        return stationary_density((h + h.mH) / 2, jumps)

    assert torch.autograd.gradcheck(stationary, (h[0].requires_grad_(), jumps[0].requires_grad_()))


def test_driven_evolution_in_closed_form():
    """A field that turns with frequency w stands still in the frame that turns with it."""
    w, field, detuning = 1.3, 0.8, 0.5
    times = torch.linspace(0, 2, 3, dtype=torch.float64)

    def turning(t):
        return detuning / 2 * Z + field / 2 * (X * (w * t).cos() + Y * (w * t).sin())

    state, rate = mixed(3, size=2), 0.4
    jumps = math.sqrt(rate) * torch.cat([Z[None], DOWN])
    found = evolve_driven(state, turning, times, jumps)
    still = (detuning - w) / 2 * Z + field / 2 * X
    for rho, t in zip(found, times, strict=True):
        frame = torch.linalg.matrix_exp(-0.5j * w * t * Z)
        expected = frame @ evolve_density(state, still, float(t), jumps) @ frame.mH
        torch.testing.assert_close(rho, expected, rtol=0, atol=1e-9)
        check_density_matrix(rho)
    back = evolve_driven(evolve_driven(state, turning, times)[-1], turning, times.flip(0))[-1]
    torch.testing.assert_close(back, state, rtol=0, atol=1e-9)
    h, rates = hermitian(2, 2, 2), real([0.2, 0.5])[:, None, None, None] * jumps
    for some in (h, h[0]):
        found = evolve_driven(state[0], lambda t, h=some: h, times[:2], rates)
        expected = evolve_density(state[0], some, float(times[1]), rates)
        torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-9)


def test_driven_evolution_has_gradients():
    def driven(strength, gamma):
        times = real([0.0, 0.2])
        return evolve_driven(HALF + Z / 4, lambda t: strength * t * X, times, gamma * DOWN)[1]

    values = real(0.7).requires_grad_(), real(0.4).requires_grad_()
    assert torch.autograd.gradcheck(driven, values, atol=1e-7, fast_mode=True)


def quadrupole_frame(theta, phi):
    """|n, +1/2> and |n, -1/2> of spin 3/2, two equal energies of (n . J)^2."""
    m = torch.tensor([1.5, 0.5, -0.5, -1.5], dtype=torch.float64)
    ladder = (3.75 - m[1:] * (m[1:] + 1)).sqrt()
    up = ladder.diag(1).to(torch.complex128)
    tilt = torch.linalg.matrix_exp(-theta * (up - up.mH) / 2)  # e^(-i theta J_y)
    turn = torch.polar(torch.ones_like(phi[..., None] * m), -phi[..., None] * m)
    return turn[..., None] * tilt[:, 1:3]


def phases(theta, count):
    phi = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return torch.linalg.eigvals(berry_holonomy(quadrupole_frame(theta, phi))).angle().sort().values


@pytest.mark.parametrize("theta", [0.4, 1.0])
def test_holonomy_of_two_equal_energies(theta):
    """J_z among the two is (cos s_z - 2 sin s_x) / 2: phases pi (1 +- sqrt(c^2 + 4 s^2))."""
    root = math.sqrt(math.cos(theta) ** 2 + 4 * math.sin(theta) ** 2)
    exact = math.remainder(math.pi * (1 + root), 2 * math.pi)
    errors = [float((phases(real(theta), n)[1] - abs(exact)).abs()) for n in (40, 80)]
    assert errors[1] < 2e-2
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.02


def test_holonomy_does_not_see_frames():
    phi = torch.rand(9, dtype=torch.float64).sort().values * 6
    frames = quadrupole_frame(real(0.8), phi)
    turns = torch.linalg.qr(noise(9, 2, 2)).Q
    found, other = berry_holonomy(frames), berry_holonomy(frames @ turns)
    torch.testing.assert_close(other, turns[0].mH @ found @ turns[0])
    torch.testing.assert_close(found @ found.mH, torch.eye(2).to(found), rtol=0, atol=1e-14)
    back = berry_holonomy(frames.flip(0).roll(1, 0))
    torch.testing.assert_close(back, found.mH)
    several = berry_holonomy(torch.stack([frames, frames.roll(3, 0)]))
    torch.testing.assert_close(several[0], found)
    loop = angle_state(torch.rand(7, 1).double(), torch.rand(7, 1).double() * 3)
    one = berry_holonomy(loop[..., None])[0, 0]
    torch.testing.assert_close(one, torch.polar(real(1.0), -pancharatnam_phase(loop)))
    assert torch.autograd.gradcheck(
        lambda t, p: berry_holonomy(quadrupole_frame(t, p)),
        (real(0.8).requires_grad_(), phi[:4].clone().requires_grad_()),
    )


FRAMES = torch.eye(3, dtype=torch.complex128)[:, :, None]
TIMES = torch.tensor([0.0, 1.0], dtype=torch.float64)
MISUSED = {
    "temperature": (lambda: thermal_state(X, 0.0), "temperature: got 0.0"),
    "cold": (lambda: helmholtz_free_energy(X, -1.0), "temperature: got -1.0"),
    "energy": (lambda: thermal_state(X @ Y, 1.0), "hamiltonian: got 2 from Hermitian"),
    "two stay": (lambda: stationary_density(Z, Z[None]), "jumps: got more than one state"),
    "jumps": (lambda: stationary_density(Z, Z), r"jumps: got torch.complex128 \[2, 2\]"),
    "NaN": (lambda: evolve_density(HALF, Z, 1.0, Z[None] * math.nan), "jumps: got NaN"),
    "driven": (lambda: evolve_driven(HALF, lambda t: t * X @ Y, TIMES), "hamiltonian: got 2 from"),
    "state": (lambda: evolve_driven(2 * HALF, lambda t: X, TIMES), "state: got a trace of 2"),
    "back": (
        lambda: evolve_driven(HALF, lambda t: X, TIMES.flip(0), Z[None]),
        "times: got falling ones",
    ),
    "large": (lambda: evolve_density(HALF, hermitian(3, 3), 1.0), r"hamiltonian: got \[3, 3\] for"),
    "vector": (lambda: evolve_vector(noise(3), X, 1.0), r"hamiltonian: got \[2, 2\] for .* \[3\]"),
    "drive": (lambda: evolve_driven(HALF, lambda t: hermitian(3, 3), TIMES), "hamiltonian: got"),
    "nothing": (lambda: thermal_state(noise(0, 2, 2), 1.0), r"hamiltonian: got .* \[0, 2, 2\]"),
    "wide": (lambda: evolve_driven(HALF, lambda t: X, TIMES, FRAMES), "jumps: got"),
    "short": (lambda: berry_holonomy(FRAMES[:2]), r"frames: got torch.complex128 \[2, 3, 1\]"),
    "frames": (lambda: berry_holonomy(2 * FRAMES), "frames: got columns that are not"),
    "broken": (lambda: berry_holonomy(FRAMES), "frames: got neighbours with nothing"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
