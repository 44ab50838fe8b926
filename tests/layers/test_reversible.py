"""The reversible stack: gradients of plain autograd, memory that does not grow, dropout again."""

import pytest
import torch
from torch import nn

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError, UnsupportedError
from adaptive_attention_tiling.layers.reversible import LeapfrogLayer, ReversibleStack
from adaptive_attention_tiling.testing import assert_close


class Mix(nn.Module):
    """Tokens by a fixed softmax, channels by a network; with a mask that is handed on."""

    def __init__(self, width, dropout):
        super().__init__()
        self.norm, self.linear = nn.RMSNorm(width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None):
        y = self.linear(self.norm(x))
        attention = y @ y.mT
        if mask is not None:
            attention = attention.masked_fill(~mask, -torch.inf)
        return self.dropout(attention.softmax(-1) @ y)


def stack_of(depth, width=8, dropout=0.0, dtype=torch.float64):
    def drift():
        return nn.Sequential(nn.RMSNorm(width), nn.Linear(width, width), nn.GELU())

    return ReversibleStack(
        LeapfrogLayer(Mix(width, dropout), drift()) for _ in range(depth)
    ).to(dtype)  # fmt: skip


def gradients(run, stack, q, p, *settings):
    q, p = q.clone().requires_grad_(), p.clone().requires_grad_()
    torch.manual_seed(5)
    out = run(q, p, *settings)
    weights = torch.linspace(-1, 1, q.numel(), dtype=q.dtype).view_as(q)
    loss = (out[0] * weights).sum() + (out[1] * weights.square()).sum()
    found = torch.autograd.grad(loss, [q, p, *stack.parameters()])
    return [*out, *found]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("masked", [True, False])
def test_values_and_every_gradient_are_those_of_autograd(dropout, masked):
    stack = stack_of(4, dropout=dropout)
    q, p = torch.randn(2, 2, 5, 8, dtype=torch.float64)
    settings = (torch.ones(5, 5, dtype=torch.bool).tril(),) if masked else ()
    reversible = gradients(stack, stack, q, p, *settings)
    plain = gradients(stack.unrolled, stack, q, p, *settings)
    for found, expected in zip(reversible, plain, strict=True):
        assert_close(found, expected)


def test_float32_gradients_of_a_deep_stack_are_within_a_millionth():
    stack = stack_of(32, width=32, dropout=0.1, dtype=torch.float32)
    q, p = torch.randn(2, 2, 16, 32)
    plain = gradients(stack.unrolled, stack, q, p)
    for found, expected in zip(gradients(stack, stack, q, p), plain, strict=True):
        assert (found - expected).norm() <= 1e-6 * expected.norm()


def test_sums_of_float32_make_the_error_grow():
    """Or there would be no reason for float64."""
    stack = stack_of(32, width=32, dropout=0.1, dtype=torch.float32)
    stack.sums = None
    q, p = torch.randn(2, 2, 16, 32)
    pairs = zip(gradients(stack, stack, q, p), gradients(stack.unrolled, stack, q, p), strict=True)
    assert max((a - b).norm() / b.norm() for a, b in pairs) > 1e-6


def saved_bytes(run, depth):
    stack = stack_of(depth, width=16, dtype=torch.float32)
    q, p = torch.randn(2, 1, 64, 16, requires_grad=True)
    own = {x.data_ptr() for x in stack.parameters()}
    saved = {}

    def pack(x):
        if x.data_ptr() not in own:
            saved[x.data_ptr()] = x.numel() * x.element_size()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        run(stack)(q, p)
    return sum(saved.values())


def test_saved_activations_do_not_grow_with_depth():
    last = 2 * 64 * 16 * 8  # two streams in float64
    assert [saved_bytes(lambda s: s, depth) for depth in (2, 4, 8)] == [last] * 3
    assert saved_bytes(lambda s: s.unrolled, 4) > 1.8 * saved_bytes(lambda s: s.unrolled, 2)


def test_the_inverse_gives_the_streams_back():
    stack = stack_of(6)
    q, p = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    for found, expected in zip(stack.inverse(*stack(q, p, mask), mask), (q, p), strict=True):
        assert_close(found.detach(), expected)


def test_the_backward_pass_leaves_the_generator_alone():
    stack = stack_of(2, dropout=0.5)
    out = stack(*torch.randn(2, 1, 5, 8, dtype=torch.float64))
    before = torch.get_rng_state()
    out[0].sum().backward()
    assert torch.equal(torch.get_rng_state(), before)


def test_shared_layers_add_up_and_frozen_ones_get_nothing():
    layer = LeapfrogLayer(Mix(8, 0), nn.Linear(8, 8)).double()
    layer.drift.weight.requires_grad_(False)
    stack = ReversibleStack([layer, layer])
    q, p = torch.randn(2, 1, 5, 8, dtype=torch.float64)
    stack(q, p)[0].square().sum().backward()
    assert layer.drift.weight.grad is None
    found = layer.kick.linear.weight.grad.clone()
    stack.zero_grad()
    stack.unrolled(q, p)[0].square().sum().backward()
    assert_close(found, layer.kick.linear.weight.grad)


def test_autocast_is_the_same_again():
    stack = stack_of(3, dtype=torch.float32)
    q, p = torch.randn(2, 1, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = stack(q, p)[0]
    out.sum().backward()
    found = stack.layers[0].kick.linear.weight.grad.clone()
    stack.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        stack.unrolled(q, p)[0].sum().backward()
    expected = stack.layers[0].kick.linear.weight.grad
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert out.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler looks at it
def test_a_compiled_model_that_holds_a_stack_has_the_same_gradients():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack, self.readout = stack_of(2), nn.Linear(8, 3).double()

        def forward(self, x):
            q, p = self.stack(x, x * 1.0)
            return self.readout(q + p)

    model, x = Model(), torch.randn(1, 5, 8, dtype=torch.float64)
    expected = torch.autograd.grad(model(x).square().sum(), [*model.parameters()])
    compiled = torch.compile(model, backend="aot_eager")
    found = torch.autograd.grad(compiled(x).square().sum(), [*model.parameters()])
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b)


def test_gradients_of_gradients_are_refused():
    stack = stack_of(1)
    q = torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True)
    with pytest.raises(UnsupportedError, match="create_graph: a reversible stack"):
        torch.autograd.grad(stack(q, q * 1)[0].sum(), q, create_graph=True)


def test_parameters_that_changed_before_the_backward_pass_are_told():
    """As plain autograd does: activations that come back would be those of other parameters."""
    stack = stack_of(2)
    q, p = torch.randn(2, 2, 5, 8, dtype=torch.float64, requires_grad=True)
    loss = stack(q, p)[0].sum()
    with torch.no_grad():
        next(stack.parameters()).add_(1)
    with pytest.raises(CorrectnessError, match="parameters: changed between"):
        loss.backward()


@pytest.mark.parametrize("shape", [(1, 8), (2, 5, 8)])
def test_a_half_of_another_shape_is_told(shape):
    class Constant(nn.Module):
        def forward(self, x):
            return x.new_ones(shape)

    q, p = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    wrong = ReversibleStack([LeapfrogLayer(Constant(), nn.Linear(8, 8).double())])
    for run in (wrong, wrong.unrolled, wrong.inverse):
        with pytest.raises(ArgumentError, match=r"layers: got .* beside streams \[5, 8\]"):
            run(q, p)


def test_bad_layers_and_streams_are_told():
    with pytest.raises(ArgumentError, match=r"layers: got Linear at 0, expected .* kick and drift"):
        ReversibleStack([nn.Linear(2, 2)])
    stack = stack_of(1)
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    with pytest.raises(ArgumentError, match=r"p: got .*\[1, 4, 8\] beside q"):
        stack(x, x[:, 1:])
    with pytest.raises(ArgumentError, match="settings: got a tensor that requires gradients"):
        stack(x, x, x.clone().requires_grad_())
