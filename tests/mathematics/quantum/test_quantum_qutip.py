"""Against QuTiP, on random states of qubits and qutrits."""

import functools
import math
import warnings

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.mathematics import quantum

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    qutip = pytest.importorskip("qutip", reason="qutip, of the oracles extra, is not installed")

SPACES = {"2 qubits": (2, 2), "3 qubits": (2, 2, 2), "4 qubits": (2, 2, 2, 2), "qutrits": (3, 3)}
PAIRS = {name: dims for name, dims in SPACES.items() if name != "4 qubits"} | {"mixed": (2, 3)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.complex128)


def hermitian(size):
    matrix = noise(size, size)
    return (matrix + matrix.mH) / 2


def mixed(dims, rank=None):
    size = math.prod(dims)
    factor = noise(size, rank or size)
    state = factor @ factor.mH
    return state / state.trace()


def theirs(matrix, dims):
    return qutip.Qobj(matrix.numpy(), dims=[list(dims)] * 2)


def ours(operator):
    return torch.from_numpy(operator.full())


def near(found, expected, error=1e-12):
    expected = torch.as_tensor(np.asarray(expected)).to(found)
    torch.testing.assert_close(found, expected, rtol=0, atol=error)


@pytest.mark.parametrize("rank", [1, None], ids=["pure", "mixed"])
@pytest.mark.parametrize("dims", SPACES.values(), ids=SPACES)
def test_distances_and_entropies(dims, rank):
    a, b = mixed(dims, rank), mixed(dims)
    one, two = theirs(a, dims), theirs(b, dims)
    rounding = 1e-7 if rank else 1e-12  # QuTiP takes roots of rounding errors
    near(quantum.fidelity(a, b), qutip.fidelity(one, two), rounding)
    near(quantum.trace_distance(a, b), qutip.tracedist(one, two))
    near(quantum.bures_distance(a, b), qutip.bures_dist(one, two), rounding)
    near(quantum.bures_angle(a, b), qutip.bures_angle(one, two), rounding)
    near(quantum.von_neumann_entropy(a), qutip.entropy_vn(one))
    near(1 - quantum.purity(a), qutip.entropy_linear(one))
    near(quantum.relative_entropy(a, b), qutip.entropy_relative(one, two), 1e-10)
    if rank:
        assert qutip.entropy_relative(two, one) == math.inf
        assert float(quantum.relative_entropy(b, a)) == math.inf


@pytest.mark.parametrize("dims", PAIRS.values(), ids=PAIRS)
def test_parts_and_their_correlations(dims):
    state = mixed(dims)
    other = theirs(state, dims)
    for kept in {(0,), (len(dims) - 1,), (0, len(dims) - 1)}:
        near(quantum.partial_trace(state, dims, kept), ours(other.ptrace(list(kept))))
    for factor in range(len(dims)):
        mask = [int(k == factor) for k in range(len(dims))]
        flipped = qutip.partial_transpose(other, mask)
        near(quantum.partial_transpose(state, dims, (factor,)), ours(flipped))
        near(quantum.negativity(state, dims, (factor,)), qutip.negativity(other, factor))
        log = qutip.negativity(other, factor, logarithmic=True)
        near(quantum.log_negativity(state, dims, (factor,)), log)
        rest = [k for k in range(len(dims)) if k != factor]
        mutual = qutip.entropy_mutual(other, [factor], rest)
        near(quantum.quantum_mutual_information(state, dims, (factor,)), mutual)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_entanglement_of_two_qubits(rank):
    state = mixed((2, 2), rank)
    other = theirs(state, (2, 2))
    near(quantum.concurrence(state), qutip.concurrence(other), 1e-7)
    near(quantum.negativity(state), qutip.negativity(other, 0))


@pytest.mark.parametrize("p", [0.3, 0.8], ids=["B4 Werner 0.3", "B4 Werner 0.8"])
def test_golden_werner_states(p):
    state = p * quantum.bell_state() + (1 - p) / 4 * torch.eye(4).to(torch.complex128)
    other = theirs(state, (2, 2))
    near(quantum.concurrence(state), qutip.concurrence(other), 1e-11)
    near(quantum.negativity(state), max(0.0, qutip.negativity(other, 0)), 1e-13)
    near(quantum.von_neumann_entropy(state), qutip.entropy_vn(other))


@functools.cache
def open_system():
    torch.manual_seed(1)
    dims = (2, 3)
    return dims, mixed(dims), hermitian(6), noise(2, 6, 6) / 3


def test_lindblad_evolution_and_its_end():
    dims, state, hamiltonian, jumps = open_system()
    h, lost = theirs(hamiltonian, dims), [theirs(jump, dims) for jump in jumps]
    generator = qutip.liouvillian(h, lost)
    times = [0.0, 0.4, 1.1]
    options = {"rtol": 1e-11, "atol": 1e-12, "nsteps": 10000}
    followed = qutip.mesolve(h, theirs(state, dims), times, lost, options=options).states
    duration = torch.tensor(times, dtype=torch.float64)
    found = quantum.evolve_density(state, hamiltonian, duration, jumps)
    near(found, torch.stack([ours(rho) for rho in followed]), 1e-9)
    # QuTiP stacks columns, we stack rows: vec(rho^T).
    swap = torch.arange(36).reshape(6, 6).mT.flatten()
    flow = torch.linalg.matrix_exp(0.4 * quantum.lindblad_generator(hamiltonian, jumps))
    near(flow[swap][:, swap], ours((0.4 * generator).expm()), 1e-10)
    near(quantum.stationary_density(hamiltonian, jumps), ours(qutip.steadystate(h, lost)), 1e-11)
    turn = qutip.propagator(h, 0.7, options=options)
    near(quantum.propagator(hamiltonian, 0.7), ours(turn), 1e-8)


def test_driven_evolution():
    dims, state, hamiltonian, jumps = open_system()
    drive = quantum.thermal_state(hamiltonian, 1.0)
    parts = [theirs(hamiltonian, dims), [theirs(drive, dims), lambda t: math.cos(2 * t)]]
    lost, times = [theirs(jump, dims) for jump in jumps], [0.0, 0.5, 1.3]
    options = {"rtol": 1e-11, "atol": 1e-12, "nsteps": 10000}
    followed = qutip.mesolve(
        qutip.QobjEvo(parts), theirs(state, dims), times, lost, options=options
    )
    found = quantum.evolve_driven(
        state,
        lambda t: hamiltonian + (2 * t).cos() * drive,
        torch.tensor(times, dtype=torch.float64),
        jumps,
    )
    near(found, torch.stack([ours(rho) for rho in followed.states]), 1e-8)


def test_thermal_states():
    frequency, temperature = 0.7, 1.9
    ladder = torch.arange(40).to(torch.complex128)
    found = quantum.thermal_state(frequency * ladder.diag(), temperature)
    mean = 1 / math.expm1(frequency / temperature)
    near(found, ours(qutip.thermal_dm(40, mean)), 1e-12)


@pytest.mark.parametrize("dims", SPACES.values(), ids=SPACES)
def test_measurement_statistics(dims):
    size = math.prod(dims)
    state = mixed(dims)
    levels = torch.arange(size) // 2  # every value twice
    turn = torch.linalg.qr(noise(size, size)).Q
    operator = (turn * levels) @ turn.mH
    a, rho = theirs(operator, dims), theirs(state, dims)
    near(quantum.expectation(state, operator), qutip.expect(a, rho))
    near(quantum.variance(state, operator), qutip.variance(a, rho), 1e-11)
    seen = quantum.measure(state, operator)
    values, projectors, probabilities = qutip.measurement.measurement_statistics(rho, a)
    near(seen.values, values, 1e-12)
    near(seen.probabilities, probabilities)
    for k, projector in enumerate(projectors):
        near(seen.projectors[k], ours(projector))
        near(seen.after(k), ours(projector * rho * projector / probabilities[k]))


@pytest.mark.parametrize("rate", [0.2, 0.9])
def test_channels(rate):
    state = mixed((2,))
    probability = torch.tensor(rate, dtype=torch.float64)
    for channel in (quantum.amplitude_damping(probability), quantum.depolarising(probability)):
        kraus = [qutip.Qobj(one.numpy()) for one in channel.operators]
        superoperator = qutip.kraus_to_super(kraus)
        assert superoperator.iscptp
        near(channel(state), ours(superoperator(qutip.Qobj(state.numpy()))))


def test_maximally_entangled_and_other_named_states():
    near(quantum.bell_state(), ours(qutip.ket2dm(qutip.bell_state("00"))))
    for ours_, theirs_ in zip(
        quantum.pauli_matrices(), (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()), strict=True
    ):
        near(ours_, ours(theirs_))
    angles = torch.tensor([0.7, 2.1], dtype=torch.float64)
    bloch = [
        qutip.Qobj([[math.cos(a / 2)], [math.sin(a / 2) * complex(math.cos(p), math.sin(p))]])
        for a, p in ((0.7, 0.3), (2.1, -1.2))
    ]
    product = qutip.tensor(*bloch).full()[:, 0]
    near(quantum.angle_state(angles, torch.tensor([0.3, -1.2], dtype=torch.float64)), product)
    near(quantum.chsh_maximum(quantum.bell_state()), 2 * math.sqrt(2))
