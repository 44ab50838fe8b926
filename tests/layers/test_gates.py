import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers.gates import GateConfig, LogGate, MemoryGates, spread
from adaptive_attention_tiling.testing import assert_close

B, T, C, H, F = 2, 5, 6, 3, 4


@pytest.fixture
def x():
    return torch.randn(B, T, C)


def test_a_gate_starts_as_far_open_as_it_was_asked_to():
    opened = torch.tensor([0.2, 0.5, 0.99])
    assert_close(LogGate(C, opened)(torch.zeros(1, 1, C)).exp().flatten(), opened)


def test_a_gate_is_the_logarithm_of_a_factor_and_moves_with_its_token(x):
    logs = LogGate(C, torch.tensor([0.9]))(x * 10)
    assert (logs <= 0).all()
    assert logs.exp().std() > 0.05


def test_retentions_are_spread_in_equal_steps_of_their_logit():
    steps = torch.logit(spread((0.5, 0.99), 4)).diff()
    assert_close(steps, steps[:1].expand(3))
    ends = torch.tensor([0.5, 0.99], dtype=torch.float64)
    assert_close(spread((0.5, 0.99), 4)[[0, -1]], ends)


def test_a_single_gate_starts_between_the_two_ends():
    high = torch.tensor([0.9], dtype=torch.float64)
    assert_close(torch.logit(spread((0.5, 0.9), 1)), torch.logit(high) / 2)


def test_decay_by_head_and_write_gate_come_as_the_ops_take_them(x):
    gates = MemoryGates(GateConfig(decay="head", write=True), C, H)
    decay, write = gates(x)
    assert decay.shape == write.shape == (B, H, T)
    assert_close(decay[:, 1], gates.decay(x)[..., 1])
    assert_close(write[:, 2], gates.write(x)[..., 2])


def test_decay_by_splat_gives_every_head_short_and_long_memories():
    gates = MemoryGates(GateConfig(decay="splat"), C, H, F)
    decay, write = gates(torch.zeros(B, T, C))
    assert write is None
    assert_close(decay.exp(), spread((0.5, 0.99), F).float().expand(B, H, T, F))


def test_without_gates_there_are_none(x):
    assert MemoryGates(GateConfig(), C, H)(x) == (None, None)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"decay": "token"}, "decay"),
        ({"retention": (0.9, 0.5)}, "retention"),
        ({"retention": (0.0, 0.5)}, "retention"),
        ({"retention": (0.5, 1.0)}, "retention"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, name):
    with pytest.raises(ArgumentError) as refusal:
        GateConfig(**settings)
    assert refusal.value.name == name


def test_decay_by_splat_needs_splats():
    with pytest.raises(ArgumentError, match="no splats"):
        MemoryGates(GateConfig(decay="splat"), C, H)
