"""Both paths together: special cases, causality, pieces, cost, loss, checkpointing."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from adaptive_attention_tiling.backends.memory import (
    give_back_freed_memory,
    peak_bytes,
    reset_peak,
    resident_bytes,
)
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.layers import (
    AdaptiveAttentionConfig,
    AdaptiveAttentionSystem,
    ProjectionConfig,
    SoftmaxAttentionConfig,
    make_mixer,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, T, C = 2, 75, 16
PLAIN = ProjectionConfig(width=C, heads=4)
FURNISHED = replace(PLAIN, key_value_heads=2, rotary_base=100.0, qk_norm=True, convolution_width=3)
FAR = {
    "tolerance": 0.1,
    "layout": TileLayout(super_block=16, tile=4, group=2, window=16, scouts=6, sinks=2),
}
SETTINGS = {
    "near": {},
    "far": FAR,
    "uniform": {"rule": "uniform"},
    "none": {"estimator": "none", "lambda_compute": 0.0},
    "full": {"compute_budget": 1.0},
}


def system_of(projection=PLAIN, **settings):
    config = {"d_state": 8, "projection": projection} | settings
    torch.manual_seed(1)
    system = AdaptiveAttentionSystem(64, 4, 16, **config).double()
    system(torch.randn(8, T, C, dtype=torch.float64))
    if system.memory is not None:
        system.adapt_tiling()
    return system


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def test_the_specification_s_arguments_are_enough():
    system = AdaptiveAttentionSystem(1024, 16, 64, width=32, heads=2)
    assert system(torch.randn(1, 200, 32)).shape == (1, 200, 32)
    assert system.current_tiling.tokens == 192
    assert (system.tile_manager.min_size, system.tile_manager.max_size) == (16, 64)
    assert system.router is system.memory.router


def test_without_memory_and_tolerance_it_is_softmax_attention(x):
    system = system_of(FURNISHED, state_space=False, tolerance=0.0)
    twin = make_mixer(SoftmaxAttentionConfig(projection=FURNISHED)).double()
    twin.load_state_dict(system.state_dict())
    assert_close(system(x), twin(x), row="special_case")


def test_a_budget_of_one_writes_every_tile_in_full(x):
    system = system_of(compute_budget=1.0)
    system(x)
    assert bool((system.current_tiling.resolution == 1).all())
    assert system.mean_resolution == 1.0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("position", [1, 17, 40, 48, 66])
def test_no_token_sees_a_later_one(settings, x, position, training):
    assert_causal(system_of(FURNISHED, **settings).train(training), [x], position)


@pytest.mark.parametrize("cuts", [(16,), (20, 50, 51), (47, 48, 49, 70), range(1, T)], ids=str)
def test_pieces_give_what_the_whole_gives(settings, x, cuts):
    system = system_of(FURNISHED, **settings)
    state, pieces, start = None, [], 0
    for end in (*cuts, T):
        piece, state = system(x[:, start:end], state=state, return_state=True)
        pieces.append(piece)
        start = end
    assert_close(torch.cat(pieces, 1), system(x))


def test_training_and_evaluation_give_the_same(settings, x):
    system = system_of(**settings)
    trained = system(x)
    assert_close(system.eval()(x), trained)


def test_a_state_is_not_changed_by_going_on_from_it(settings, x):
    system = system_of(FURNISHED, **settings)
    _, state = system(x[:, :46], return_state=True)
    once = system(x[:, 46:], state=state)
    system(x[:, :30], state=state, return_state=True)
    assert_bit_equal(system(x[:, 46:], state=state), once)


def test_padding_on_the_right_changes_nothing(settings, x):
    system = system_of(**settings)
    padding = torch.ones(B, T, dtype=torch.bool)
    padding[0, 50:] = False
    out = system(x, attn_mask=padding)
    assert_close(out[:1, :50], system(x[:1, :50]))
    assert_close(out[1:], system(x[1:]))


def test_far_tokens_are_seen_through_the_memory_alone(x):
    """The near field reaches 16 tokens behind the super-block; what is before is in the memory."""
    system = system_of()
    before = system(x)
    x[:, 3] += 1
    changed = (system(x) - before).abs().amax((0, 2)) > 1e-9
    assert bool(changed[48:].any())
    blind = system_of(state_space=False)
    before = blind(x)
    x[:, 3] += 1
    assert not bool(((blind(x) - before).abs().amax((0, 2)) > 0)[32:].any())


def test_density_is_that_of_the_tokens_that_were_cut(x):
    system = system_of()
    system(x)
    assert system.density.shape == (B, 64)
    assert bool((system.density >= 0).all())
    system(x[:, :9])
    assert system.density is None
    assert system.current_tiling is None


def test_cost_follows_the_resolution(x):
    costs = {}
    for budget in (1.0, 0.5, 0.25):
        system = system_of(rule="uniform", compute_budget=budget)
        system(x)
        costs[budget] = system.compute_cost
    full, half, quarter = costs.values()
    assert full.total == full.projections + full.attention + full.writing + full.reading
    assert half.full == full.full
    # 8, 4 and 2 channels: B, weights and outer products of each token.
    tokens, tiles = B * 64 * 4 * 8 * (C + 3 + 4), B * 64 / 16
    assert full.writing == tokens + tiles * 4 * 4 * (2 * 8)
    assert half.writing == tokens / 2 + tiles * 4 * 4 * (2 * 8 + 4 * 4)
    assert quarter.writing == tokens / 4 + tiles * 4 * 4 * (2 * 8 + 2 * 6)


def test_cost_of_attention_counts_the_keys_that_are_read(x):
    near, everything = system_of(state_space=False), system_of(state_space=False, tolerance=0.0)
    near(x), everything(x)
    position = torch.arange(T)
    rows = (position + 1 - (position // 16 - 1).clamp(min=0) * 16).sum()
    assert near.compute_cost.attention == B * float(rows) * 4 * (4 + 4)
    assert everything.compute_cost.attention == B * T * (T + 1) / 2 * 4 * (4 + 4)
    assert everything.compute_cost.share == 1.0


def test_cost_of_far_tiles_is_between(x):
    far = system_of(state_space=False, **FAR)
    far(x)
    near = system_of(state_space=False)
    near(x)
    assert near.compute_cost.attention < far.compute_cost.attention
    assert far.compute_cost.share < 1.0


def test_the_loss_is_that_of_the_task_and_two_penalties(x):
    system = system_of(compute_budget=0.25, lambda_compute=2.0, lambda_info=0.5)
    logits, target = system(x), torch.randint(C, (B, T))
    expected = system.memory.chosen.expected
    resolution, lost = expected.token_resolution.mean(), expected.information_loss.sum() / (B * 64)
    task = cross_entropy(logits.flatten(0, 1), target.flatten())
    assert_close(
        system.compute_loss(logits, target),
        task + 2.0 * (resolution - 0.25).clamp(min=0) + 0.5 * lost,
    )
    assert_close(system.compute_loss(logits, target, 0.75), task + 2.0 * 0.5 + 0.5 * lost)
    assert_close(system.compute_loss(logits, target, 0.1), task + 0.5 * lost)


def test_the_penalty_makes_states_cheaper_to_tile(x):
    system = system_of(compute_budget=0.5, lambda_compute=1.0)
    system.memory.choice.budget.fill_(0.25)  # at a price for 0.5
    optimizer = torch.optim.SGD(system.parameters(), lr=0.1)
    found = []
    for _ in range(8):
        system(x)
        penalty = system.penalty()
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        found.append(float(penalty.detach()))
    assert found[0] > 0.1
    assert found[-1] < 0.9 * found[0]


def test_adapting_meets_another_budget():
    system = system_of()
    x = torch.randn(16, T, C, dtype=torch.float64)
    for budget in (0.7, 0.4):
        system(x)
        system.adapt_tiling(budget)
        system(x)
        assert system.mean_resolution == pytest.approx(budget, abs=0.03)


def test_checkpointing_changes_no_gradient(settings, x):
    plain = system_of(FURNISHED, **settings)
    thrifty = system_of(FURNISHED, **settings, checkpoint=True)
    thrifty.load_state_dict(plain.state_dict())
    for system in (plain, thrifty):
        system.zero_grad()
        (system(x).square().mean() + system.penalty()).backward()
    for (name, mine), theirs in zip(thrifty.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is None:  # at full resolution nothing is extended
            assert mine.grad is None
        else:
            assert_close(mine.grad, theirs.grad, gradient=True, what=name)


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not tell a process's memory")
def test_checkpointing_takes_less_memory():
    def growth(checkpoint):
        """Bytes held between the passes of 8 layers, and the most that there were."""
        torch.manual_seed(0)
        config = AdaptiveAttentionConfig(
            sequence_length=1024,
            projection=ProjectionConfig(width=64, heads=4),
            max_tile_size=64,
            checkpoint=checkpoint,
        )
        layers = [make_mixer(config) for _ in range(8)]
        x = torch.randn(1, 1024, 64)
        give_back_freed_memory()
        assert reset_peak()
        before = resident_bytes()
        for layer in layers:
            x = x + layer(x)
        give_back_freed_memory()
        held = resident_bytes() - before
        x.sum().backward()
        return held, peak_bytes() - before

    growth(False), growth(True)  # what is loaded once
    plain, thrifty = growth(False), growth(True)
    assert thrifty[0] < 0.3 * plain[0]
    assert thrifty[1] < 0.7 * plain[1]


def test_it_is_a_mixer_of_a_language_model():
    config = AdaptiveAttentionConfig(
        sequence_length=64, projection=FURNISHED, min_tile_size=4, max_tile_size=16
    )
    model = GPT(GPTConfig(vocabulary=11, width=C, depth=2, mixers=config)).double()
    tokens = torch.randint(11, (B, T))
    model(tokens)
    for block in model.blocks:
        block.mixer.adapt_tiling()
    start, state = model(tokens[:, :60], return_state=True)
    rest = model(tokens[:, 60:], state=state)
    assert_close(torch.cat([start, rest], 1), model(tokens))


def test_without_causality_there_is_no_memory(x):
    with pytest.raises(UnsupportedError, match="is_causal"):
        system_of()(x, is_causal=False)


def test_without_memory_there_is_nothing_to_adapt():
    with pytest.raises(UnsupportedError, match="state_space"):
        system_of(state_space=False).adapt_tiling(0.5)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"width": 16}, "projection"),
        ({"lambda_info": -1.0}, "lambda_info"),
        ({"compute_budget": 2.0}, "compute_budget"),
        ({"layout": TileLayout(super_block=4, tile=2, group=1, window=4)}, "layout"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(change, name):
    with pytest.raises(ArgumentError) as refusal:
        system_of(**change)
    assert refusal.value.name == name
