"""Plain linear attention, and the scan that all attentions with a memory run on."""

import pytest
import torch
from torch.nn.functional import elu, relu

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.ops.linear_attention import interface, linear_attention
from adaptive_attention_tiling.ops.linear_attention.feature_memory import decay_matrix
from adaptive_attention_tiling.ops.linear_attention.scan import chunk_scan
from adaptive_attention_tiling.testing import assert_causal, assert_close

B, H, G, D, E = 2, 4, 2, 3, 5
NATIVE = ("native",) if native.runnable_sets() else ()
MAPS = {
    "elu": lambda x: elu(x) + 1,
    "relu": lambda x: relu(x) + 1e-3,
    "exp": lambda x: x.exp(),
}


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(interface, "CHUNK", 4)


def tensors(T, S=None):
    shapes = (B, H, T, D), (B, G, S or T, D), (B, G, S or T, E)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def definition(query, key, value, phi, *, is_causal, decay=None, gate=None):
    """All weights as one matrix."""
    key, value = (t.repeat_interleave(H // G, 1) for t in (key, value))
    weights = phi(query) @ phi(key).mT
    if gate is not None:
        weights = weights * gate.exp().repeat_interleave(H // G, 1)[:, :, None]
    if decay is not None:
        total = decay.cumsum(-1).repeat_interleave(H // G, 1)
        weights = weights * (total[..., None] - total[:, :, None]).tril().exp()
    weights = weights.tril() if is_causal else weights
    return weights @ value / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("implementation", ["parallel", "chunked", "recurrent", *NATIVE, None])
def test_all_forms_are_the_definition(implementation, is_causal, name):
    leaves = tensors(11)
    gate = -torch.rand(B, G, 11, dtype=torch.float64)
    decay = -torch.rand(B, G, 11, dtype=torch.float64) if is_causal else None
    expected = definition(*leaves, MAPS[name], is_causal=is_causal, decay=decay, gate=gate)
    out = linear_attention(
        *leaves,
        is_causal=is_causal,
        enable_gqa=True,
        feature_map=name,
        decay=decay,
        gate=gate,
        implementation=implementation,
    )
    assert_close(out, expected)
    outer = torch.randn_like(out)
    for got, wanted in zip(
        torch.autograd.grad((out * outer).sum(), leaves),
        torch.autograd.grad((expected * outer).sum(), leaves),
        strict=True,
    ):
        assert_close(got, wanted, gradient=True)


def test_no_output_looks_ahead():
    def attend(*inputs):
        return linear_attention(*inputs, is_causal=True, enable_gqa=True, window=2)

    assert_causal(attend, [t.detach() for t in tensors(13)], 6)


def test_a_state_goes_on():
    query, key, value = tensors(13)
    options = {"is_causal": True, "enable_gqa": True, "window": 3, "sinks": 1}
    whole = linear_attention(query, key, value, **options)
    cut = [t[:, :, :7] for t in (query, key, value)]
    rest = [t[:, :, 7:] for t in (query, key, value)]
    _, state = linear_attention(*cut, return_state=True, **options)
    assert_close(linear_attention(*rest, initial_state=state, **options), whole[:, :, 7:])


def test_what_is_refused():
    inputs = tensors(5)
    with pytest.raises(ArgumentError, match=r"^feature_map: got 'cosine'"):
        linear_attention(*inputs, enable_gqa=True, feature_map="cosine")
    with pytest.raises(ArgumentError, match=r"^enable_gqa"):
        linear_attention(*inputs)
    with pytest.raises(UnsupportedError, match=r"^implementation"):
        linear_attention(*inputs, enable_gqa=True, implementation="reference")
    decay = torch.zeros(B, G, 5, D, dtype=torch.float64)
    with pytest.raises(UnsupportedError, match=r"^decay"):
        linear_attention(*inputs, enable_gqa=True, is_causal=True, decay=decay)


def test_decay_matrix_keeps_its_digits():
    decay = torch.full((1, 1, 128, 1), -3.0)
    decay[..., 100, :] = -1e-3
    matrix = decay_matrix(decay)[0, 0]
    assert float((matrix[100, 99] - torch.tensor(-1e-3).exp()).abs()) < 1e-7
    assert float((matrix[101, 99] - torch.tensor(-3.001).exp()).abs()) < 1e-7
    assert bool((matrix.triu(1) == 0).all())
    assert bool((matrix.diagonal() == 1).all())


def step(parameters, carry, inputs):
    """A recurrence with a parameter, an input that is not used for the carry, and a cumsum."""
    (weight,), (total,), (x, y) = parameters, carry, inputs
    path = total + (x * weight).cumsum(-2)
    return (path.sin() * y, path * 2), (path[..., -1:, :],)


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 20])
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2, 3)])
def test_scan_gives_the_gradients_of_autograd(chunk, frozen):
    shapes = (2,), (3, 1, 2), (3, 8, 2), (3, 8, 2)
    leaves = [torch.randn(s, dtype=torch.float64) for s in shapes]
    for number, leaf in enumerate(leaves):
        leaf.requires_grad_(number not in frozen)

    def loss(size):
        weight, total, x, y = leaves
        (first, second), (final,) = chunk_scan(step, (weight,), (total,), (x, y), chunk=size)
        return first, (first * second.cos()).sum() + final.exp().mean()

    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    whole, straight = loss(8)
    pieces, chunked = loss(chunk)
    assert_close(pieces, whole)
    for got, expected in zip(
        torch.autograd.grad(chunked, wanted), torch.autograd.grad(straight, wanted), strict=True
    ):
        assert_close(got, expected, gradient=True)


def test_scan_is_not_twice_differentiable():
    x = torch.randn(1, 8, 2, dtype=torch.float64, requires_grad=True)
    weight, total = torch.ones(2, dtype=torch.float64), torch.zeros(1, 1, 2, dtype=torch.float64)
    (first, _), _ = chunk_scan(step, (weight,), (total,), (x, x), chunk=3)
    with pytest.raises(UnsupportedError, match=r"^create_graph: .*parallel"):
        torch.autograd.grad(first.sum(), x, create_graph=True)
