import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    amplitude_damping,
    amplitude_state,
    angle_amplitudes,
    angle_state,
    berry_curvature,
    check_density_matrix,
    ensemble_state,
    evolve_density,
    evolve_vector,
    expectation,
    fubini_study_metric,
    maassen_uffink,
    measure,
    pancharatnam_phase,
    pauli_matrices,
    phased_amplitudes,
    propagator,
    pure_state,
    quantum_geometric_tensor,
    robertson_schroedinger,
    variance,
)

X, Y, Z = pauli_matrices()


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


def mixed(*batch, size=4, rank=None):
    factor = noise(*batch, size, rank or size)
    state = factor @ factor.mH
    return state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def bloch(x):
    return angle_state(x[..., :1], x[..., 1:])


def oscillator(number, size=12):
    """x, p and |n><n| with m = omega = hbar = 1."""
    lower = torch.arange(1, size, dtype=torch.float64).sqrt().diag(1).to(torch.complex128)
    x, p = (lower + lower.mH) / math.sqrt(2), (lower - lower.mH) / (1j * math.sqrt(2))
    return pure_state(torch.eye(size, dtype=torch.complex128)[number]), x, p


def spread(number):
    state, x, p = oscillator(number)
    return (variance(state, x) * variance(state, p)).sqrt()


def entropic(angle):
    return maassen_uffink(pure_state(angle_state(real([angle]))), Z, X)[0]


POINT = real([1.0, 0.7])
PHI = torch.linspace(0, 2 * math.pi, 4097, dtype=torch.float64)[:-1]
GOLDEN = {
    "B4 Fubini-Study theta theta": (lambda: fubini_study_metric(bloch, POINT)[0, 0], 0.25, 1e-14),
    "B4 Fubini-Study phi phi": (
        lambda: fubini_study_metric(bloch, POINT)[1, 1],
        0.177018354568,
        1e-12,
    ),
    "B4 Berry curvature": (lambda: -berry_curvature(bloch, POINT)[0, 1], 0.420735492404, 1e-12),
    "B4 Berry phase of a latitude": (
        lambda: -pancharatnam_phase(bloch(torch.stack([torch.ones_like(PHI), PHI], -1))),
        1.44418289876,
        1e-6,
    ),
    "B4 oscillator n=0": (lambda: spread(0), 0.5, 1e-13),
    "B4 oscillator n=3": (lambda: spread(3), 3.5, 1e-13),
    "B4 Maassen-Uffink saturated": (lambda: entropic(0.0), math.log(2), 1e-14),
    "B4 Maassen-Uffink at pi/4": (lambda: entropic(math.pi / 4), 0.832991061399, 1e-12),
}


@pytest.mark.parametrize(("found", "value", "error"), GOLDEN.values(), ids=GOLDEN)
def test_golden(found, value, error):
    assert abs(float(found()) - value) < error


def test_preparations():
    x, y, phi = torch.randn(3, 5, 3, dtype=torch.float64)
    state = amplitude_state(x, phi)
    torch.testing.assert_close(state.abs(), x.abs() / x.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(
        torch.linalg.vector_norm(angle_state(x, phi), dim=-1), real([1.0] * 5)
    )
    lengths = x.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(phased_amplitudes(x, phi), state * lengths)
    torch.testing.assert_close(angle_amplitudes(x) + 0j, angle_state(x))
    assert not angle_amplitudes(x).is_complex()
    assert bool((phased_amplitudes(0 * x, phi) == 0).all())
    overlap = (angle_state(x).conj() * angle_state(y)).sum(-1).real
    torch.testing.assert_close(overlap, ((x - y) / 2).cos().prod(-1))
    first = pure_state(angle_state(x, phi)).reshape(5, 2, 4, 2, 4).diagonal(dim1=2, dim2=4).sum(-1)
    for sigma, value in [
        (X, x.sin() * phi.cos()),
        (Y, x.sin() * phi.sin()),
        (Z, x.cos()),
    ]:
        torch.testing.assert_close(expectation(first, sigma), value[:, 0])
    weights = torch.rand(5, dtype=torch.float64)
    rho = ensemble_state(x, weights)
    check_density_matrix(rho)
    torch.testing.assert_close(
        rho, ensemble_state(x * weights.sqrt()[:, None]), rtol=1e-13, atol=1e-15
    )
    torch.testing.assert_close(ensemble_state(x[:, None]), pure_state(amplitude_state(x)))
    for prepare in (amplitude_state, angle_state, ensemble_state):
        assert torch.autograd.gradcheck(prepare, x.clone().requires_grad_())


def test_evolution_is_unitary_and_solves_its_equation():
    h, psi = hermitian(3, 4, 4), amplitude_state(noise(3, 4))
    turn = propagator(h, real([0.3, 1.0, 7.0]))
    torch.testing.assert_close(turn @ turn.mH, torch.eye(4).to(turn).expand(3, 4, 4))
    energies, vectors = torch.linalg.eigh(h)
    phases = torch.polar(torch.ones_like(energies), -2.5 * energies)
    slow = (vectors @ (phases[..., None] * (vectors.mH @ psi[..., None])))[..., 0]
    torch.testing.assert_close(evolve_vector(psi, h, 2.5), slow, rtol=0, atol=1e-13)
    torch.testing.assert_close(evolve_density(pure_state(psi), h, 2.5), pure_state(slow))
    torch.testing.assert_close(evolve_vector(slow, h, -2.5), psi)
    for _ in range(1000):
        psi = turn @ psi[..., None] if psi.dim() == 2 else turn @ psi
    drift = torch.linalg.vector_norm(psi[..., 0], dim=-1) - 1
    assert float(drift.abs().max()) < 1e-12
    loop = torch.stack([propagator(one, 0.4) for one in h])
    torch.testing.assert_close(propagator(h, 0.4), loop)


def test_lindblad_evolution():
    lower = torch.tensor([[[0, 1], [0, 0]]], dtype=torch.complex128)
    rho, still, t = mixed(5, size=2), torch.zeros(2, 2, dtype=torch.complex128), 0.8
    decayed = evolve_density(rho, still, t, math.sqrt(0.7) * lower)
    damped = amplitude_damping(real(1 - math.exp(-0.7 * t)))(rho)
    torch.testing.assert_close(decayed, damped, rtol=0, atol=1e-14)
    h, jumps, state = hermitian(4, 4), noise(2, 4, 4), mixed(3)
    half = evolve_density(state, h, 0.15, jumps)
    check_density_matrix(half)
    torch.testing.assert_close(
        evolve_density(half, h, 0.15, jumps), evolve_density(state, h, 0.3, jumps)
    )
    torch.testing.assert_close(
        evolve_density(state, h, 0.3, 0 * jumps), evolve_density(state, h, 0.3)
    )
    step = 1e-5
    later = evolve_density(half, h, step, jumps)
    earlier = evolve_density(state, h, 0.15 - step, jumps)
    square = (jumps.mH @ jumps).sum(0)
    slope = -1j * (h @ half - half @ h) - (square @ half + half @ square) / 2
    slope = slope + sum(one @ half @ one.mH for one in jumps)
    torch.testing.assert_close((later - earlier) / (2 * step), slope, rtol=0, atol=1e-7)


def test_measurement_statistics_and_states_after():
    observable = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64)
    turn = torch.linalg.qr(noise(3, 3)).Q
    operator = turn @ observable.to(turn).diag() @ turn.mH
    state = mixed(2, size=3)
    seen = measure(state, operator)
    torch.testing.assert_close(seen.values, real([-1.0, 2.0]))
    torch.testing.assert_close(seen.probabilities.sum(-1), real([1.0, 1.0]))
    torch.testing.assert_close(seen.probabilities @ seen.values, expectation(state, operator))
    squares = seen.probabilities @ seen.values.square() - expectation(state, operator).square()
    torch.testing.assert_close(variance(state, operator), squares)
    drawn = seen.sample(20000, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, seen.sample(20000, torch.Generator().manual_seed(1)))
    frequency = (drawn == 1).double().mean(-1)
    p = seen.probabilities[..., 1]
    assert bool(((frequency - p).abs() < 4 * (p * (1 - p) / 20000).sqrt()).all())
    for outcome in (0, 1):
        after = seen.after(outcome)
        check_density_matrix(after)
        assert float(variance(after, operator).max()) < 1e-14
        torch.testing.assert_close(expectation(after, operator), seen.values[outcome].expand(2))
    blurred = sum(seen.probabilities[:, k, None, None] * seen.after(k) for k in (0, 1))
    torch.testing.assert_close(seen.unread(), blurred)


@pytest.mark.parametrize("rank", [1, 3])
def test_uncertainty_relations_hold(rank):
    state, a, b = mixed(200, size=3, rank=rank), hermitian(3, 3), hermitian(3, 3)
    left, right = robertson_schroedinger(state, a, b)
    assert bool((left >= right - 1e-13).all())
    centred = [op - expectation(state, op)[:, None, None] * torch.eye(3) for op in (a, b)]
    both, none = centred[0] @ centred[1], centred[1] @ centred[0]
    anti = (state * (both + none).mT).sum((-2, -1)).real / 2
    commutator = (state * (both - none).mT).sum((-2, -1)).imag / 2
    torch.testing.assert_close(right, anti.square() + commutator.square())
    sums, bound = maassen_uffink(state, a, b)
    assert bool((sums >= bound - 1e-13).all())
    assert float(bound) > 0.05
    ends = maassen_uffink(pure_state(torch.eye(2, dtype=torch.complex128)[0]), Z, X)
    torch.testing.assert_close(*ends)
    qubits = mixed(50, size=2, rank=1)
    torch.testing.assert_close(*robertson_schroedinger(qubits, X, hermitian(2, 2)))


def test_geometric_tensor_is_of_rays():
    points = torch.stack([torch.rand(6) * 2 + 0.3, torch.randn(6)], -1).double()
    plain = quantum_geometric_tensor(bloch, points)
    dressed = quantum_geometric_tensor(
        lambda x: bloch(x) * torch.exp((0.3 * x + 1j * x.square()).sum(-1, keepdim=True)), points
    )
    torch.testing.assert_close(plain, dressed)
    torch.testing.assert_close(
        torch.stack([quantum_geometric_tensor(bloch, x) for x in points]), plain
    )
    step = real([1e-4, -2e-4])
    overlap = (bloch(points[0]).conj() * bloch(points[0] + step)).sum().abs()
    torch.testing.assert_close(
        1 - overlap.square(), step @ plain[0].real @ step, rtol=1e-3, atol=1e-15
    )
    assert torch.autograd.gradcheck(
        lambda x: quantum_geometric_tensor(bloch, x), points.requires_grad_()
    )


def test_berry_phase_is_the_flux_and_converges_as_it_says():
    def phase(count, theta):
        phi = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
        return pancharatnam_phase(bloch(torch.stack([theta.expand(count), phi], -1)))

    exact = -math.pi * (1 - math.cos(1))
    errors = [abs(float(phase(n, real(1.0))) - exact) for n in (50, 100)]
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.01
    loop = bloch(torch.rand(7, 2, dtype=torch.float64))
    free = loop * noise(7, 1)
    torch.testing.assert_close(pancharatnam_phase(free), pancharatnam_phase(loop))
    torch.testing.assert_close(pancharatnam_phase(loop.flip(0)), -pancharatnam_phase(loop))
    assert torch.autograd.gradcheck(lambda x: phase(20, x), real(1.0).requires_grad_())


def test_gradcheck_of_evolution_at_equal_energies():
    base = torch.diag(torch.tensor([1, 1, 2], dtype=torch.complex128)).requires_grad_()
    state, jumps = mixed(size=3), noise(1, 3, 3)

    def evolved(h, time, jumps=None):
        return evolve_density(state, (h + h.mH) / 2, time, jumps)

    time = real(0.6).requires_grad_()
    assert torch.autograd.gradcheck(evolved, (base, time))
    assert torch.autograd.gradcheck(evolved, (base, time, jumps.requires_grad_()))
    moved = mixed(size=3).requires_grad_()

    def observed(factor):
        rho = factor @ factor.mH
        rho = rho / rho.diagonal().sum()
        a, b = Z3, state
        return variance(rho, a), *robertson_schroedinger(rho, a, b), maassen_uffink(rho, a, b)[0]

    assert torch.autograd.gradcheck(observed, moved)


Z3 = torch.diag(torch.tensor([1, 0, -1], dtype=torch.complex128))
HALF = torch.eye(2, dtype=torch.complex128) / 2
MISUSED = {
    "zeros": (lambda: amplitude_state(torch.zeros(3)), "values: got a vector of zeros"),
    "NaN": (lambda: angle_state(real([math.nan])), "angles: got .* or NaN"),
    "integers": (lambda: amplitude_state(torch.ones(3, dtype=torch.long)), "values: got torch.int"),
    "too many": (lambda: angle_state(torch.zeros(17)), "angles: got 17 of them"),
    "phases": (lambda: angle_state(POINT, POINT * math.nan), "phases: got"),
    "samples": (lambda: ensemble_state(POINT), r"samples: got shape \[2\]"),
    "no samples": (lambda: ensemble_state(torch.zeros(2, 2)), "samples: got nothing but zeros"),
    "weights": (lambda: ensemble_state(torch.ones(2, 2), real([1, -1])), "weights: got -1.0"),
    "hamiltonian": (lambda: propagator(1j * X, 1.0), "hamiltonian: got 2 from Hermitian"),
    "real": (lambda: propagator(torch.eye(2), 1.0), "hamiltonian: got torch.float32"),
    "infinite": (lambda: propagator(X / 0, 1.0), "hamiltonian: got NaN"),
    "time": (lambda: propagator(X, math.inf), "time: got NaN"),
    "back": (lambda: evolve_density(HALF, X, -1.0, X[None]), "time: got one below 0"),
    "jumps": (lambda: evolve_density(HALF, X, 1.0, X), r"jumps: got torch.complex128 \[2, 2\]"),
    "state": (lambda: expectation(2 * HALF, X), "state: got a trace of 2"),
    "observable": (lambda: measure(HALF, X @ Y), "observable: got 2 from Hermitian"),
    "size": (lambda: variance(HALF, Z3), "observable: got dimension 3"),
    "batch": (lambda: measure(HALF, X[None]), r"observable: got \[1, 2, 2\]"),
    "count": (lambda: measure(HALF, X).sample(0), "count: got 0"),
    "outcome": (lambda: measure(HALF, X).after(2), "outcome: got 2"),
    "never": (
        lambda: measure(pure_state(HALF[0]), Z).after(0),
        "outcome: got 0 with probability 0",
    ),
    "parameters": (lambda: quantum_geometric_tensor(bloch, real(1.0)), "parameters: got"),
    "norm": (lambda: quantum_geometric_tensor(lambda x: 0 * bloch(x), POINT), "family: got"),
    "short loop": (lambda: pancharatnam_phase(HALF), r"loop: got torch.complex128 \[2, 2\]"),
    "broken loop": (lambda: pancharatnam_phase(Z3), "loop: got neighbours"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
