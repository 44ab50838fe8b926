"""Fidelity attention: worked cases, the laws of fidelity, choices and refusals."""

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.fidelity_attention import (
    FidelityKernel,
    explain_fidelity_attention,
    fidelity_attention,
    interface,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

FORMS = ("reference", "parallel", "chunked", "recurrent")
KINDS = ("real", "complex")


def states(*shape, kind="real", seed=0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if kind == "real" else torch.complex128
    return torch.randn(*shape, generator=source, dtype=dtype)


def one_head(rows, dtype=torch.float64) -> Tensor:
    return torch.tensor(rows, dtype=dtype)[None, None]


def weights(query: Tensor, key: Tensor, **settings) -> Tensor:
    """The normalised weights [.., T, S], read off with unit vectors as values."""
    real = query.real.dtype if query.is_complex() else query.dtype
    unit = torch.eye(key.shape[-2], dtype=real).expand(*key.shape[:-1], -1)
    return fidelity_attention(query, key, unit, **settings)


def fidelities(query: Tensor, key: Tensor) -> Tensor:
    """Unnormalised: one more key, equal to the query, has the weight 1."""
    rows = []
    for t in range(query.shape[-2]):
        own = query[..., t : t + 1, :]
        w = weights(own, torch.cat([key, own], -2), background=0.0)
        rows.append(w[..., :-1] / w[..., -1:])
    return torch.cat(rows, -2)


def orthogonal(m: int, kind: str) -> Tensor:
    return torch.linalg.qr(states(m, m, kind=kind, seed=5))[0]


@pytest.mark.parametrize("form", FORMS)
def test_golden_real(form):
    query = one_head([[2.0, 0.0]])
    key = one_head([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    value = one_head([[1.0], [10.0], [4.0]])
    # fidelities 1, 0, 1/2
    out = fidelity_attention(query, key, value, background=0.0, implementation=form)
    assert_close(out, one_head([[(1 + 4 / 2) / 1.5]]))
    out = fidelity_attention(query, key, value, background=0.5, implementation=form)
    assert_close(out, one_head([[(1.5 + 5 + 4) / 3.0]]))


@pytest.mark.parametrize("form", FORMS)
def test_golden_complex_is_conjugated(form):
    query = one_head([[1.0, 1j]], torch.complex128)
    key = one_head([[1.0, 1j], [1.0, -1j], [1.0, 0.0]], torch.complex128)
    value = one_head([[1.0], [10.0], [4.0]])
    # fidelities 1, 0 and 1/2; without the conjugation they were 0, 1 and 1/2.
    out = fidelity_attention(query, key, value, background=0.0, implementation=form)
    assert_close(out, one_head([[(1 + 4 / 2) / 1.5]]))


@pytest.mark.parametrize("form", FORMS)
def test_golden_window_shares_the_normaliser(form):
    query = one_head([[1.0, 0.0], [3.0, 4.0]])
    key = one_head([[5.0, 0.0], [0.5, 0.25]])
    value = one_head([[1.0], [2.0]])
    settings = {"is_causal": True, "window": 1, "scale": 0.2, "background": 0.0}
    out = fidelity_attention(query, key, value, **settings, implementation=form)
    near, far = torch.tensor(0.2 * (1.5 + 1.0)).double().exp(), 0.36
    assert_close(out[0, 0, 1], ((far * 1 + near * 2) / (far + near))[None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [1, 2, 5, 8])
@pytest.mark.parametrize("background", [0.0, 0.3])
def test_features_give_the_weights_exactly(kind, m, background):
    kernel = FidelityKernel(m, kind == "complex", background)
    q, k = states(7, m, kind=kind), states(9, m, kind=kind, seed=1)
    psi = [x / torch.linalg.vector_norm(x, dim=-1, keepdim=True) for x in (q, k)]
    expected = (psi[0].conj() @ psi[1].mT).abs().square() + background
    real = [kernel.states(interface.as_numbers(x)) for x in (q, k)]
    phi = [kernel.feature_map(x) for x in real]
    assert phi[0].shape[-1] == kernel.features
    assert kernel.features == (m * (m + 1) // 2 if kind == "real" else m * m) + (background > 0)
    assert_close(phi[0] @ phi[1].mT, expected, row="special_case")
    if kind == "real":  # as compilers of graphs read it
        assert_close(kernel._listed(real[0]), phi[0], row="special_case")
    assert_close(kernel.weights(*real), expected, row="special_case")


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_density_matrices(kind):
    kernel = FidelityKernel(4, kind == "complex", 0.1)
    rho = kernel.density(
        kernel.feature_map(kernel.states(interface.as_numbers(states(6, 4, kind=kind))))
    )
    psi = states(6, 4, kind=kind)
    psi = psi / torch.linalg.vector_norm(psi, dim=-1, keepdim=True)
    assert torch.allclose(rho, psi[:, :, None] * psi[:, None].conj(), atol=1e-14)
    assert torch.allclose(rho @ rho, rho, atol=1e-14)
    assert torch.allclose(rho.diagonal(dim1=-2, dim2=-1).sum(-1).real, torch.ones(6).double())


def test_the_gradient_of_the_features():
    kernel = FidelityKernel(5, False, 0.1)
    assert torch.autograd.gradcheck(kernel.feature_map, states(2, 3, 5).requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
class TestFidelity:
    def test_is_a_number_from_0_to_1(self, kind):
        f = fidelities(states(1, 2, 6, 3, kind=kind), states(1, 2, 40, 3, kind=kind, seed=1))
        assert float(f.min()) >= 0
        assert float(f.max()) <= 1 + 1e-12
        assert float(f.std()) > 0.1

    def test_is_1_for_equal_and_0_for_orthogonal_states(self, kind):
        basis = orthogonal(5, kind)[None, None]
        assert_close(fidelities(basis, basis), torch.eye(5).double()[None, None])

    def test_is_symmetric(self, kind):
        q, k = states(1, 1, 4, 3, kind=kind), states(1, 1, 5, 3, kind=kind, seed=1)
        assert_close(fidelities(q, k), fidelities(k, q).mT)

    def test_does_not_change_under_a_common_unitary(self, kind):
        q, k = states(1, 1, 4, 3, kind=kind), states(1, 1, 5, 3, kind=kind, seed=1)
        u = orthogonal(3, kind)
        assert_close(fidelities(q @ u.mT, k @ u.mT), fidelities(q, k))
        assert not torch.allclose(fidelities(q @ u.mT, k), fidelities(q, k))

    def test_does_not_see_phase_or_norm(self, kind):
        q, k = states(1, 1, 4, 3, kind=kind), states(1, 1, 5, 3, kind=kind, seed=1)
        factor = -3.0 if kind == "real" else complex(1.2, -2.0)
        assert_close(fidelities(q * factor, k), fidelities(q, k))
        assert_close(fidelities(q, k * factor), fidelities(q, k))

    def test_of_a_whole_basis_sums_to_1(self, kind):
        q = states(1, 1, 4, 3, kind=kind)
        f = fidelities(q, orthogonal(3, kind)[None, None])
        assert_close(f.sum(-1), torch.ones(1, 1, 4).double())

    def test_background_is_depolarising_noise(self, kind):
        """F + b = <psi|D(rho)|psi> / (1 - p), D(rho) = (1 - p) rho + p 1/m, p = bm / (1 + bm)."""
        m, b = 4, 0.07
        p = b * m / (1 + b * m)
        kernel = FidelityKernel(m, kind == "complex", 0.0)
        q, k = states(1, 1, 3, m, kind=kind), states(1, 1, 6, m, kind=kind, seed=1)
        rho = kernel.density(kernel.feature_map(kernel.states(interface.as_numbers(k))))
        noisy = (1 - p) * rho + p * torch.eye(m) / m
        psi = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
        read = torch.einsum("bhti,bhsij,bhtj->bhts", psi.conj(), noisy, psi).real
        expected = read / read.sum(-1, keepdim=True)
        assert_close(weights(q, k, background=b), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_zero_vector_is_no_state(form):
    query, key, value = states(1, 1, 6, 3), states(1, 1, 6, 3, seed=1), states(1, 1, 6, 2, seed=2)
    query[:, :, 3] = 0
    key[:, :, 1] = 0
    query.requires_grad_()
    key.requires_grad_()
    settings = {"is_causal": True, "implementation": form}
    out = fidelity_attention(query, key, value, background=0.2, **settings)
    # Its fidelity is 0 with every key: what is left is the background.
    assert_close(out[:, :, 3], value[:, :, :4].mean(2))
    grads = torch.autograd.grad(out.square().sum(), (query, key))
    assert all(bool(torch.isfinite(g).all()) for g in grads)
    assert bool((grads[0][:, :, 3] == 0).all())
    assert bool((grads[1][:, :, 1] == 0).all())
    alone = fidelity_attention(query, key, value, background=0.0, **settings)
    assert bool((alone[:, :, 3] == 0).all())


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_large_and_small_vectors(form, size):
    q, k, v = (states(1, 1, 9, 3, seed=s).float() for s in range(3))
    settings = {"is_causal": True, "implementation": form}
    expected = fidelity_attention(q, k, v, **settings)
    assert_close(fidelity_attention(q * size, k / size, v, **settings), expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_gate_of_zero_leaves_a_key_out(form):
    q, k, v = (states(1, 2, 6, 3, seed=s) for s in range(3))
    gate = torch.zeros(1, 2, 6).double()
    gate[:, :, 2] = -torch.inf
    rest = [0, 1, 3, 4, 5]
    out = fidelity_attention(q, k, v, gate=gate, implementation=form)
    assert_close(out, fidelity_attention(q, k[:, :, rest], v[:, :, rest], implementation=form))


def test_pairs_need_no_features(monkeypatch):
    def refuse(self, state):
        raise RuntimeError("features are made")

    monkeypatch.setattr(FidelityKernel, "feature_map", refuse)
    tensors = [states(1, 2, 9, 3, seed=s) for s in range(3)]
    for settings in ({"is_causal": True}, {"is_causal": True, "window": 2, "sinks": 1}, {}):
        fidelity_attention(*tensors, **settings, implementation="parallel")
        with pytest.raises(RuntimeError, match="features are made"):
            fidelity_attention(*tensors, **settings, implementation="chunked")


@pytest.mark.parametrize("causal", [True, False])
def test_the_choice_is_the_one_explained(monkeypatch, causal):
    monkeypatch.setenv("AAT_NATIVE", "off")
    monkeypatch.setattr(interface, "chunk_tokens", lambda features: 7)
    monkeypatch.setattr(
        interface, "crossover_tokens", lambda features, *, is_causal, native: 2 * features
    )
    m = 3
    limit = 2 * FidelityKernel(m, False, 1e-4).features
    for tokens, expected in ((limit, "parallel"), (limit + 1, "chunked")):
        tensors = [states(1, 2, tokens, m, seed=s) for s in range(3)]
        explanation = explain_fidelity_attention(*tensors[:2], is_causal=causal)
        assert explanation.implementation == expected
        assert ("quadratic" if expected == "parallel" else "linear") in explanation.reason
        assert str(tokens) in explanation.reason
        out = {
            form: fidelity_attention(*tensors, is_causal=causal, implementation=form)
            for form in (None, "parallel", "chunked")
        }
        assert_bit_equal(out[None], out[expected])
        assert not torch.equal(out["parallel"], out["chunked"])
        pinned = explain_fidelity_attention(*tensors[:2], implementation="recurrent")
        assert pinned.implementation == "recurrent"


def test_a_call_that_returns_a_state_is_chunked(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    monkeypatch.setattr(interface, "chunk_tokens", lambda features: 7)
    tensors = [states(1, 2, 20, 3, seed=s) for s in range(3)]
    settings = {"is_causal": True, "return_state": True}
    out, state = fidelity_attention(*tensors, **settings)
    chunked, _ = fidelity_attention(*tensors, **settings, implementation="chunked")
    assert_bit_equal(out, chunked)
    parallel, other = fidelity_attention(*tensors, **settings, implementation="parallel")
    assert not torch.equal(out, parallel)
    assert_close(state.values, other.values)


def test_complex_states_have_a_later_crossover(monkeypatch):
    monkeypatch.setenv("AAT_NATIVE", "off")
    real, cplx = (states(1, 2, 700, 12, kind=kind) for kind in KINDS)
    assert explain_fidelity_attention(real, real, is_causal=True).implementation == "chunked"
    assert explain_fidelity_attention(cplx, cplx, is_causal=True).implementation == "parallel"


REFUSED = {
    "value": {"value": states(1, 2, 6, 4, kind="complex")},
    "key": {"query": states(1, 2, 6, 3, kind="complex")},
    "background": {"background": -0.1},
    "window": {"window": -1},
    "gate": {"gate": torch.ones(1, 2, 6)},
    "implementation": {"implementation": "triton"},
    "enable_gqa": {"query": states(1, 4, 6, 3)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(name):
    given = {n: states(1, 2, 6, 3, seed=s) for s, n in enumerate(("query", "key", "value"))}
    with pytest.raises(ArgumentError) as caught:
        fidelity_attention(**{**given, **REFUSED[name]})
    assert caught.value.name == name


def test_complex_states_with_values_of_another_precision():
    q = states(1, 1, 4, 2, kind="complex")
    with pytest.raises(ArgumentError, match=r"value: got torch.float32, expected torch.float64"):
        fidelity_attention(q, q, torch.ones(1, 1, 4, 2))


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"decay": torch.zeros(1, 2, 6, 7), "is_causal": True}, "forgets by head"),
        ({"decay": torch.zeros(1, 2, 6)}, "needs an order"),
        ({"implementation": "reference", "return_state": True}, "returns no state"),
        ({"implementation": "reference", "cu_seqlens": torch.tensor([0, 6])}, "whole rows"),
    ],
)
def test_what_has_no_meaning_is_refused(settings, word):
    tensors = [states(1, 2, 6, 3, seed=s) for s in range(3)]
    with pytest.raises(UnsupportedError, match=word):
        fidelity_attention(*tensors, **settings)
