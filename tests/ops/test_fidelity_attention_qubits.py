"""Fidelity attention of products of real qubits: 3^n features that say what m (m + 1) / 2 do."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import angle_amplitudes
from adaptive_attention_tiling.ops.fidelity_attention import (
    FidelityKernel,
    FidelityStepper,
    explain_fidelity_attention,
    fidelity_attention,
    interface,
    pairs,
)
from adaptive_attention_tiling.testing import assert_causal, assert_close

B, H, G, N, E, T = 2, 4, 2, 3, 5, 13
M, BACKGROUND = 2**N, 0.02
FORMS = ("parallel", "chunked", "recurrent", *(["native"] if native.runnable_sets() else []))


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(interface, "chunk_tokens", lambda features: 5)
    monkeypatch.setattr(pairs, "ROWS", 4)


def states(*shape, seed=0):
    source = torch.Generator().manual_seed(seed)
    return angle_amplitudes(torch.randn(*shape, generator=source, dtype=torch.float64) * 2)


class Text:
    """Angles of queries and keys, values and gates, and the call that reads them."""

    def __init__(self, *, decayed=True, padded=False):
        source = torch.Generator().manual_seed(1)

        def normal(*shape):
            return torch.randn(*shape, generator=source, dtype=torch.float64)

        self.angles = [normal(B, heads, T, N).requires_grad_() for heads in (H, G)]
        self.value = normal(B, G, T, E).requires_grad_()
        self.gate = logsigmoid(normal(B, G, T)).requires_grad_()
        self.decay = logsigmoid(normal(B, G, T) + 1).requires_grad_() if decayed else None
        self.outer = normal(B, H, T, E)
        self.mask = None
        if padded:
            self.mask = torch.ones(B, T, dtype=torch.bool)
            self.mask[0, :3] = self.mask[1, -4:] = self.mask[1, 2] = False

    def read(self, start=0, end=T, **settings):
        def cut(t):
            return None if t is None else t[:, :, start:end]

        tensors = (*(angle_amplitudes(cut(a)) for a in self.angles), cut(self.value))
        return fidelity_attention(
            *tensors,
            enable_gqa=True,
            background=BACKGROUND,
            decay=cut(self.decay),
            gate=cut(self.gate),
            key_padding_mask=self.mask,
            **settings,
        )

    def gradients(self, out):
        leaves = [t for t in (*self.angles, self.value, self.gate, self.decay) if t is not None]
        return torch.autograd.grad((out * self.outer).sum(), leaves)


def assert_same(text, out, expected, gradients):
    assert_close(out, expected)
    for number, (got, wanted) in enumerate(zip(text.gradients(out), gradients, strict=True)):
        assert float(wanted.abs().max()) > 1e-3
        assert_close(got, wanted, gradient=True, what=f"gradient {number}")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("window", "sinks"), [(0, 0), (3, 2)])
@pytest.mark.parametrize("causal", [True, False])
def test_all_forms_are_those_of_dense_states(causal, window, sinks, padded):
    text = Text(decayed=causal, padded=padded)
    settings = {"is_causal": causal, "window": window, "sinks": sinks}
    expected = text.read(**settings, implementation="reference")
    gradients = text.gradients(expected)
    for form in FORMS:
        out = text.read(**settings, qubits=N, implementation=form)
        assert_same(text, out, expected, gradients)


@pytest.mark.parametrize("form", ["reference", *FORMS])
def test_a_state_goes_on_where_it_was_returned(form):
    text = Text()
    settings = {"is_causal": True, "window": 3, "sinks": 1}
    expected = text.read(**settings, implementation="reference")
    begin = "chunked" if form == "reference" else form
    before, state = text.read(0, 7, **settings, qubits=N, implementation=begin, return_state=True)
    assert state.values.shape[2] == 3**N + 1
    after = text.read(7, T, **settings, qubits=N, initial_state=state, implementation=form)
    assert_same(text, torch.cat([before, after], 2), expected, text.gradients(expected))


def test_steps_are_ordinary_calls():
    text = Text()
    settings = {"is_causal": True, "window": 2, "sinks": 1, "qubits": N}
    with torch.no_grad():
        expected = text.read(**settings)
        _, state = text.read(0, 4, **settings, return_state=True)
        stepper = FidelityStepper(state, background=BACKGROUND, qubits=N)
        assert stepper.explain().reason == "ordinary calls: features of qubits"
        rows = []
        for t in range(4, T):
            now = slice(t, t + 1)
            query, key = (angle_amplitudes(a[:, :, now]) for a in text.angles)
            rates = text.gate[:, :, now], text.decay[:, :, now]
            rows.append(stepper.step(query, key, text.value[:, :, now], *rates))
    assert_close(torch.cat(rows, 2), expected[:, :, 4:])


@pytest.mark.parametrize("form", FORMS)
def test_nothing_later_is_seen(form):
    def attend(x, y, v):
        q, k = angle_amplitudes(x), angle_amplitudes(y)
        settings = {"is_causal": True, "window": 2, "enable_gqa": True, "qubits": N}
        return fidelity_attention(q, k, v, **settings, implementation=form)

    text = Text()
    assert_causal(attend, [t.detach() for t in (*text.angles, text.value)], 6)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("background", [0.0, 0.3])
def test_features_give_the_weights_exactly(n, background):
    kernel = FidelityKernel(2**n, False, background, n)
    q, k = states(7, n), states(9, n, seed=1)
    phi = [kernel.feature_map(x) for x in (q, k)]
    assert phi[0].shape[-1] == kernel.features == 3**n + (background > 0)
    assert_close(phi[0] @ phi[1].mT, (q @ k.mT).square() + background, row="special_case")
    rho = kernel.density(phi[0])
    assert_close(rho, q[:, :, None] * q[:, None, :])
    assert_close(kernel.density(phi[0] - 2 * phi[0].flip(0)), rho - 2 * rho.flip(0))


def test_one_qubit_of_two_by_hand():
    """z = 1, x = 0 and z = 0, x = 1: |0>(|0> + |1>) / sqrt(2)."""
    state = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64) / 2**0.5
    phi = FidelityKernel(4, False, 0.0, 2).feature_map(state)
    expected = torch.tensor([1, 0, 1, 1, 0, 1, 0, 0, 0], dtype=torch.float64) / 2
    assert_close(phi, expected)


def test_a_vector_of_zeros_is_no_state():
    query, key, value = states(1, 1, 6, N), states(1, 1, 6, N, seed=1), torch.randn(1, 1, 6, 2)
    query[:, :, 3] = 0
    key[:, :, 1] = 0
    value = value.double()
    settings = {"is_causal": True, "background": 0.2}
    expected = fidelity_attention(query, key, value, **settings, implementation="reference")
    out = fidelity_attention(query, key, value, **settings, qubits=N, implementation="chunked")
    assert_close(out, expected)
    assert_close(out[:, :, 3], value[:, :, :4].mean(2))


@pytest.mark.parametrize("norm", [1e-9, 1e9])
def test_norms_do_not_matter(norm):
    query, key, value = (states(1, 1, 9, N, seed=s) for s in range(3))
    settings = {"is_causal": True, "qubits": N, "implementation": "chunked"}
    expected = fidelity_attention(query, key, value, **settings)
    assert_close(fidelity_attention(norm * query, key / norm, value, **settings), expected)


def test_sums_pay_earlier_than_those_of_density_matrices(monkeypatch):
    monkeypatch.setattr(native, "choice", lambda: native.Choice(None, "none here"))
    query = torch.randn(1, 1, 400, 64)
    told = [explain_fidelity_attention(query, query, is_causal=True, qubits=n) for n in (6, 0)]
    few, many = (int(str(t).split("up to ")[-1].split()[0].strip(",")) for t in told)
    assert few < 0.8 * many


@pytest.mark.parametrize("qubits", [-1, 1, 2, 4, True, 3.0])
def test_dimensions_that_no_qubits_have_are_refused(qubits):
    x = torch.randn(1, 1, 4, M)
    with pytest.raises(ArgumentError, match=r"^qubits: got"):
        fidelity_attention(x, x, x, qubits=qubits)


def test_complex_qubits_are_refused():
    """4^n features of Bloch's spheres are as many as those of density matrices."""
    x = torch.randn(1, 1, 4, M, dtype=torch.complex64)
    with pytest.raises(ArgumentError, match=r"^qubits: got 3 for complex states"):
        fidelity_attention(x, x, x.real, qubits=N)


def test_a_state_of_other_features_is_refused():
    text = Text()
    _, state = text.read(is_causal=True, return_state=True)
    with pytest.raises(ArgumentError, match=r"^state: got 37 features"):
        FidelityStepper(state, background=BACKGROUND, qubits=N)
