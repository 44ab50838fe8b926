import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    bell_state,
    bures_angle,
    bures_distance,
    chsh_maximum,
    concurrence,
    decomposable_witness,
    fidelity,
    log_negativity,
    negativity,
    partial_trace,
    projector_witness,
    pure_state,
    purity,
    quantum_mutual_information,
    quantum_renyi_entropy,
    relative_entropy,
    trace_distance,
    von_neumann_entropy,
)

PHI = torch.tensor([1, 0, 0, 1], dtype=torch.complex128)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.complex128)


def mixed(*batch, size=4, rank=None):
    factor = noise(*batch, size, rank or size)
    state = factor @ factor.mH
    return state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def unitary(size):
    return torch.linalg.qr(noise(size, size)).Q


def werner(p):
    return p * bell_state() + (1 - p) / 4 * torch.eye(4).to(torch.complex128)


def one_qubit(*ones):
    """The first qubit's state, of three in the sum of these basis states."""
    vector = torch.zeros(8, dtype=torch.complex128)
    vector[list(ones)] = 1
    return partial_trace(pure_state(vector), (2, 2, 2), (0,))


def expectation(operator, state):
    return (operator @ state).diagonal(dim1=-2, dim2=-1).sum(-1).real


def bell_entropy():
    return von_neumann_entropy(partial_trace(bell_state(), (2, 2), (0,)))


SIGMA = torch.tensor([[0.6, 0.1 - 0.2j], [0.1 + 0.2j, 0.4]], dtype=torch.complex128)
RHO = torch.tensor([[0.7, 0.2 + 0.1j], [0.2 - 0.1j, 0.3]], dtype=torch.complex128)


def qubit_fidelity():
    """sqrt(tr(rho sigma) + 2 sqrt(det rho det sigma))."""
    product = torch.linalg.det(RHO).real * torch.linalg.det(SIGMA).real
    return (expectation(RHO, SIGMA) + 2 * product.sqrt()).sqrt()


GOLDEN = {
    "B4 Bell entropy": (bell_entropy, math.log(2)),
    "B4 Bell negativity": (lambda: negativity(bell_state()), 0.5),
    "B4 Bell log-negativity": (lambda: log_negativity(bell_state()), 1),
    "B4 Bell concurrence": (lambda: concurrence(bell_state()), 1),
    "Bell mutual information": (lambda: quantum_mutual_information(bell_state()), 2 * math.log(2)),
    "B4 Werner 0.3 entropy": (lambda: von_neumann_entropy(werner(0.3)), 1.26866811076),
    "B4 Werner 0.3 negativity": (lambda: negativity(werner(0.3)), 0),
    "B4 Werner 0.3 concurrence": (lambda: concurrence(werner(0.3)), 0),
    "B4 Werner 0.3 purity": (lambda: purity(werner(0.3)), 0.3175),
    "B4 Werner 0.8 entropy": (lambda: von_neumann_entropy(werner(0.8)), 0.587500931106),
    "B4 Werner 0.8 negativity": (lambda: negativity(werner(0.8)), 0.35),
    "B4 Werner 0.8 concurrence": (lambda: concurrence(werner(0.8)), 0.7),
    "B4 Werner 0.8 purity": (lambda: purity(werner(0.8)), 0.73),
    "B4 Werner 0.8 CHSH": (lambda: chsh_maximum(werner(0.8)), 2.2627416998),
    "B4 W state entropy": (lambda: von_neumann_entropy(one_qubit(1, 2, 4)), 0.636514168295),
    "B4 GHZ entropy": (lambda: von_neumann_entropy(one_qubit(0, 7)), math.log(2)),
    "B4 witness of Phi+": (lambda: expectation(projector_witness(PHI), bell_state()), -0.5),
    "B4 witness of |00>": (lambda: projector_witness(PHI)[0, 0].real, 0),
    "B4 qubit fidelity closed form": (lambda: fidelity(RHO, SIGMA) - qubit_fidelity(), 0),
}


@pytest.mark.parametrize(("measure", "value"), GOLDEN.values(), ids=GOLDEN)
def test_golden(measure, value):
    assert abs(float(measure()) - value) < 1e-11


def test_closed_forms_on_spectra():
    p = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    basis = unitary(4)
    state = basis @ p.to(basis).diag() @ basis.mH
    for order, value in {
        0: math.log(3),
        0.5: 2 * math.log(sum(x**0.5 for x in (0.5, 0.3, 0.2))),
        0.95: 20 * math.log(sum(x**0.95 for x in (0.5, 0.3, 0.2))),
        2: -math.log(0.38),
        1e5: math.log(2) * 1e5 / (1e5 - 1),
        math.inf: math.log(2),
    }.items():
        assert abs(float(quantum_renyi_entropy(state, order)) - value) < 1e-12
    near = [float(quantum_renyi_entropy(state, order)) for order in (1 - 1e-6, 1, 1 + 1e-6)]
    assert near[0] > near[1] > near[2]
    assert near[0] - near[2] < 1e-6
    for order in (1 - 1e-13, 1 + 1e-13):
        assert abs(float(quantum_renyi_entropy(state, order)) - near[1]) < 1e-12
    q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    other = basis @ q.to(basis).diag() @ basis.mH
    kept = p > 0
    classical = (p[kept] * (p[kept] / q[kept]).log()).sum()
    assert abs(float(relative_entropy(state, other) - classical)) < 1e-12
    assert abs(float(fidelity(state, other) - (p * q).sqrt().sum())) < 1e-12
    assert abs(float(trace_distance(state, other) - (p - q).abs().sum() / 2)) < 1e-12
    assert float(relative_entropy(other, state)) == math.inf


def test_relative_entropy_is_what_correlation_is_worth():
    state = mixed(3, size=6)
    one, two = (partial_trace(state, (2, 3), (k,)) for k in (0, 1))
    product = torch.stack([torch.kron(a, b) for a, b in zip(one, two, strict=True)])
    torch.testing.assert_close(
        quantum_mutual_information(state, (2, 3)),
        relative_entropy(state, product),
        rtol=0,
        atol=1e-12,
    )
    assert float(quantum_mutual_information(product, (2, 3)).abs().max()) < 1e-12


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_laws_of_distances(rank):
    a, b, c = mixed(3, 20, rank=rank)
    overlap, distance = fidelity(a, b), trace_distance(a, b)
    assert bool((1 - overlap <= distance + 1e-12).all())
    assert bool((distance <= (1 - overlap.square()).sqrt() + 1e-12).all())
    torch.testing.assert_close(bures_distance(a, b).square(), 2 - 2 * overlap)
    torch.testing.assert_close(bures_angle(a, b), overlap.acos())
    for measure in (trace_distance, bures_distance, bures_angle):
        assert bool((measure(a, c) <= measure(a, b) + measure(b, c) + 1e-12).all())
        torch.testing.assert_close(measure(a, b), measure(b, a))
        assert float(measure(a, a).max()) < 1e-7
    assert bool((relative_entropy(a, mixed(20)) > 0).all())
    traced = [partial_trace(x, (2, 2), (0,)) for x in (a, b)]
    assert bool((trace_distance(*traced) <= distance + 1e-12).all())
    turn = unitary(4)
    torch.testing.assert_close(fidelity(turn @ a @ turn.mH, turn @ b @ turn.mH), overlap)
    loop = torch.stack([fidelity(*pair) for pair in zip(a, b, strict=True)])
    torch.testing.assert_close(loop, overlap)
    if rank == 1:
        torch.testing.assert_close(overlap.square(), expectation(a, b))


def test_bures_distance_keeps_its_digits():
    angle = 1e-9
    a, b = (
        pure_state(torch.tensor([math.cos(x), math.sin(x)], dtype=torch.complex128))
        for x in (0.3, 0.3 + angle)
    )
    assert abs(float(bures_distance(a, b)) / angle - 1) < 1e-6


def test_witnesses_accept_separable_states_and_see_entangled_ones():
    products = torch.stack([torch.kron(mixed(size=2), mixed(size=2)) for _ in range(200)])
    for state in mixed(10, rank=1):
        witness = decomposable_witness(state)
        assert float(expectation(witness, products).min()) > -1e-14
        least = float(expectation(witness, state))
        assert abs(least + float(negativity(state))) < 1e-12
        assert least < -1e-3
    vector = noise(4)
    assert float(expectation(projector_witness(vector), products).min()) > 0
    bound = math.sqrt(2) * 2
    assert float(chsh_maximum(products).max()) <= 2
    assert float(chsh_maximum(bell_state())) < 2.83
    assert float(chsh_maximum(mixed(50, rank=1)).max()) <= bound + 1e-12


def of_factor(measure):
    def call(factor):
        state = factor @ factor.mH
        return measure(state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None])

    return call


torch.manual_seed(1)
PAIR = mixed(size=4)
SMOOTH = {
    "entropy": von_neumann_entropy,
    "renyi 0.5": lambda state: quantum_renyi_entropy(state, 0.5),
    "renyi inf": lambda state: quantum_renyi_entropy(state, math.inf),
    "purity": purity,
    "mutual": quantum_mutual_information,
    "relative, first": lambda state: relative_entropy(state, PAIR),
    "fidelity": lambda state: fidelity(state, PAIR),
    "bures": lambda state: bures_distance(PAIR, state),
    "angle": lambda state: bures_angle(state, PAIR),
    "trace": lambda state: trace_distance(state, PAIR),
    "log-negativity": log_negativity,
    "concurrence": concurrence,
    "chsh": chsh_maximum,
}


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("name", SMOOTH)
def test_gradcheck_along_states_of_one_rank(name, rank):
    factor = noise(4, rank)
    if name == "log-negativity" or (name == "concurrence" and rank == 4):
        factor = factor * 0.1 + (noise(1, rank) * PHI[:, None])
    assert torch.autograd.gradcheck(of_factor(SMOOTH[name]), factor.requires_grad_())


def test_gradcheck_of_the_second_state_and_at_equal_eigenvalues():
    factor = noise(4, 4).requires_grad_()
    assert torch.autograd.gradcheck(of_factor(lambda x: relative_entropy(PAIR, x)), factor)
    same = torch.eye(4, dtype=torch.complex128).requires_grad_()
    for measure in (von_neumann_entropy, lambda x: relative_entropy(PAIR, x), SMOOTH["fidelity"]):
        assert torch.autograd.gradcheck(of_factor(measure), same)
    (slope,) = torch.autograd.grad(
        bures_distance(PAIR, leaf := PAIR.clone().requires_grad_()), leaf
    )
    assert bool(slope.isfinite().all())


def test_single_precision():
    for measure in (von_neumann_entropy, concurrence, negativity, chsh_maximum):
        torch.testing.assert_close(
            measure(werner(0.8).to(torch.complex64)).double(),
            measure(werner(0.8)),
            rtol=0,
            atol=2e-6,
        )


MISUSED = {
    "order": (lambda: quantum_renyi_entropy(RHO, -1.0), "order: got -1.0"),
    "not normalised": (lambda: von_neumann_entropy(2 * RHO), "state: got a trace of 2"),
    "other": (lambda: relative_entropy(RHO, SIGMA * 3), "other: got a trace of 3"),
    "not Hermitian": (lambda: fidelity(RHO, SIGMA @ SIGMA + RHO @ SIGMA), "from Hermitian"),
    "qutrits": (lambda: chsh_maximum(RHO), r"state: got shape \[2, 2\]"),
    "factors": (lambda: projector_witness(PHI, (2, 3)), r"dimensions: got \[2, 3\]"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
