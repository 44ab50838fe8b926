"""What a profile along the offsets is like where it has no pattern: its decay and its noise."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Offsets within a factor of two, and so many tokens more, are nearby.
_NEARBY = 8
# So many of the highest scores, or a twentieth of them, make the tail.
_LEAST_TAIL = 10


def non_increasing(
    sums: Float[Tensor, " d"], counts: Float[Tensor, " d"], side: Int[Tensor, " d"]
) -> Float[Tensor, " d"]:
    """The decay D with D(d) >= D(d + 1) that is nearest to the means of most distances d.

    Pools neighbours that rise (Barlow et al., Statistical Inference under Order Restrictions, 1972,
    section 1.2).

    Args:
        sums, counts: of the samples at each distance.
        side: 0 where the decay is fitted. At 1 it is as high as it may be, that of the distances
            before, and at -1 as low, that of those after, or the mean itself where there are none:
            so what stands out to that side does so above, or below, any decay.
    """
    means = (sums / counts.clamp_min(1)).tolist()
    fitted = ((side == 0) & (counts > 0)).nonzero()[:, 0].tolist()
    pools: list[list[float]] = []  # mean, count, distances
    for place, count in zip(fitted, counts[fitted].tolist(), strict=True):
        pools.append([means[place], count, 1])
        while len(pools) > 1 and pools[-1][0] >= pools[-2][0]:
            (x, n, width), (y, m, other) = pools.pop(), pools.pop()
            pools.append([(x * n + y * m) / (n + m), n + m, width + other])
    level = sums.new_tensor([pool[0] for pool in pools for _ in range(int(pool[2]))])
    # Distances without samples take the level before.
    side = torch.where((counts > 0) | (side != 0), side, 1)
    after = torch.searchsorted(torch.tensor(fitted), torch.arange(len(sums))).to(side)
    at = torch.where(side > 0, after - 1, after)
    own = (at < 0) | (at >= len(level))
    if not len(level):
        return sums / counts.clamp_min(1)
    decay: Tensor = torch.where(own, sums / counts.clamp_min(1), level[at.clamp(0, len(level) - 1)])
    return decay


def local_spread(squares: Float[Tensor, " n"], distance: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Root of the mean square at distances from d / 2 - 8 to 2 d + 8; 0 only if all are."""
    size = int(distance.max()) + 1
    total = squares.new_zeros(size + 1).index_add(0, distance + 1, squares).cumsum(0)
    many = squares.new_zeros(size + 1).index_add(0, distance + 1, torch.ones_like(squares))
    many = many.cumsum(0)
    place = torch.arange(size, device=squares.device)
    first = (place // 2 - _NEARBY).clamp_min(0)
    after = (2 * place + _NEARBY + 1).clamp_max(size)
    mean = (total[after] - total[first]) / (many[after] - many[first])
    return (mean + 1e-6 * squares.mean()).sqrt()[distance]


def tail_chance(value: Tensor, null: Float[Tensor, " n"]) -> float:
    """Chance of a draw >= value: by counting, and beyond the ten highest by a Pareto tail.

    P(x >= value) = (k / n) (value / x_k)^-alpha with 1 / alpha = mean log(x / x_k) over the k
    highest, all of them from the median of the draws.

    Source: Hill, A simple general approach to inference about the tail of a distribution (1975).
    """
    middle = null.median()
    above = int((null >= value).sum())
    size = max(_LEAST_TAIL, len(null) // 20)
    top = (null - middle).topk(size + 1).values
    counted = (1 + above) / (1 + len(null))
    if above >= _LEAST_TAIL or not bool(top[-1] > 0):
        return counted
    index = (top[:-1] / top[-1]).log().mean()
    far = ((value - middle) / top[-1]).log()
    return min(1.0, float(size / len(null) * (-far / index.clamp_min(1e-9)).exp()))
