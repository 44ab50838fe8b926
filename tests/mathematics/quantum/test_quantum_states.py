import math

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    Channel,
    amplitude_damping,
    bell_state,
    check_density_matrix,
    concurrence,
    depolarising,
    negativity,
    partial_trace,
    partial_transpose,
    pure_state,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.complex128)


def mixed(*batch, size=4, rank=None):
    """Random density matrices."""
    factor = noise(*batch, size, rank or size)
    state = factor @ factor.mH
    return state / state.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def local_unitary():
    return torch.kron(*(torch.linalg.qr(noise(2, 2)).Q for _ in range(2)))


def werner(p):
    return p * bell_state() + (1 - p) / 4 * torch.eye(4).to(torch.complex128)


def wootters(state):
    """By the eigenvalues of rho rho~, as it is written."""
    y = torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128)
    flip = torch.kron(y, y)
    values = torch.linalg.eigvals(state @ flip @ state.conj() @ flip).real.clamp(min=0).sqrt()
    return (2 * values.amax(-1) - values.sum(-1)).clamp(min=0)


GOLDEN = {
    "B8 damped Bell concurrence 0.8": (concurrence, amplitude_damping, 0.36, 0.8),
    "B8 damped Bell negativity 0.32": (negativity, amplitude_damping, 0.36, 0.32),
    "B8 depolarised Bell negativity 0.125": (negativity, depolarising, 0.5, 0.125),
}


@pytest.mark.parametrize(("measure", "channel", "rate", "value"), GOLDEN.values(), ids=GOLDEN)
def test_golden_entanglement_of_a_bell_state_after_noise_on_one_qubit(
    measure, channel, rate, value
):
    state = channel(real(rate)).on_factor(bell_state(), (2, 2), 0)
    assert float(measure(state)) == pytest.approx(value, abs=1e-14)
    other = channel(real(rate)).on_factor(bell_state(), (2, 2), 1)
    assert float(measure(other)) == pytest.approx(value, abs=1e-14)


def test_noise_follows_the_closed_forms_and_never_entangles():
    rates = torch.linspace(0, 1, 11, dtype=torch.float64)
    damped = amplitude_damping(rates).on_factor(bell_state(), (2, 2), 0)
    noisy = depolarising(rates).on_factor(bell_state(), (2, 2), 1)
    rest = (1 - rates + rates.square() / 4).sqrt() - rates / 2
    for measure, state, expected in [
        (concurrence, damped, (1 - rates).sqrt()),
        (negativity, damped, rest / 2),
        (negativity, noisy, ((3 * (1 - rates) - 1) / 4).clamp(min=0)),
        (concurrence, noisy, ((3 * (1 - rates) - 1) / 2).clamp(min=0)),
    ]:
        found = measure(state)
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-8)
        assert bool((found.diff() <= 1e-12).all())


@pytest.mark.parametrize(("p", "expected"), [(0.3, 0.0), (0.8, 0.35)])
def test_bell_and_werner_states(p, expected):
    assert float(negativity(bell_state())) == pytest.approx(0.5, abs=1e-15)
    assert float(concurrence(bell_state())) == pytest.approx(1, abs=1e-15)
    assert float(negativity(werner(p))) == pytest.approx(expected, abs=1e-15)
    assert float(concurrence(werner(p))) == pytest.approx(2 * expected, abs=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_concurrence_is_wootters_and_does_not_see_local_unitaries(rank):
    state, turn = mixed(20, rank=rank), local_unitary()
    found = concurrence(state)
    torch.testing.assert_close(found, wootters(state), rtol=0, atol=1e-7)
    torch.testing.assert_close(concurrence(turn @ state @ turn.mH), found, rtol=0, atol=1e-13)
    torch.testing.assert_close(
        negativity(turn @ state @ turn.mH), negativity(state), rtol=0, atol=1e-13
    )
    assert float(found.max()) > 0.01 or rank == 4


def test_products_and_mixtures_of_them_are_not_entangled():
    state = sum(torch.kron(mixed(size=2), mixed(size=2)) for _ in range(5)) / 5
    assert float(negativity(state)) < 1e-15
    assert float(concurrence(state)) == 0


def test_partial_trace_and_transpose_of_products():
    a, b, c = mixed(size=2), mixed(size=3), mixed(size=2)
    state = torch.kron(torch.kron(a, b), c)
    dimensions = (2, 3, 2)
    for kept, expected in [((0,), a), ((1,), b), ((2,), c), ((2, 0), torch.kron(a, c))]:
        torch.testing.assert_close(partial_trace(state, dimensions, kept), expected)
    flipped = torch.kron(torch.kron(a, b.mT.contiguous()), c)
    torch.testing.assert_close(partial_transpose(state, dimensions, (1,)), flipped)
    torch.testing.assert_close(partial_transpose(state, dimensions, (0, 1, 2)), state.mT)
    batch = mixed(4, size=12)
    rows = torch.stack([partial_trace(row, dimensions, (0, 2)) for row in batch])
    torch.testing.assert_close(partial_trace(batch, dimensions, (0, 2)), rows)
    check_density_matrix(rows)
    half = torch.eye(2, dtype=torch.complex128) / 2
    torch.testing.assert_close(partial_trace(bell_state(), (2, 2), (1,)), half)


def test_channels_act_on_one_factor_and_keep_states():
    channel = amplitude_damping(real([0.1, 0.9, 0.5]))
    a, b = mixed(size=2), mixed(size=3)
    found = channel.on_factor(torch.kron(b, a), (3, 2), 1)
    expected = torch.stack([torch.kron(b, one) for one in channel(a)])
    torch.testing.assert_close(found, expected)
    check_density_matrix(depolarising(real(0.3)).on_factor(mixed(5), (2, 2), 0))
    zero = amplitude_damping(real(1.0))(a)
    torch.testing.assert_close(zero, pure_state(torch.tensor([1, 0], dtype=torch.complex128)))
    torch.testing.assert_close(depolarising(real(1.0))(a), torch.eye(2).to(a) / 2)


def test_gradcheck():
    rate = real([0.2, 0.7]).requires_grad_()

    def damped(measure):
        return lambda r: measure(
            depolarising(r / 2).on_factor(
                amplitude_damping(r).on_factor(bell_state(), (2, 2), 0), (2, 2), 1
            )
        )

    for measure in (negativity, concurrence):
        assert torch.autograd.gradcheck(damped(measure), rate)
    factor = (werner(0.9) + 0.05 * mixed()).detach().requires_grad_()

    def of_state(factor):
        state = factor @ factor.mH
        state = state / state.diagonal(dim1=-2, dim2=-1).sum(-1)
        return concurrence(state), negativity(state)

    assert torch.autograd.gradcheck(of_state, factor)


QUBIT = torch.eye(2, dtype=torch.complex128) / 2
MISUSED = {
    "zero vector": (lambda: pure_state(torch.zeros(2)), "vector: .*norm of 0.0"),
    "not square": (lambda: check_density_matrix(noise(2, 3)), r"state: got .*, shape \[2, 3\]"),
    "real state": (lambda: check_density_matrix(torch.eye(2) / 2), "state: got torch.float32"),
    "numbers": (lambda: pure_state(torch.ones(2, dtype=torch.int64)), "vector: got torch.int64"),
    "NaN": (lambda: negativity(bell_state() * math.nan), "state: got NaN"),
    "not Hermitian": (lambda: negativity(noise(4, 4)), "state: .*from Hermitian"),
    "trace": (lambda: concurrence(2 * bell_state()), "state: got a trace of 2"),
    "negative": (lambda: negativity(werner(1.5)), "state: got an eigenvalue of -0.125"),
    "qutrit": (lambda: concurrence(QUBIT), r"state: got shape \[2, 2\]"),
    "dimensions": (lambda: partial_trace(bell_state(), (2, 3), (0,)), r"dimensions: got \[2, 3\]"),
    "factors": (lambda: partial_transpose(bell_state(), (2, 2), (2,)), r"factors: got \[2\]"),
    "rate": (lambda: amplitude_damping(real(1.5)), "rate: .*to 1.5, expected floating"),
    "probability": (lambda: depolarising(real(-0.1)), "probability: .*from -0.1"),
    "no channel": (lambda: Channel(QUBIT[None]), "defect of 0.75, expected sum K"),
    "real": (lambda: Channel(torch.eye(2)[None]), r"operators: got torch.float32 \[1, 2, 2\]"),
    "factor": (
        lambda: depolarising(real(0.1)).on_factor(mixed(size=6), (3, 2), 0),
        "factor: got 0 of dimension 3, expected one of dimension 2",
    ),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
