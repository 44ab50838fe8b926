"""The state-space path: against selective scans, token by token, and its estimator of gradients."""

import itertools

import pytest
import torch

from adaptive_attention_tiling.layers.adaptive_tiled import (
    FarMemoryConfig,
    TileChoiceConfig,
    TiledStateSpace,
)
from adaptive_attention_tiling.layers.adaptive_tiled.granules import Granules, tile_number
from adaptive_attention_tiling.ops.selective_scan import selective_scan, tile_contributions
from adaptive_attention_tiling.testing import assert_bit_equal, assert_causal, assert_close

B, T, C, H, E, N = 2, 75, 12, 2, 3, 8
TILES = TileChoiceConfig(min_size=4, max_size=16, super_block=16)


def memory_of(estimator="straight_through", predictor=0.3, **tiles):
    config = FarMemoryConfig(
        width=C,
        heads=H,
        head_width=E,
        d_state=N,
        horizon=64,
        estimator=estimator,
        tiles=TileChoiceConfig(**vars(TILES) | tiles),
    )
    torch.manual_seed(1)
    memory = TiledStateSpace(config).double()
    torch.nn.init.normal_(memory.router.transition.predictor, std=predictor)
    torch.nn.init.normal_(memory.step.weight, std=2.0)  # so that some tokens are written more
    memory(torch.randn(8, T, C, dtype=torch.float64))
    memory.choice.adapt(memory.config.tiles.budget)
    return memory


@pytest.fixture
def x():
    return torch.randn(B, T, C, dtype=torch.float64)


def per_head(memory, x, head):
    """x, delta, A, B and C of one head as a selective scan takes them."""
    value, step = memory.value(x), torch.nn.functional.softplus(memory.step(x))
    write, read = (p(x).unflatten(-1, (H, N))[:, :, head] for p in (memory.write, memory.read))
    delta = step[..., head : head + 1].expand(-1, -1, E)
    rates = memory.rates()[head].expand(E, N)
    return value.unflatten(-1, (H, E))[:, :, head], delta, rates, write, read


def test_at_full_resolution_the_state_is_that_of_a_selective_scan(x):
    memory = memory_of(budget=1.0)
    _, state = memory(x)
    for head in range(H):
        tokens = (t if t.dim() == 2 else t[:, :64] for t in per_head(memory, x, head))
        _, scanned = selective_scan(*tokens, return_state=True)
        assert_close(state.carried[:, head].mT, scanned.channels)


def test_a_token_reads_the_state_that_its_super_block_began_with(x):
    memory = memory_of(budget=1.0)
    out = memory(x)[0]
    for head in range(H):
        value, delta, rates, write, read = per_head(memory, x, head)
        value = torch.where(torch.arange(T)[:, None] < 48, value, 0.0)  # then nothing is written
        y = selective_scan(value, delta, rates, write, read)[:, 48:64]
        gate = memory.gate(x).unflatten(-1, (H, E))[:, 48:64, head]
        assert_close(out[:, head, 48:64], memory.norm(y) * torch.nn.functional.silu(gate))
    assert_bit_equal(out[:, :, :16], torch.zeros_like(out[:, :, :16]))


@pytest.mark.parametrize("resolution", [1.0, 0.5, 0.25])
def test_what_a_tile_adds_is_what_tile_contributions_says(x, resolution):
    memory = memory_of()
    number = int(N * resolution)
    x = x[:, :16]
    value, step = memory.value(x), torch.nn.functional.softplus(memory.step(x))
    until = step.sum(1, keepdim=True) - step.cumsum(1)
    channels = torch.full((B,), number)
    pieces = Granules(x, value.unflatten(-1, (H, E)), step, until, channels, torch.arange(B))
    mine = memory._written(pieces, number)
    for head in range(H):
        x_, delta, rates, write, _ = per_head(memory, x, head)
        _, expected = tile_contributions(x_, delta, rates, write, resolution=resolution)
        assert_close(mine[:, head].mT, expected)


def by_loop(memory, x):
    """The state after whole super-blocks, token by token, along the tiles that were cut."""
    tiling, rows = memory.chosen.tiling, []
    for row in range(B):
        state = torch.zeros(H, N, E, dtype=x.dtype)
        for tile in tiling.tiles(row):
            number = max(1, int(N * tile.resolution))
            written, rates = torch.zeros(H, number, E, dtype=x.dtype), memory.rates()
            for t in range(tile.start, tile.stop):
                u = x[row, t]
                step = torch.nn.functional.softplus(memory.step(u))[:, None]
                write = memory.write(u).view(H, N)[:, :number]
                value = memory.value(u).view(H, 1, E)
                written = written * (step * rates[:, :number]).exp()[..., None]
                written = written + (step * write)[..., None] * value
                state = state * (step * rates).exp()[..., None]
            state = state + memory.router(written, N)
        rows.append(state)
    return torch.stack(rows)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tiles", [{}, {"budget": 0.25}, {"rule": "uniform"}], ids=str)
def test_tiles_are_absorbed_one_after_another(x, tiles, training):
    memory = memory_of(**tiles).train(training)
    _, state = memory(x)
    if not tiles:
        assert len(memory.chosen.tiling.resolution.unique()) > 2
    assert_close(state.carried, by_loop(memory, x))


def test_all_channels_masked_and_chosen_channels_alone_are_the_same(x):
    masked, batched = memory_of("straight_through"), memory_of("none")
    batched.load_state_dict(masked.state_dict())
    assert masked(x)[0].requires_grad
    assert masked.chosen.expected is not None
    assert batched.expects is False
    assert_close(masked(x)[0], batched(x)[0])
    assert batched.chosen.expected is None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("position", [1, 17, 31, 32, 50, 64, 70])
def test_no_token_sees_a_later_one(x, position, training):
    memory = memory_of().train(training)
    assert_causal(lambda x: memory(x)[0], [x], position)


@pytest.mark.parametrize(
    "cuts", [(1,), (16,), (20, 50, 51), (47, 48, 49, 70), range(1, T)], ids=str
)
def test_pieces_give_what_the_whole_gives(x, cuts):
    memory = memory_of().eval()
    state, pieces, start = None, [], 0
    for end in (*cuts, T):
        piece, state = memory(x[:, start:end], past=state)
        pieces.append(piece)
        start = end
    whole, after = memory(x)
    assert_close(torch.cat(pieces, 2), whole)
    assert_close(state.carried, after.carried)


def test_padding_is_not_written(x):
    memory = memory_of(budget=1.0)
    padding = torch.ones(B, T, dtype=torch.bool)
    padding[:, 5:9] = padding[1, 40:50] = False
    other = torch.where(padding[..., None], x, 100.0)
    rows = padding[:, None].expand(-1, H, -1)
    assert_bit_equal(memory(other, padding)[0][rows], memory(x, padding)[0][rows])


def test_gradients_reach_every_parameter(x):
    memory = memory_of(budget=0.4)
    memory(x)[0].square().sum().backward()
    unreached = [
        name
        for name, p in memory.named_parameters()
        if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert unreached == []


# The estimator, in a case where all tilings can be listed: super-blocks of 8 tokens, in tiles of
# 4 or 8 at resolution 1 or 1/2.
SMALL = {
    "min_size": 4,
    "max_size": 8,
    "super_block": 8,
    "resolutions": (1.0, 0.5),
    "temperature": 2.0,
}


def enumerated(memory, signal, loss_of_uses):
    """E[loss] over the Gibbs distribution, tiling by tiling; and what each channel's uses are."""
    price, overhead = float(memory.choice.price), memory.config.tiles.overhead
    costs, losses = [], []
    for cut in ([8], [4, 4]):
        for resolutions in itertools.product((1, 2), repeat=len(cut)):  # tokens in a segment
            cost, uses, start = 0.0, [], 0
            for length, span in zip(cut, resolutions, strict=True):
                segments = signal[start : start + length].unflatten(0, (-1, span))
                lost = (segments - segments.mean(1, keepdim=True)).square().sum()
                cost = cost + lost + price * (length / span + overhead)
                uses += [torch.arange(N) < N // span] * (length // 4)
                start += length
            costs.append(cost)
            losses.append(loss_of_uses(torch.stack(uses).double()))
    weights = torch.softmax(-torch.stack(costs) / memory.config.tiles.temperature, 0)
    return (weights * torch.stack(losses)).sum()


def estimated(memory, signal, pieces, loss_of_written):
    """The loss that goes straight through, for the tiles that are chosen."""
    chosen = memory.choice(signal[None], soft=True)
    pieces = pieces._replace(channels=chosen.channels(N)[0, ::4], tile=tile_number(chosen)[0, ::4])
    fade = torch.ones(2, H, N, 1, dtype=torch.float64)
    return loss_of_written(memory._contributions(pieces, fade, memory._uses(chosen)))


def one_block(seed):
    memory = memory_of(predictor=0.0, **SMALL)
    memory.choice.energy.fill_(1.0)
    memory.choice.price.fill_(0.6)
    source = torch.Generator().manual_seed(seed)
    x, signal = (torch.randn(8, n, generator=source, dtype=torch.float64) for n in (C, 2))
    value, step = memory.value(x), torch.nn.functional.softplus(memory.step(x))
    until = step.sum(0) - step.cumsum(0)  # to the block's end, whatever the tiles are
    cut = (t.detach().unflatten(0, (2, 4)) for t in (x, value.view(8, H, E), step, until))
    pieces = Granules(*cut, torch.full((2,), N), torch.arange(2))
    whole = memory._written(pieces, N).detach()
    return memory, signal.requires_grad_(), pieces, whole, source


def both_gradients(seed, loss_of_state):
    memory, signal, pieces, whole, source = one_block(seed)
    weight = torch.randn(H, N, E, generator=source, dtype=torch.float64)

    def loss_of_written(written):
        return loss_of_state(written.sum(0), weight)

    def loss_of_uses(uses):
        return loss_of_written(whole * uses[:, None, :, None])

    (true,) = torch.autograd.grad(enumerated(memory, signal, loss_of_uses), signal)
    (mine,) = torch.autograd.grad(estimated(memory, signal, pieces, loss_of_written), signal)
    return mine, true


@pytest.mark.parametrize("seed", range(4))
def test_of_a_linear_loss_the_estimated_gradient_is_the_true_one(seed):
    mine, true = both_gradients(seed, lambda state, weight: (state * weight).sum())
    assert true.abs().max() > 1e-4
    assert_close(mine, true, gradient=True)


@pytest.mark.parametrize("seed", range(6))
def test_of_a_loss_that_is_not_linear_it_points_the_same_way(seed):
    """The error of the state: more channels never hurt, so that the sign is known throughout."""
    _, _, _, whole, _ = one_block(seed)
    mine, true = both_gradients(seed, lambda state, _: (state - 2 * whole.sum(0)).square().sum())
    assert torch.cosine_similarity(mine.flatten(), true.flatten(), 0) > 0.5
