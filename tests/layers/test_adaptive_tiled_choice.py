"""Which tiles a layer cuts: budgets, prices, and the gradient of discrete choices."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers.adaptive_tiled import TileChoice, TileChoiceConfig
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

T, C = 256, 6


def bursts(B=8, seed=0):
    """States that move faster in some stretches than in others, as a text's do."""
    source = torch.Generator().manual_seed(seed)
    loud = torch.randn(B, T // 8, 1, generator=source, dtype=torch.float64).exp()
    noise = torch.randn(B, T, C, generator=source, dtype=torch.float64)
    steps = loud.repeat_interleave(8, 1) * noise
    return steps.unflatten(1, (-1, 32)).cumsum(2).flatten(1, 2)


def density(states):
    """The squared step to each token in its super-block of 32."""
    blocks = states.unflatten(1, (-1, 32))
    return blocks.diff(dim=2, prepend=blocks[:, :, :1]).square().sum(-1).flatten(1)


def choice_of(**settings):
    sizes = {"min_size": 4, "max_size": 16, "super_block": 32}
    return TileChoice(TileChoiceConfig(**sizes | settings))


@pytest.mark.parametrize("budget", [0.25, 0.5, 0.8])
def test_after_adapting_the_mean_resolution_is_the_budget(budget):
    choice, states = choice_of(), bursts()
    choice(states, soft=False)
    choice.adapt(budget)
    assert abs(choice(states, soft=False).mean_resolution - budget) < 0.02 * budget


def test_the_unit_of_energy_does_not_matter():
    means = []
    for scale in (1e-3, 1.0, 1e3):
        choice = choice_of()
        choice(scale * bursts(), soft=False)
        choice.adapt(0.5)
        means.append(choice(scale * bursts(), soft=False).mean_resolution)
    assert means == pytest.approx([means[1]] * 3, rel=0.01)


def test_nothing_changes_until_it_adapts():
    choice, first = choice_of(), bursts()
    before = choice(first, soft=False).tiling
    choice(bursts(seed=1), soft=False)
    again = choice(first, soft=False).tiling
    assert_bit_equal(again.resolution, before.resolution)
    assert choice.adapt(0.3) != 0.3


def test_evaluation_leaves_no_trace():
    choice = choice_of()
    choice(bursts(), soft=False)
    choice.eval()
    choice(100 * bursts(seed=3), soft=False)
    price = choice.adapt(0.5)
    choice.train()
    choice(bursts(), soft=False)
    assert choice.adapt(0.5) == pytest.approx(price, rel=0.05)


def test_a_part_of_the_way_moves_the_logarithm_by_that_part():
    """From the price there was, in the unit of energy that has been measured since."""
    whole, half = choice_of(), choice_of()
    for choice in (whole, half):
        choice(bursts(), soft=False)
    start = float(whole.price) / density(bursts()).sum().item() * 8 * 8 * 31
    assert half.adapt(0.3, rate=0.5) ** 2 == pytest.approx(whole.adapt(0.3) * start)


def test_a_budget_of_one_reads_everything():
    chosen = choice_of(budget=1.0)(bursts(), soft=True)
    assert chosen.mean_resolution == 1.0
    assert bool((chosen.channels(16) == 16).all())


def test_uniform_tiles_have_one_size_and_resolution():
    chosen = choice_of(rule="uniform", budget=0.5)(bursts(), soft=True)
    assert chosen.tiling.length.unique().tolist() == [16]
    assert chosen.tiling.resolution.unique().tolist() == [0.5]


def test_dense_stretches_get_more():
    choice, states = choice_of(), bursts()
    choice(states, soft=False)
    choice.adapt(0.5)
    resolution = choice(states, soft=False).tiling.token_resolution()
    assert (resolution * density(states)).sum() / density(states).sum() > 0.8


def test_the_probability_of_a_channel_is_that_of_the_resolutions_that_use_it():
    chosen = choice_of()(bursts(), soft=True)
    at_least = chosen.expected.at_least  # of R = 1, 1/2, 1/4, 1/8, 1/16
    probability = chosen.probability(8)  # they use 8, 4, 2, 1 and 1 channels
    assert_close(probability[..., 0], torch.ones_like(probability[..., 0]))
    assert_close(probability[..., 1], at_least[..., 2])
    assert_close(probability[..., 3], at_least[..., 1])
    assert_close(probability[..., 4:], at_least[..., :1].expand(-1, -1, 4))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rule": "random"}, "rule"),
        ({"budget": 0.01}, "compute_budget"),
        ({"budget": 1.5}, "compute_budget"),
        ({"temperature": 0.0}, "temperature"),
        ({"min_size": 0}, "min_size"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(change, name):
    with pytest.raises(ArgumentError) as refusal:
        choice_of(**change)
    assert refusal.value.name == name


def test_a_budget_that_no_resolution_reaches_is_refused():
    with pytest.raises(ArgumentError, match="compute_budget"):
        choice_of().adapt(0.01)
