"""The Mamba block: its parts against the definition, nested channels, and other sizes."""

import math
from copy import deepcopy

import pytest
import torch
from torch.nn.functional import cross_entropy, silu, softplus
from torch.optim import SGD, Adadelta, AdamW

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    AdaptiveMambaBlock,
    ProjectionConfig,
    SoftmaxAttention,
    SoftmaxAttentionConfig,
    StateSpaceConfig,
    VariableStateSpaceModel,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.selective_scan.reference import reference_selective_scan
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close
from adaptive_attention_tiling.training.loop import parameter_groups

B, T, C, N = 2, 19, 6, 4


@pytest.fixture
def block():
    return AdaptiveMambaBlock(C, N).double()


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def resolution():
    return torch.tensor([1.0, 0.25, 0.5]).repeat_interleave(7)[:T].expand(B, T)


def test_the_block_is_what_the_paper_draws(block, x):
    inner, z = (x @ block.proj_in.weight.mT).chunk(2, -1)
    padded = torch.cat([torch.zeros(B, 3, 2 * C).double(), inner], 1)
    inner = sum(padded[:, i : i + T] * block.convolution.weight[i] for i in range(4))
    inner = silu(inner + block.convolution_bias)
    ssm = block.ssm
    delta = softplus(inner @ (ssm.delta_out.weight @ ssm.delta_in.weight).mT + ssm.delta_out.bias)
    y, _ = reference_selective_scan(
        inner,
        delta,
        -ssm.rates.log.exp(),
        inner @ ssm.write.weight.mT,
        inner @ ssm.read.weight.mT,
        ssm.skip,
        z=z,
        resolution=resolution(),
    )
    assert_close(block(x, resolution=resolution()), y @ block.proj_out.weight.mT)


def test_how_it_starts():
    ssm = VariableStateSpaceModel(2000, 3)
    rates = -torch.arange(1.0, 4).expand(2000, 3)
    assert_close(ssm.rates(), rates)
    steps = softplus(ssm.delta_out.bias.detach())
    assert bool(((steps > 0.99e-3) & (steps < 0.101)).all())
    # Evenly in the logarithm: half of them below the geometric mean.
    assert abs(float((steps < 1e-2).float().mean()) - 0.5) < 0.05
    assert bool((ssm.skip == 1).all())


def test_decay_of_weights_spares_rates_and_steps():
    block = AdaptiveMambaBlock(C, N)
    decayed, spared = parameter_groups(block, 0.1)
    kept = {id(p) for p in spared["params"]}
    assert {id(p) for p in (block.ssm.rates.log, block.ssm.delta_out.bias, block.ssm.skip)} <= kept
    assert any(p is block.ssm.read.weight for p in decayed["params"])


@pytest.mark.parametrize("R", [None, 0.5, "tiles"])
def test_steps_and_pieces_give_what_the_whole_gives(block, x, R):
    R = resolution() if R == "tiles" else R
    whole, last = block(x, resolution=R, return_state=True)
    state, found = None, []
    for t in range(T):
        one = float(R[0, t]) if isinstance(R, torch.Tensor) else R
        y, state = block.step(x[:, t], resolution=one, state=state)
        found.append(y)
    assert_close(torch.stack(found, 1), whole)
    assert_close(state.attention.channels, last.attention.channels)
    assert state.tokens == last.tokens == T
    assert state.attention.length.tolist() == last.attention.length.tolist() == [T, T]


def test_no_output_looks_ahead_with_resolutions(block, x):
    assert_causal(lambda x: block(x, resolution=resolution()), [x], 8)
    later = resolution().clone()
    later[:, 8:] = 1.0
    first, second = block(x, resolution=resolution()), block(x, resolution=later)
    assert_bit_equal(second[:, :8], first[:, :8])
    assert not torch.equal(second[:, 8:], first[:, 8:])


def test_a_resolution_cuts_off_gradients_of_the_other_channels(block, x):
    block(x, resolution=0.5).square().sum().backward()
    for grad in (
        block.ssm.write.weight.grad,
        block.ssm.read.weight.grad,
        block.ssm.rates.log.grad.T,
    ):
        assert bool((grad[2:] == 0).all())
        assert bool((grad[:2] != 0).any())


def trained(block, x, optimizer, steps=3):
    target = torch.randn_like(x)
    for _ in range(steps):
        optimizer.zero_grad()
        (block(x) - target).square().mean().backward()
        optimizer.step()


def test_fewer_channels_are_the_block_at_that_resolution(block, x):
    trained(block, x, SGD(block.parameters(), lr=0.1))
    wanted = block(x, resolution=3 / N)
    block.resize_state_space(3)
    assert (block.d_state, block.base_d_state) == (3, N)
    assert_close(block(x), wanted, row="special_case")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_channels_change_nothing_at_first_and_learn(dtype):
    block, x = AdaptiveMambaBlock(C, N).to(dtype), torch.randn(B, T, C, dtype=dtype)
    trained(block, x, SGD(block.parameters(), lr=0.1))
    before = block(x)
    block.resize_state_space(7)
    assert_close(block(x), before, row="special_case")
    trained(block, x, SGD(block.parameters(), lr=0.1), steps=2)
    for grad in (
        block.ssm.write.weight.grad,
        block.ssm.read.weight.grad,
        block.ssm.rates.log.grad.T,
    ):
        assert bool((grad[N:].abs().amax(1) > 0).all())
    assert not torch.equal(block(x), before)
    assert_close(block.ssm.rates.log[:, N:].exp().mean(0).round(), torch.arange(5, 8).to(dtype))


def test_there_and_back_is_the_same_block(block, x):
    wanted = block(x)
    block.resize_state_space(9)
    block.resize_state_space(N)
    assert_close(block(x), wanted, row="special_case")


def test_without_its_weights_the_state_space_starts_anew(block, x):
    optimizer = AdamW(block.parameters())
    trained(block, x, optimizer)
    outer = block.proj_in.weight.clone()
    old = deepcopy(block.ssm)
    block.resize_state_space(5, preserve_weights=False, optimizer=optimizer)
    assert_bit_equal(block.proj_in.weight, outer)
    for name, parameter in block.ssm.named_parameters():
        assert parameter not in optimizer.state
        before = old.get_parameter(name)
        assert parameter.shape != before.shape or not torch.equal(parameter, before), name
    trained(block, x, optimizer)


def test_a_running_state_goes_on_through_a_resize(block, x):
    whole = block(x)
    _, state = block(x[:, :9], return_state=True)
    block.resize_state_space(6)
    with pytest.raises(ArgumentError, match=r"^state: got one of 4 channels, expected one of 6"):
        block(x[:, 9:], state=state)
    larger = block.resize_state(state)
    assert_close(block(x[:, 9:], state=larger), whole[:, 9:])
    block.resize_state_space(2)
    narrow = block.resize_state(larger)
    assert_bit_equal(narrow.attention.channels, state.attention.channels[..., :2])
    assert_close(block(x[:, 9:], state=narrow), block(x, resolution=1.0)[:, 9:])


@pytest.mark.parametrize("size", [2, 7])
def test_moments_follow_the_channels(block, x, size):
    optimizer = AdamW(block.parameters(), amsgrad=True)
    trained(block, x, optimizer)
    old = dict(block.named_parameters())
    states = {name: dict(optimizer.state[p]) for name, p in old.items()}
    grads = {name: p.grad for name, p in old.items()}
    block.resize_state_space(size, optimizer=optimizer)
    known = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in known} == {id(p) for p in block.parameters()}
    shared = min(size, N)
    for name, axis in (("rates.log", 1), ("write.weight", 0), ("read.weight", 0)):
        new = block.ssm.get_parameter(name)
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            moment, before = optimizer.state[new][key], states[f"ssm.{name}"][key]
            assert_bit_equal(moment.narrow(axis, 0, shared), before.narrow(axis, 0, shared))
            assert bool((moment.narrow(axis, shared, size - shared) == 0).all())
        grad = grads[f"ssm.{name}"]
        assert_bit_equal(new.grad.narrow(axis, 0, shared), grad.narrow(axis, 0, shared))
        assert optimizer.state[new]["step"] == 3
    trained(block, x, optimizer)


def test_an_optimizer_that_cannot_follow_changes_nothing(block, x):
    stranger = AdamW([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ArgumentError, match=r"^optimizer: got one without skip"):
        block.resize_state_space(7, optimizer=stranger)
    strange = Adadelta(block.parameters())
    trained(block, x, strange)
    with pytest.raises(UnsupportedError, match=r"^optimizer: Adadelta keeps 'acc_delta'"):
        block.resize_state_space(7, optimizer=strange)
    assert block.d_state == N
    assert block.ssm.rates.log.shape == (2 * C, N)


def test_training_draws_a_resolution_for_every_tile(x):
    block = AdaptiveMambaBlock(C, N, nested_training=True, tile=5, resolutions=(0.25, 1.0)).double()
    drawn = torch.cat([block.ssm.drawn_resolution(x) for _ in range(30)], 1)
    assert set(drawn.unique().tolist()) == {0.25, 1.0}
    torch.manual_seed(3)
    drawn = block.ssm.drawn_resolution(x)
    assert drawn.shape == (B, T)
    assert bool((drawn[:, :5] == drawn[:, :1]).all())
    torch.manual_seed(3)
    first = block(x)
    assert_bit_equal(first, block(x, resolution=drawn))
    torch.manual_seed(3)
    assert_bit_equal(block(x), first)
    assert_bit_equal(block(x, resolution=1.0), block.eval()(x))


def errors_by_resolution(nested):
    """Share of the power missed with 8, 4 and 2 of 8 channels: sums that rise and then fade."""
    torch.manual_seed(0)
    source = torch.Generator().manual_seed(1)
    ssm = VariableStateSpaceModel(4, 8, nested_training=nested, tile=32)
    optimizer = AdamW(ssm.parameters(), lr=2e-2, weight_decay=0.0)
    lag = torch.arange(32.0)[:, None] - torch.arange(32.0)
    weights = (lag * (-lag / 3).exp()).tril()

    def drawn(rows):
        x = torch.ones(rows, 32, 4)
        x[..., :2] = torch.randn(rows, 32, 2, generator=source)
        return x, weights @ x[..., :2]

    for _ in range(150):
        x, wanted = drawn(8)
        optimizer.zero_grad()
        (ssm(x)[..., :2] - wanted).square().mean().backward()
        optimizer.step()
    x, wanted = drawn(64)
    power = wanted.square().mean()
    outputs = [ssm.eval()(x, resolution=R)[..., :2] for R in (1.0, 0.5, 0.25)]
    return [float((y - wanted).square().mean().detach() / power) for y in outputs]


def test_nested_training_makes_every_prefix_usable():
    plain, nested = errors_by_resolution(False), errors_by_resolution(True)
    assert plain[0] < 0.1
    assert max(nested) < 0.2
    assert min(plain[1:]) > 2 * max(nested)


V = 8


def copying(generator, rows=16, length=24):
    """Tokens of which each repeats the one three before it, but for one in eight."""
    text = torch.randint(V, (rows, length), generator=generator)
    fixed = torch.rand(rows, length, generator=generator) < 0.9
    for t in range(3, length):
        text[:, t] = torch.where(fixed[:, t], text[:, t - 3], text[:, t])
    return text


def learn(steps=60):
    """Loss by step, and the model."""
    torch.manual_seed(0)
    mixer = StateSpaceConfig(width=16, d_state=8)
    model = GPT(GPTConfig(vocabulary=V, width=16, depth=2, mixers=mixer, network_ratio=1.0))
    optimizer = AdamW(model.parameters(), lr=1e-2)
    source = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(steps):
        text = copying(source)
        loss = cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.eval()


def test_a_model_of_mamba_blocks_learns_and_generates_as_it_reads():
    losses, model = learn()
    assert losses[0] == pytest.approx(math.log(V), abs=0.05)
    assert sum(losses[-5:]) / 5 < 1.2
    model.double()
    text = copying(torch.Generator().manual_seed(2), rows=2, length=9)
    state, steps = None, []
    for t in range(9):
        logits, state = model(text[:, t : t + 1], state=state, return_state=True)
        steps.append(logits)
    assert_close(torch.cat(steps, 1), model(text))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"width": 0}, "width"),
        ({"d_state": 0}, "d_state"),
        ({"d_state": 1.5}, "d_state"),
        ({"conv_width": 0}, "conv_width"),
        ({"delta_rank": 0}, "delta_rank"),
        ({"tile": 0}, "tile"),
        ({"expand_factor": 0.0}, "expand_factor"),
        ({"expand_factor": math.nan}, "expand_factor"),
        ({"resolutions": ()}, "resolutions"),
        ({"resolutions": (0.5, 1.5)}, "resolutions"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(changes, name):
    with pytest.raises(ArgumentError) as refusal:
        StateSpaceConfig(**{"width": C, **changes})
    assert refusal.value.name == name


@pytest.mark.parametrize("size", [0, -1, 2.0, True])
def test_a_size_that_cannot_be_is_refused(block, size):
    with pytest.raises(ArgumentError) as refusal:
        block.resize_state_space(size)
    assert refusal.value.name == "new_d_state"


@pytest.mark.parametrize("bad", [0.0, 1.01, torch.ones(B, T + 1)])
def test_a_resolution_that_cannot_be_is_refused(block, x, bad):
    with pytest.raises(ArgumentError) as refusal:
        block(x, resolution=bad)
    assert refusal.value.name == "resolution"


def test_what_a_state_space_cannot_do_is_refused(block, x):
    with pytest.raises(UnsupportedError, match=r"^is_causal"):
        block(x, is_causal=False)
    blind = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
    blind[..., -1, 0] = False
    with pytest.raises(UnsupportedError, match=r"^attn_mask"):
        block(x, attn_mask=blind)
    with pytest.raises(ArgumentError) as refusal:
        block.step(x[:, 0, :3])
    assert refusal.value.name == "x"
    other = SoftmaxAttention(SoftmaxAttentionConfig(projection=ProjectionConfig(width=C, heads=2)))
    _, state = other(x.float(), return_state=True)
    with pytest.raises(ArgumentError, match=r"^state: got that of another mixer"):
        block(x, state=state)
