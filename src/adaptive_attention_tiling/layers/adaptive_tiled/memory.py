"""The state-space path: a far memory that absorbs tile by tile, at each tile's resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu, softplus

from ...errors import ArgumentError
from ...ops.selective_scan import channels_used
from ...tiling.router import CrossScaleRouter
from ..sizes import check_sizes
from ..state_space import StateRates
from .choice import Chosen, TileChoice, TileChoiceConfig
from .granules import Granules, cut_granules, elapsed_steps, runs, tile_number

Estimator = Literal["straight_through", "none"]


@dataclass(frozen=True, kw_only=True)
class FarMemoryConfig:
    """A nested selective state for each head.

    Args:
        width: C, of the model. `heads` H, each of `head_width` E channels.
        d_state: N, channels of the state. Resolution R uses the first ceil(R N).
        tiles: what tiles there can be.
        horizon: tokens after which the slowest head at the start has faded to 1/e.
        estimator: of the gradient of discrete tiles, see `TiledStateSpace`.
    """

    width: int
    heads: int
    head_width: int
    d_state: int = 16
    tiles: TileChoiceConfig = field(default_factory=TileChoiceConfig)
    horizon: int = 8192
    estimator: Estimator = "straight_through"

    def __post_init__(self) -> None:
        check_sizes(self, "width", "heads", "head_width", "d_state", "horizon")
        if self.estimator not in get_args(Estimator):
            raise ArgumentError(
                "estimator", repr(self.estimator), f"one of {get_args(Estimator)}", "use none"
            )


@dataclass(frozen=True)
class MemoryState:
    """What later tokens need of those so far.

    carried [B, H, N, E] of the finished super-blocks; of the tokens p after them x [B, p, C],
    values [B, p, H, E] and steps [B, p, H], 0 for padding.
    """

    carried: Tensor
    x: Tensor
    value: Tensor
    step: Tensor


class _Tokens(NamedTuple):
    x: Tensor
    value: Tensor
    step: Tensor


class TiledStateSpace(nn.Module):
    """y_t = C_t . exp(rate s_t) h_b of the super-block b that t is in; s_t: steps since its start.

    h_b has absorbed all super-blocks before b, tile by tile:

        h <- exp(rate s_tile) h + up( sum over t in tile of exp(rate (s_end - s_t)) step_t B_t x_t )

    with rate_n < 0, where the sum is taken in the first n = ceil(R N) channels only, R being the
    tile's resolution, and `up` is the router's way from n to N channels: those that there are stay,
    those that follow are predicted from them. All channels fade, so that what is left out of a
    tile is what it would have written, and nothing else. (`selective_scan` holds the channels that
    a token does not use. Inside one resolution both are the same.)

    A tile is cut when its super-block is finished, from its own tokens, and read by later ones
    only. Tiles are whole numbers of granules of `min_size` tokens, so that those of one resolution
    are absorbed in one batched product, whatever their length.

    The choice of tiles is discrete. With the estimator "straight_through", in training, all N
    channels are computed; forward, a channel is used as the optimal tiling says (exactly 0 or 1);
    backward, its use has the gradient of P(ceil(R N) > n) under the Gibbs distribution over
    tilings. The estimator is biased: it takes the loss for linear in each use, at the tiles that
    were chosen; leaves out how a tile's absence would change the router's predictions and tile
    borders; and the distribution at temperature tau is wider than the choice. The bias vanishes
    where the loss is linear in the uses and tau is the temperature that tiles are sampled at.
    With "none" nothing but the chosen channels is computed, and tiles learn from the cost and
    information terms of the loss alone.

    Attributes:
        chosen, states: the tiles of the last call, and the states [B, T, H E] that they were cut
            from: sums of step_u x_u over the tokens u <= t of the super-block. None where no
            super-block was finished.
        expects: whether `chosen.expected` is wanted in training.
    """

    unit: Tensor

    def __init__(self, config: FarMemoryConfig) -> None:
        super().__init__()
        self.config = config
        inner, states = config.heads * config.head_width, config.heads * config.d_state
        self.value = nn.Linear(config.width, inner, bias=False)
        self.write = nn.Linear(config.width, states, bias=False)
        self.read = nn.Linear(config.width, states, bias=False)
        self.gate = nn.Linear(config.width, inner, bias=False)
        self.step = nn.Linear(config.width, config.heads)
        self.rates = StateRates(config.heads, config.d_state)
        self.norm = nn.RMSNorm(config.head_width, eps=1e-3)
        self.choice = TileChoice(config.tiles)
        sizes = sorted({channels_used(r, config.d_state) for r in config.tiles.resolutions})
        self.router = CrossScaleRouter("extension", resolutions=[*sizes, config.d_state], dim=-2)
        self.chosen: Chosen | None = None
        self.states: Tensor | None = None
        self.expects = config.estimator != "none"
        self.register_buffer("unit", torch.ones(config.heads))
        self._start_fading()

    @torch.no_grad()
    def _start_fading(self) -> None:
        """Horizons from a super-block to `horizon`, spread over the heads; in each head up to 8
        times faster in the later channels, so that those that every resolution uses fade slowest.
        """
        channel = torch.arange(self.config.d_state) / max(1, self.config.d_state - 1)
        self.rates.log.copy_(channel * math.log(8.0))
        size = self.config.tiles.super_block
        ends = torch.tensor([size, max(size, self.config.horizon)]).log()
        share = torch.linspace(0, 1, self.config.heads)
        self.unit.copy_(torch.lerp(ends[0], ends[1], share).neg().exp())
        self.step.bias.copy_(self.unit.expm1().log())

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        padding: Bool[Tensor, "B T"] | None = None,
        past: MemoryState | None = None,
    ) -> tuple[Float[Tensor, "B H T E"], MemoryState]:
        """What the tokens of x read of the super-blocks before their own, and the state after."""
        tokens = self._tokens(x, padding, past)
        before = tokens.x.shape[1] - x.shape[1]
        size = self.config.tiles.super_block
        finished = tokens.x.shape[1] // size * size
        carried = self._carried(x) if past is None else past.carried
        states = [carried]
        elapsed = elapsed_steps(tokens.step, size)
        if finished:
            whole = _Tokens(*(t[:, :finished] for t in tokens))
            absorbed = self._absorbed(whole, elapsed[:, :finished])
            fades = self._fade(elapsed[:, size - 1 : finished : size])
            for block, fade in zip(absorbed.unbind(1), fades.unbind(1), strict=True):
                states.append(states[-1] * fade[..., None] + block)
        else:
            self.chosen = self.states = None
        out = self._answered(x, elapsed[:, before:], torch.stack(states, 1), before)
        return out, MemoryState(states[-1], *(t[:, finished:] for t in tokens))

    def _tokens(self, x: Tensor, padding: Tensor | None, past: MemoryState | None) -> _Tokens:
        """The tokens of unfinished super-blocks and the new ones."""
        value = self.value(x).unflatten(-1, (self.config.heads, -1))
        step = softplus(self.step(x))
        if padding is not None:
            step = step * padding[..., None]
            value = value * padding[..., None, None]
        new = _Tokens(x, value, step)
        if past is None:
            return new
        rest = past.x, past.value, past.step
        return _Tokens(*(torch.cat(pair, 1) for pair in zip(rest, new, strict=True)))

    def _carried(self, x: Tensor) -> Float[Tensor, "B H N E"]:
        config = self.config
        return x.new_zeros(len(x), config.heads, config.d_state, config.head_width)

    def _fade(self, steps: Float[Tensor, "*b H"]) -> Float[Tensor, "*b H N"]:
        """exp(rate s) of every channel."""
        kept: Tensor = (steps[..., None] * self.rates()).exp()
        return kept

    def _absorbed(
        self, tokens: _Tokens, elapsed: Float[Tensor, "B T H"]
    ) -> Float[Tensor, "B b H N E"]:
        """What each super-block adds to the state at its end."""
        size, granule = self.config.tiles.super_block, self.config.tiles.min_size
        states = self._running(tokens, size)
        self.states = states.detach()
        soft = self.expects and self.training and torch.is_grad_enabled()
        chosen = self.chosen = self.choice(states, soft=soft)
        end = chosen.tile_end()[..., None].expand_as(elapsed)
        until_tile = elapsed.gather(1, end) - elapsed
        channels = chosen.channels(self.config.d_state)[:, ::granule].flatten()
        number = tile_number(chosen)[:, ::granule].flatten()
        x, value, step, until = (cut_granules(t, granule) for t in (*tokens, until_tile))
        pieces = Granules(x, value, step, until, channels, number)
        at_end = elapsed.gather(1, end)[:, ::granule]
        total = elapsed[:, size - 1 :: size].repeat_interleave(size // granule, 1)
        fade = self._fade(total - at_end).flatten(0, 1)[..., None]
        added = self._contributions(pieces, fade, self._uses(chosen))
        absorbed: Tensor = added.view(len(elapsed), -1, *added.shape[1:])
        return absorbed

    def _running(self, tokens: _Tokens, size: int) -> Float[Tensor, "B T I"]:
        """The states that tiles are cut from: what each super-block has written up to each token.

        That is the channel that writes everything and does not fade. A head's steps count in units
        of what they were at the start, lest short horizons outweigh long ones.
        """
        written = (tokens.step / self.unit)[..., None] * tokens.value
        states: Tensor = written.flatten(2).unflatten(1, (-1, size)).cumsum(2)
        return states.flatten(1, 2)

    def _uses(self, chosen: Chosen) -> Float[Tensor, "m N"] | None:
        """P(used) of each granule's channels if gradients go straight through."""
        if chosen.expected is None or self.config.estimator == "none":
            return None
        probable = chosen.probability(self.config.d_state)
        return probable[:, :: self.config.tiles.min_size].flatten(0, 1)

    def _contributions(
        self, pieces: Granules, fade: Float[Tensor, "m H N 1"], uses: Float[Tensor, "m N"] | None
    ) -> Float[Tensor, "b H N E"]:
        """What each super-block adds to the state at its end; `fade` is what is left by then.

        Granules of a tile are summed before what they wrote is extended and fades.
        """
        per_block = self.config.tiles.super_block // self.config.tiles.min_size
        whole = None if uses is None else self._written(pieces, self.config.d_state)
        added = fade.new_zeros(len(fade) // per_block, *fade.shape[1:3], self.config.head_width)
        for number in pieces.channels.unique().tolist():
            place = (pieces.channels == number).nonzero()[:, 0]
            if whole is None:
                part = self._written(pieces.at(place), number)
            else:
                part = whole[place][:, :, :number]
            first, which = runs(pieces.tile[place])
            tiles = part.new_zeros(len(first), *part.shape[1:]).index_add(0, which, part)
            first = place[first]
            added = added.index_add(0, first // per_block, self._extended(tiles) * fade[first])
        if uses is None or whole is None:
            return added
        through = whole * fade * (uses - uses.detach())[:, None, :, None]
        summed: Tensor = through.unflatten(0, (-1, per_block)).sum(1)
        return added + summed

    def _written(self, pieces: Granules, number: int) -> Float[Tensor, "m H n E"]:
        """sum over t of exp(rate (s_end - s_t)) step_t B_t x_t in the first n channels."""
        heads = self.config.heads
        weight = self.write.weight.unflatten(0, (heads, -1))[:, :number].flatten(0, 1)
        write = linear(pieces.x, weight).unflatten(-1, (heads, number))
        rates = self.rates()[:, :number]
        kept = (pieces.until_tile[..., None] * rates).exp() * pieces.step[..., None]
        return torch.einsum("mlhn,mlhe->mhne", kept * write, pieces.value)

    def _extended(self, part: Float[Tensor, "m H n E"]) -> Float[Tensor, "m H N E"]:
        """The router's way from n channels to N, which is linear: one matrix for all."""
        few, many = part.shape[2], self.config.d_state
        if few == many:
            return part
        way = self.router(torch.eye(few, dtype=part.dtype, device=part.device), many)  # [N, n]
        return torch.cat([part, way[few:] @ part], 2)

    def _answered(
        self,
        x: Float[Tensor, "B T C"],
        elapsed: Float[Tensor, "B T H"],
        states: Float[Tensor, "B b H N E"],
        before: int,
    ) -> Float[Tensor, "B H T E"]:
        """Each token's reading of the state that its super-block began with."""
        size = self.config.tiles.super_block
        asked = self.read(x).unflatten(-1, (self.config.heads, -1)) * self._fade(elapsed)
        blocks = -(-(before + x.shape[1]) // size)
        after = blocks * size - before - x.shape[1]
        rows = pad(asked, (0, 0, 0, 0, before, after)).unflatten(1, (blocks, size))
        seen = torch.einsum("bkthn,bkhne->bkthe", rows, states[:, :blocks]).flatten(1, 2)
        y = self.norm(seen[:, before : before + x.shape[1]])
        gated: Tensor = y * silu(self.gate(x)).unflatten(-1, (self.config.heads, -1))
        return gated.transpose(1, 2)
