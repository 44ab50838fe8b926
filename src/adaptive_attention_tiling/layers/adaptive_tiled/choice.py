"""Which tiles a layer cuts, at what price, and how the choice gets a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...errors import ArgumentError
from ...ops.selective_scan import channels_used
from ...tiling.density import InformationDensityAnalyzer
from ...tiling.tiles import ExpectedTiling, TileManager, Tiling, expected_tiling, uniform_tiling
from ...tiling.tiles.programme import solve
from ...tiling.tiles.sweep import AbstractSweep, sweep_of
from ..sizes import check_sizes

Rule = Literal["adaptive", "uniform"]

# Prices that one search tries at once, in octaves around the present one, and how far it may go.
_OCTAVES = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
_SEARCHES = 16
# While weights move one way, a price from the last call is always late. Octaves that the lead
# gains for each budget missed, and the most it may have.
_GAIN = 1.0
_LONGEST_LEAD = 2.0
# Super-blocks of the last training call that a price is fitted to.
_KEPT = 64


@dataclass(frozen=True, kw_only=True)
class TileChoiceConfig:
    """What tiles there can be, and who chooses.

    Args:
        min_size, max_size: tokens of a tile. `super_block`: tokens that are tiled together.
        resolutions: R on offer, each 1/k.
        budget: mean resolution to hold; 1 reads everything in full.
        rule: "adaptive" cuts tiles of least information loss + price * cost; "uniform" cuts tiles
            of `max_size` at the finest resolution on offer that keeps to the budget.
        temperature: of the Gibbs distribution over tilings that gradients come from, in units of
            the mean density.
        overhead: rows that a tile costs besides its own.
    """

    min_size: int = 16
    max_size: int = 512
    super_block: int = 512
    resolutions: tuple[float, ...] = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
    budget: float = 0.5
    rule: Rule = "adaptive"
    temperature: float = 1.0
    overhead: float = 1.0

    def __post_init__(self) -> None:
        check_sizes(self, "min_size", "max_size", "super_block")
        if self.rule not in get_args(Rule):
            raise ArgumentError("rule", repr(self.rule), f"one of {get_args(Rule)}", "use adaptive")
        if not self.temperature > 0:
            raise ArgumentError("temperature", self.temperature, "an energy > 0", "use 1.0")
        check_budget(self.budget, self.resolutions)


def check_budget(budget: float, resolutions: tuple[float, ...]) -> None:
    """Raise unless the budget is a mean of resolutions on offer."""
    if not min(resolutions) <= budget <= 1:
        raise ArgumentError(
            "compute_budget",
            budget,
            f"a mean resolution from {min(resolutions):g} to 1",
            "offer lower resolutions, or ask for more",
        )


@dataclass(frozen=True)
class Chosen:
    """The tiles of finished super-blocks of n sequences.

    Attributes:
        tiling: its `mean_resolution` is that of the tokens.
        expected: averages over the Gibbs distribution, with gradients; None unless asked for.
    """

    tiling: Tiling
    expected: ExpectedTiling | None

    @property
    def mean_resolution(self) -> float:
        """Of all tokens."""
        return float(self.tiling.mean_resolution.mean())

    def tile_end(self) -> Int[Tensor, "n T"]:
        """The last token of each token's tile."""
        last = self.tiling.start + self.tiling.length - 1
        return last.gather(1, self.tiling.tile_ids())

    def channels(self, number: int) -> Int[Tensor, "n T"]:
        """How many of `number` channels each token uses."""
        return channels_used(self.tiling.token_resolution(), number)

    def probability(self, number: int) -> Float[Tensor, "n T N"]:
        """P(ceil(R_t N) > channel) over the Gibbs distribution, for each of N = `number` channels.

        Channel c is used from the lowest resolution on offer that uses more than c.
        """
        assert self.expected is not None
        used = [channels_used(r, number) for r in self.expected.resolutions]
        needed = [sum(u > c for u in used) - 1 for c in range(number)]
        return self.expected.at_least[..., needed]


class TileChoice(nn.Module):
    """Cuts super-blocks into tiles at a price that is constant within a call.

    Price and budget are buffers: training, prefill and steps cut alike, and `adapt` moves them. The
    unit of energy is one too: the mean density of the states (their squared step from token to
    token) when `adapt` last measured it. So is the lead, by which a price is set ahead of what the
    last call asked for, as calls before have shown.
    """

    price: Tensor
    budget: Tensor
    energy: Tensor
    lead: Tensor

    def __init__(self, config: TileChoiceConfig) -> None:
        super().__init__()
        self.config = config
        adaptive = config.rule == "adaptive"
        self.tiler = TileManager(
            config.min_size,
            config.max_size,
            resolutions=config.resolutions,
            super_block=config.super_block,
            overhead=config.overhead if adaptive else 0.0,
        )
        self.register_buffer("price", torch.tensor(0.3, dtype=torch.float64))
        self.register_buffer("budget", torch.tensor(config.budget, dtype=torch.float64))
        self.register_buffer("energy", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("lead", torch.tensor(0.0, dtype=torch.float64))
        self._seen: Tensor | None = None
        self._found: float | None = None
        self._aimed: float | None = None

    def forward(self, signal: Float[Tensor, "n T C"], *, soft: bool) -> Chosen:
        """Tiles of whole super-blocks; `soft` asks for the distribution that has gradients."""
        if self.training:
            self._keep(signal.detach())
        signal = signal * float(self.energy) ** -0.5
        if self.budget == 1:
            return Chosen(self._even(signal, 1.0), None)
        if self.config.rule == "uniform":
            return Chosen(self._even(signal, float(self.budget)), None)
        tiling = self.tiler.tile_at_price(signal, float(self.price))
        if self.training:
            self._found = float(tiling.mean_resolution.mean())
        expected = None
        if soft:
            expected = expected_tiling(
                signal, float(self.price), self.tiler, temperature=self.config.temperature
            )
        return Chosen(tiling, expected)

    def adapt(self, budget: float, *, rate: float = 1.0) -> float:
        """Move the price to where the super-blocks of the last training call meet a budget.

        Args:
            budget: mean resolution, from the lowest on offer to 1.
            rate: part of the way to go, in the logarithm; below 1 it evens out what single calls
                have by chance.

        Returns:
            The price.
        """
        check_budget(budget, self.config.resolutions)
        self.budget.fill_(budget)
        if self._seen is not None and self.config.rule == "adaptive" and budget < 1:
            self._follow(budget)
            energy = self._density(self._seen).double()
            self.price.mul_(self.energy / energy)  # the same tiles in the new unit
            self.energy.copy_(energy)
            wanted = self._price_for(budget, self._seen * energy.rsqrt().to(self._seen))
            wanted *= math.exp2(float(self.lead))
            self.price.copy_(self.price * (wanted / float(self.price)) ** rate)
        return float(self.price)

    def _follow(self, budget: float) -> None:
        """Move the lead by how far the last call missed the budget that it was priced for."""
        if self._found is not None and self._aimed == budget:
            missed = _GAIN * (self._found - budget) / budget
            self.lead.add_(missed).clamp_(-_LONGEST_LEAD, _LONGEST_LEAD)
        self._aimed = budget

    @staticmethod
    def _density(blocks: Float[Tensor, "m L C"]) -> Tensor:
        """Mean squared step of the states, in super-blocks."""
        analyzer = InformationDensityAnalyzer(window_size=1)
        return analyzer.compute_density(blocks)[:, 1:].mean()

    def _even(self, signal: Tensor, budget: float) -> Tiling:
        """Tiles of one size and resolution."""
        tiler = TileManager(
            self.config.min_size,
            self.config.max_size,
            resolutions=self.config.resolutions,
            super_block=self.config.super_block,
            overhead=0.0,
        )
        return uniform_tiling(signal.detach(), budget, tiler)

    def _keep(self, signal: Float[Tensor, "n T C"]) -> None:
        blocks = signal.unflatten(1, (-1, self.config.super_block)).flatten(0, 1)
        spread = torch.linspace(0, len(blocks) - 1, min(_KEPT, len(blocks))).round().long()
        self._seen = blocks[spread.to(blocks.device)]

    def _price_for(self, budget: float, blocks: Float[Tensor, "m L C"]) -> float:
        """The price at which these super-blocks have the mean resolution `budget`.

        Mean resolution falls in steps as the price rises. A grid of prices is moved until it holds
        the budget, and refined once; between two prices, their logarithms are interpolated.
        """
        sweep = sweep_of(blocks, self.tiler.offers(self.config.super_block))
        centre = float(self.price.log2())
        for _ in range(_SEARCHES):
            octaves = centre + _OCTAVES
            means = _means(sweep, octaves.exp2())
            if means[0] >= budget >= means[-1]:
                after = max(1, int((means <= budget).long().argmax()))
                ends = float(octaves[after - 1]), float(octaves[after])
                finer = torch.linspace(*ends, len(octaves), dtype=torch.float64)
                return math.exp2(_crossing(finer, _means(sweep, finer.exp2()), budget))
            centre += float(_OCTAVES[-1] if means[-1] > budget else _OCTAVES[0])
        return math.exp2(centre)


def _means(sweep: AbstractSweep, prices: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
    """Mean resolution of the tokens at each price."""
    found = []
    for price in prices.to(sweep.scale.device):
        best = solve(sweep, sweep.price_in_quanta(price.expand(len(sweep.scale))))
        rows = (best.length / best.span.clamp(min=1)).sum()
        found.append(rows.double() / best.length.sum())
    return torch.stack(found)


def _crossing(octaves: Tensor, means: Tensor, budget: float) -> float:
    """Where means, which fall, pass the budget."""
    after = int((means <= budget).long().argmax())
    if after == 0:
        return float(octaves[0])
    above, below = float(means[after - 1]), float(means[after])
    share = (above - budget) / (above - below)
    return float(octaves[after - 1] + share * (octaves[after] - octaves[after - 1]))
