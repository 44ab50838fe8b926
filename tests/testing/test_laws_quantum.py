import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    Channel,
    QuantumStateSpace,
    amplitude_damping,
    bell_state,
    concurrence,
    depolarising,
    negativity,
    pauli_matrices,
    propagator,
    pure_state,
)
from adaptive_attention_tiling.testing.laws import Moments, QuantumValidation

DOUBLE, COMPLEX = torch.float64, torch.complex128
X, Y, Z = pauli_matrices()
ZERO = torch.tensor([1, 0], dtype=COMPLEX)


def draw(*shape, seed=0, dtype=COMPLEX):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_states(count, d, seed=0):
    factor = draw(count, d, d, seed=seed)
    state = factor @ factor.mH
    return state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]


def normal(state, tolerance=1e-12, **options):
    return QuantumValidation(**options).check_normalization(state, tolerance)


def test_states_are_normalised():
    space = QuantumStateSpace((2, 2))
    prepared = space.prepare_state(draw(5, 2, dtype=DOUBLE), "angle")
    for state in (prepared, bell_state(), random_states(20, 6), ZERO, depolarising(
        torch.tensor(0.3, dtype=DOUBLE))(pure_state(ZERO))):  # fmt: skip
        found = normal(state)
        assert found
    assert normal(prepared).cases == 5
    vectors = torch.nn.functional.normalize(draw(2, 2), dim=-1)
    assert normal(vectors, vectors=True).cases == 2
    assert normal(prepared.to(torch.complex64), 1e-6)
    assert normal(torch.eye(2, dtype=DOUBLE) / 2)


def test_golden_unitary_drift_stays_within_rounding():
    hamiltonian = draw(4, 4)
    step = propagator(hamiltonian + hamiltonian.mH, 0.05)
    state = bell_state()
    for _ in range(1000):
        state = step @ state @ step.mH
    found = normal(state, 1e-12)
    assert found
    assert found.measured < 1e-12


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        ([[1e-3, 0], [0, 0]], "|tr rho - 1|"),
        ([[0, 1e-3], [0, 0]], "|rho - rho^H|"),
        ([[1e-3, 0], [0, -1e-3]], "least eigenvalue"),
        ([[math.nan, 0], [0, 0]], "|tr rho - 1|"),
        ([[0, math.nan], [0, 0]], "|rho - rho^H|"),
    ],
)
def test_what_is_no_state_fails(change, quantity):
    states = pure_state(ZERO).repeat(4, 1, 1)
    states[2] += torch.tensor(change, dtype=COMPLEX)
    found = normal(states, 1e-6)
    assert not found
    assert (found.quantity, found.where) == (quantity, "state 2")
    # A looser bound lets through what it says.
    assert bool(normal(states, 1.001e-3)) is not math.isnan(found.measured)
    assert not normal(states, 0.999e-3)


def test_vectors_that_are_too_long_fail():
    assert not normal(1.001 * ZERO, 1e-6)
    assert not normal(ZERO * math.nan, 1e-6)
    vectors = ZERO.repeat(3, 1)
    vectors[1] *= 1 + 1e-7
    assert normal(vectors, 2.1e-7, vectors=True)
    assert not normal(vectors, 1.9e-7, vectors=True)


def oscillator(size):
    """x, p and states n of a harmonic oscillator, cut off far above."""
    lower = torch.arange(1, size, dtype=DOUBLE).sqrt().diag(1).to(COMPLEX)
    return (lower + lower.mH) / math.sqrt(2), (lower - lower.mH) / (1j * math.sqrt(2)), lower


POSITION, MOMENTUM, LOWER = oscillator(40)


def uncertain(state, observables=None, **options):
    return QuantumValidation(**options).verify_uncertainty_relations(state, observables)


@pytest.mark.parametrize("n", [0, 1, 3, 10])
@pytest.mark.parametrize("relation", ["robertson_schroedinger", "heisenberg"])
def test_golden_oscillator(n, relation):
    vector = torch.zeros(40, dtype=COMPLEX)
    vector[n] = 1
    found = uncertain(vector, (POSITION, MOMENTUM), relation=relation)
    assert found
    # var x var p = (n + 1/2)^2 beside 1/4.
    assert found.measured == pytest.approx((n + 0.5) ** 2 - 0.25, abs=1e-10)


@pytest.mark.parametrize("squeeze", [0.0, 0.5])
def test_coherent_and_squeezed_states_are_as_certain_as_may_be(squeeze):
    move = torch.linalg.matrix_exp(0.8 * (LOWER.mH - LOWER))
    bend = torch.linalg.matrix_exp(0.5j * squeeze * (LOWER @ LOWER + LOWER.mH @ LOWER.mH))
    start = torch.zeros(40, dtype=COMPLEX)
    start[0] = 1
    found = uncertain(move @ (bend @ start), (POSITION, MOMENTUM))
    assert found
    assert abs(found.measured) < 1e-7
    loose = uncertain(bend @ start, (POSITION, MOMENTUM), relation="heisenberg")
    assert loose
    assert (loose.measured > 1e-3) == (squeeze > 0)


@pytest.mark.parametrize("relation", ["robertson_schroedinger", "heisenberg", "maassen_uffink"])
def test_random_states_are_uncertain(relation):
    states = random_states(200, 3)
    one, other = (a + a.mH for a in draw(2, 3, 3, seed=5))
    found = uncertain(states, (one, other), relation=relation)
    assert found
    assert found.cases == 200
    assert found.measured > 0


def test_pure_qubits_are_equal():
    vectors = torch.nn.functional.normalize(draw(50, 2), dim=-1)
    found = uncertain(vectors, (X + 0.3 * Y, Z), vectors=True)
    assert found
    assert abs(found.measured) < 1e-14
    entropic = uncertain(ZERO, (Z, X), relation="maassen_uffink")
    assert entropic
    assert abs(entropic.measured) < 1e-14
    tilted = torch.tensor([math.cos(math.pi / 8), math.sin(math.pi / 8)], dtype=COMPLEX)
    golden = uncertain(tilted, (Z, X), relation="maassen_uffink").measured
    assert golden == pytest.approx(0.832991061399 - math.log(2), abs=1e-11)


def moments(first, second, covariance, commutator):
    pairs = (0.5, first), (0.5, second), (0.0, covariance), (0.5, commutator)
    return Moments(*(torch.tensor(pair, dtype=DOUBLE) for pair in pairs))


@pytest.mark.parametrize(
    ("values", "relation", "good"),
    [
        ((0.25, 1.0, 0.0, 1.0), "heisenberg", True),
        ((0.25, 1 - 0.9e-9, 0.0, 1.0), "heisenberg", True),
        ((0.25, 1 - 1.1e-9, 0.0, 1.0), "heisenberg", False),
        ((0.25, 0.9, 0.0, 1.0), "heisenberg", False),
        ((1.0, 1.0, 0.9, 1.0), "heisenberg", True),
        ((1.0, 1.0, 0.9, 1.0), "robertson_schroedinger", False),
        ((1.0, 1.06, 0.9, 1.0), "robertson_schroedinger", True),
        ((-1.0, -1.0, 0.0, 1.0), "heisenberg", False),
        ((-1.0, 0.0, 0.0, 0.1), "heisenberg", False),
        ((math.nan, 1.0, 0.0, 1.0), "heisenberg", False),
        ((1e-18, 1e-18, 0.0, 2.1e-18), "heisenberg", False),
        ((1e-18, 1e-18, 0.0, 2e-18), "heisenberg", True),
    ],
)
def test_variances_that_were_measured_may_be_impossible(values, relation, good):
    found = uncertain(moments(*values), relation=relation)
    assert bool(found) is good
    assert found.cases == 2


def test_states_that_are_none_fail_before_they_are_uncertain():
    found = uncertain(1.001 * pure_state(ZERO), (X, Z))
    assert not found
    assert "normalised" in found.law


@pytest.mark.parametrize("relation", ["robertson_schroedinger", "heisenberg", "maassen_uffink"])
@pytest.mark.parametrize(("below", "good"), [(1e-9, True), (5e-7, True), (1e-5, False)])
def test_states_with_eigenvalues_a_little_below_zero(relation, below, good):
    rho = torch.diag(torch.tensor([1 + below, -below, 0.0], dtype=COMPLEX))
    one, other = torch.diag(torch.tensor([1, 0, -1], dtype=COMPLEX)), draw(3, 3)
    found = uncertain(rho, (one, other + other.mH), relation=relation)
    assert bool(found) is good
    assert ("normalised" in found.law) is not good


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_uncertainty_knows_no_units_of_observables(scale):
    vectors = torch.nn.functional.normalize(draw(50, 2), dim=-1)
    for states in (vectors, vectors.to(torch.complex64), vectors.to(torch.complex64).to(COMPLEX)):
        assert uncertain(states, (scale * X, Z), vectors=True)
    wrong = Moments(*(scale * torch.tensor(value, dtype=DOUBLE) for value in (1.0, 0.9, 0.0, 2.0)))
    assert not uncertain(wrong, relation="heisenberg")


def entangles(operation, state=None, **options):
    state = bell_state() if state is None else state
    return QuantumValidation(**options).check_entanglement_monotonicity(operation, state)


RATES = torch.linspace(0, 1, 11, dtype=DOUBLE)


@pytest.mark.parametrize("factor", [0, 1])
def test_golden_amplitude_damping_falls(factor):
    channel = amplitude_damping(RATES)
    for measure in (negativity, concurrence):
        found = entangles(channel, monotone=measure, factor=factor)
        assert found
        assert found.cases == 11 * 17
    states = channel.on_factor(bell_state().expand(11, 4, 4), (2, 2), factor)
    wanted = ((1 - RATES + RATES**2 / 4).sqrt() - RATES / 2) / 2
    torch.testing.assert_close(negativity(states), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(concurrence(states), (1 - RATES).sqrt(), rtol=0, atol=1e-7)
    backwards = entangles([amplitude_damping(r) for r in RATES.flip(0)])
    assert not backwards
    assert backwards.where.startswith("state 0, operation ")


def test_golden_depolarising_falls():
    found = entangles(depolarising(RATES), slack=1e-7)
    assert found
    states = depolarising(RATES).on_factor(bell_state().expand(11, 4, 4), (2, 2), 0)
    wanted = ((3 * (1 - RATES) - 1) / 4).clamp(min=0)
    torch.testing.assert_close(negativity(states), wanted, rtol=0, atol=1e-7)


CNOT = torch.eye(4, dtype=COMPLEX)[[0, 1, 3, 2]]
LOCAL = torch.kron(torch.linalg.qr(draw(2, 2))[0], torch.linalg.qr(draw(2, 2, seed=1))[0])


def conjugation(unitary):
    return lambda rho: unitary @ rho @ unitary.mH


def test_local_unitaries_keep_and_global_ones_entangle():
    product = pure_state(torch.tensor([1, 0, 1, 0], dtype=COMPLEX))
    for state in (product, bell_state(), pure_state(draw(4))):
        for local in (conjugation(LOCAL), LOCAL[None], Channel(LOCAL[None])):
            assert entangles(local, state)
    found = entangles(conjugation(CNOT), product)
    assert not found
    assert (found.where, found.measured) == ("state 0, operation 0", pytest.approx(0.5))
    # A Bell state cannot show it; a product state that nobody gave does.
    hidden = entangles(CNOT[None])
    assert not hidden
    assert hidden.where.startswith("product state")
    assert entangles(CNOT[None], products=0)
    assert not entangles([conjugation(LOCAL), conjugation(CNOT)], product)
    small = torch.linalg.matrix_exp(1e-7j * torch.kron(X, X))
    assert not entangles(conjugation(small), product)
    assert entangles(conjugation(small), product, slack=1e-6)


def test_what_comes_out_must_be_a_state():
    for broken in (lambda rho: 1.001 * rho, lambda rho: rho * math.nan, lambda rho: 2 * rho - (
        torch.eye(4) / 4)):  # fmt: skip
        found = entangles(broken)
        assert not found
        assert "normalised" in found.law
    assert not entangles(conjugation(LOCAL), 2 * bell_state())


def test_partial_transposition_is_told_by_entangled_states():
    def transpose(rho):
        return rho.reshape(2, 2, 2, 2).transpose(0, 2).reshape(4, 4)

    product = torch.eye(4, dtype=COMPLEX)[0]
    found = entangles(transpose, product)
    assert not found
    assert found.quantity == "least eigenvalue"


def test_three_parties_and_vectors():
    ghz = torch.zeros(8, dtype=COMPLEX)
    ghz[[0, 7]] = 1 / math.sqrt(2)
    laws = {"dimensions": (2, 2, 2), "factor": 2}
    assert entangles(amplitude_damping(RATES[:5]), ghz, **laws)
    # The GHZ state is as entangled as may be at every cut; products show what these do.
    for whole in (torch.kron(torch.eye(2), CNOT), torch.kron(CNOT, torch.eye(2))):
        found = entangles(whole[None], ghz, **laws)
        assert not found
        assert found.where.startswith("product state")
        assert entangles(whole[None], ghz, products=0, **laws)


def test_all_laws_at_once():
    found = QuantumValidation().all(bell_state(), (torch.kron(X, X), torch.kron(Z, Y)),
                                    amplitude_damping(RATES))  # fmt: skip
    assert [bool(report) for report in found] == [True, True, True]
    assert len(QuantumValidation().all(ZERO)) == 1


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("state", lambda: normal("psi")),
        ("state", lambda: normal(ZERO[:0])),
        ("state", lambda: normal(draw(3, 2))),
        ("state", lambda: normal(torch.tensor([1, 0]))),
        ("bounds", lambda: normal(ZERO, math.nan)),
        ("observables", lambda: uncertain(ZERO)),
        ("observables", lambda: uncertain(ZERO, (X,))),
        ("observables", lambda: uncertain(ZERO, (X, Z + 0.1j * X))),
        ("observables", lambda: uncertain(ZERO, (X, torch.eye(3, dtype=COMPLEX)))),
        ("relation", lambda: QuantumValidation(relation="pauli")),
        ("relation", lambda: uncertain(moments(1, 1, 0, 1), relation="maassen_uffink")),
        ("products", lambda: QuantumValidation(products=-1)),
        ("factor", lambda: QuantumValidation(factor=2)),
        ("operation", lambda: entangles("damping")),
        ("operation", lambda: entangles([])),
        ("operation", lambda: entangles(torch.eye(3, dtype=COMPLEX)[None])),
        ("operators", lambda: entangles(2 * CNOT[None])),
        ("operators", lambda: entangles(torch.ones(2))),
        ("initial_state", lambda: entangles(LOCAL[None], ZERO)),
        ("monotone", lambda: entangles(LOCAL[None], monotone=lambda rho: negativity(rho).sum())),
    ],
)
def test_what_cannot_be_judged_is_told(name, call):
    with pytest.raises(ArgumentError, match=f"{name}: got"):
        call()
