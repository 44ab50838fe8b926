import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    HilbertSpace,
    QuantumStateSpace,
    amplitude_state,
    angle_state,
    bell_state,
    ensemble_state,
    pauli_matrices,
    pure_state,
)

SPACE = QuantumStateSpace((2, 2))
X, _, Z = pauli_matrices()


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_space_and_its_preparations():
    assert SPACE.dimension == SPACE.hilbert_space.dimension == 4
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(SPACE.prepare_state(x), pure_state(amplitude_state(x)))
    phased = pure_state(angle_state(x[:, :2], x[:, 2:]))
    torch.testing.assert_close(SPACE.prepare_state(x[:, :2], "angle", x[:, 2:]), phased)
    torch.testing.assert_close(SPACE.prepare_state(x, "density"), ensemble_state(x))
    one, other = amplitude_state(x)[:2]
    inner = SPACE.hilbert_space.inner(one, 1j * other)
    torch.testing.assert_close(inner, 1j * torch.vdot(one, other))
    single = QuantumStateSpace((4,), torch.complex64).prepare_state(x)
    assert single.dtype == torch.complex64


def test_a_bell_pair_is_made_by_evolution_and_measured():
    """exp(-i t (1 - Z) x (1 - X) / 4) at t = pi is a CNOT, up to nothing."""
    start = SPACE.prepare_state(torch.tensor([math.pi / 2, 0.0], dtype=torch.float64), "angle")
    one = torch.eye(2, dtype=torch.complex128)
    hamiltonian = torch.kron(one - Z, one - X) / 4
    state = SPACE.evolve_state(start, hamiltonian, math.pi)
    torch.testing.assert_close(state, bell_state())
    found = SPACE.entanglement_witness(state)
    for value, expected in [
        (found.negativity, 0.5),
        (found.log_negativity, 1),
        (found.witness_value, -0.5),
        (found.concurrence, 1),
        (found.chsh_maximum, 2 * math.sqrt(2)),
        (SPACE.compute_entropy(state), 0),
        (SPACE.compute_entropy(torch.eye(4).to(state) / 4, 2.0), math.log(4)),
    ]:
        assert abs(float(value) - expected) < 1e-12
    seen = SPACE.measure_observable(state, torch.kron(Z, Z))
    assert abs(float(seen.value) - 1) < 1e-13
    assert abs(float(seen.variance)) < 1e-13
    left = SPACE.measure_observable(state, torch.kron(Z, one))
    assert abs(float(left.variance) - 1) < 1e-13
    after = left.measurement.after(1)  # Z = +1 on the first qubit: both are 0
    torch.testing.assert_close(after, pure_state(torch.eye(4).to(after)[0]))
    noisy = SPACE.evolve_state(state, 0 * hamiltonian, 0.5, torch.kron(Z, one)[None])
    assert abs(float(SPACE.entanglement_witness(noisy).concurrence) - math.exp(-1)) < 1e-12


def test_entanglement_of_other_factors_and_the_metric():
    vector = torch.zeros(6, dtype=torch.float64)
    vector[[0, 4]] = 1
    found = QuantumStateSpace((2, 3)).entanglement_witness(
        QuantumStateSpace((2, 3)).prepare_state(vector)
    )
    assert abs(float(found.negativity) - 0.5) < 1e-14
    assert found.concurrence is None
    assert found.chsh_maximum is None
    metric = SPACE.metric_tensor(angle_state, torch.tensor([0.3, 1.1], dtype=torch.float64))
    torch.testing.assert_close(metric, torch.eye(2, dtype=torch.float64) / 4)


MISUSED = {
    "dimensions": (lambda: HilbertSpace((2, 0)), r"dimensions: got \(2, 0\)"),
    "dtype": (lambda: QuantumStateSpace((2,), torch.float64), "dtype: got torch.float64"),
    "preparation": (lambda: SPACE.prepare_state(torch.ones(4), "phase"), "preparation: got phase"),
    "phases": (
        lambda: SPACE.prepare_state(torch.ones(2, 4), "density", torch.ones(2, 4)),
        "phases: got some",
    ),
    "width": (
        lambda: SPACE.prepare_state(torch.ones(3)),
        "classical_data: got 3 numbers for amplitude preparation, dimension 3",
    ),
    "angles": (
        lambda: SPACE.prepare_state(torch.ones(3), "angle"),
        "angle preparation, dimension 8",
    ),
    "vector": (lambda: SPACE.compute_entropy(bell_state()[0]), r"state: .*density matrix"),
    "other space": (lambda: SPACE.compute_entropy(X), r"state: got torch.complex128 \[2, 2\]"),
    "not normalised": (lambda: SPACE.compute_entropy(2 * bell_state()), "state: got a trace of 2"),
    "not Hermitian": (
        lambda: SPACE.measure_observable(bell_state(), torch.kron(X @ Z, X)),
        "observable: got 2 from Hermitian",
    ),
    "one factor": (
        lambda: QuantumStateSpace((4,)).entanglement_witness(bell_state()),
        r"dimensions: got \(4,\)",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
