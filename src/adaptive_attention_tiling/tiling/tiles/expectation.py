"""A distribution over tilings, so that discrete choices have gradients.

At temperature tau a tiling of costs c_1 .. c_k (loss + price * rows of each tile) has probability
exp(-(c_1 + .. + c_k) / tau) / Z: a Gibbs distribution over all tilings on offer. The dynamic
programme with log-sum-exp in place of the least value sums over all of them,

    alpha_0 = 0,   alpha_b = -tau log sum over a < b and R of exp(-(alpha_a + c(a, b, R)) / tau),

and beta does so from the end. Then alpha_P = -tau log Z, a tile's probability is

    mu(a, b, R) = exp((alpha_P - alpha_a - c(a, b, R) - beta_b) / tau) = d alpha_P / d c(a, b, R),

and expected loss, cost and resolution are sums over mu: exact, without sampling. All are
differentiable in the signal and the price, which is the estimator by which discrete tiles are
trained; as tau -> 0 they tend to those of the optimal tiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .loss import Signal, span_losses
from .offers import Offers
from .tiler import TileManager, check_finite, flattened, price_of_each


@dataclass(frozen=True)
class ExpectedTiling:
    """What a sequence's tiles lose, cost and resolve on average over the Gibbs distribution.

    Attributes:
        free_energy: -tau log Z [n].
        information_loss: energy lost [n].
        compute_cost: rows read and overheads [n].
        at_least: P(R_t >= r) of each token for each resolution on offer [n, T, R].
        resolutions: r, finest first.
    """

    free_energy: Float[Tensor, " n"]
    information_loss: Float[Tensor, " n"]
    compute_cost: Float[Tensor, " n"]
    at_least: Float[Tensor, "n T R"]
    resolutions: tuple[float, ...]

    @property
    def token_resolution(self) -> Float[Tensor, "n T"]:
        """Expected resolution of each token: sum_r r P(R_t = r)."""
        level = self.at_least.new_tensor(self.resolutions)
        step = level - torch.nn.functional.pad(level[1:], (0, 1))
        return self.at_least @ step


def expected_tiling(
    signal: Float[Tensor, "*signal"],
    price: float | Float[Tensor, "*prices"],
    tiler: TileManager,
    *,
    temperature: float,
    kind: Signal | None = None,
) -> ExpectedTiling:
    """Averages over all tilings that `tiler` may cut, at a temperature.

    Args:
        signal, price, kind: as for `TileManager.tile_at_price`; gradients flow to both.
        temperature: tau > 0, an energy: of two tilings, one that is worse by tau is e times less
            likely.
    """
    if not 0 < temperature < torch.inf:
        raise ArgumentError("temperature", temperature, "an energy > 0", "use tile_at_price for 0")
    flat = flattened(signal, kind)
    n, tokens = flat.shape[:2]
    prices = price_of_each(price, n, -(-tokens // tiler.super_block)).to(flat)
    parts = []
    for blocks, which in tiler.pieces(flat):
        offered = tiler.offers(blocks.shape[2])
        loss = span_losses(blocks.flatten(0, 1), offered)
        check_finite(loss[-1].amax(0), blocks)
        parts.append(_expected(loss, prices[:, which].flatten(), offered, temperature, n))
    energy, lost, cost = (torch.stack([part[i] for part in parts]).sum(0) for i in range(3))
    at_least = torch.cat([part[3] for part in parts], 1)
    return ExpectedTiling(energy, lost, cost, at_least, tiler.resolutions)


def tile_probabilities(
    cost: Float[Tensor, "R K n"], offered: Offers, temperature: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, "R K n"]]:
    """-tau log Z, and the probability that each span is a tile at each resolution."""
    best = _soft_least(cost, 0, temperature)
    forward = _sums(best, offered, temperature, range(1, offered.positions + 1))
    backward = _sums(best, offered, temperature, range(offered.positions - 1, -1, -1))
    energy = forward[-1]
    used = energy - forward[offered.start] - backward[offered.stop]
    return energy, ((used - cost) / temperature).exp()


def _expected(
    loss: Float[Tensor, "R K m"],
    price: Float[Tensor, " m"],
    offered: Offers,
    temperature: float,
    n: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = offered.rows.to(loss)[..., None]
    energy, probable = tile_probabilities(loss + price * rows, offered, temperature)
    lost, cost = ((probable * each).sum((0, 1)) for each in (loss, rows))
    at_least = _at_least(probable, offered)
    sums = (each.view(n, -1).sum(1) for each in (energy, lost, cost))
    return (*sums, at_least.unflatten(0, (n, -1)).flatten(1, 2))


def _at_least(probable: Float[Tensor, "R K m"], offered: Offers) -> Float[Tensor, "m L R"]:
    """P(R_t >= r): tiles of that resolution or a finer one that hold t. They start by then and
    stop after it.
    """
    finer = probable.cumsum(0).movedim(1, 0)
    change = finer.new_zeros(offered.positions + 1, *finer.shape[1:])
    change = change.index_add(0, offered.start, finer).index_add(0, offered.stop, -finer)
    granules = change.cumsum(0)[:-1].permute(2, 0, 1)
    return granules.repeat_interleave(offered.borders.diff(), 1)


def _sums(
    best: Float[Tensor, "K m"], offered: Offers, temperature: float, order: range
) -> Float[Tensor, "P m"]:
    """alpha at every position where `order` goes up, beta where it goes down; inf if none leads
    there.
    """
    up = order.step > 0
    here, there = (offered.stop, offered.start) if up else (offered.start, offered.stop)
    nowhere = torch.full_like(best[0], torch.inf)
    value = {0 if up else offered.positions: torch.zeros_like(best[0])}
    for position in order:
        pairs = (here == position).nonzero()[:, 0]
        pairs = pairs[[int(other) in value for other in there[pairs]]]
        if len(pairs):
            before = torch.stack([value[int(other)] for other in there[pairs]])
            value[position] = _soft_least(before + best[pairs], 0, temperature)
    return torch.stack([value.get(p, nowhere) for p in range(offered.positions + 1)])


def _soft_least(costs: Tensor, axis: int, temperature: float) -> Tensor:
    return -temperature * torch.logsumexp(costs / -temperature, axis)
