"""Theorem 3.3, "0 <= IFQ <= 1, and 1 iff the tile is optimal": what is true.

1. The formula as written has no bounds. Each of three parts alone lifts it above 1 (`excess`), and
   the fourth pulls it below 0: attention that was one-hot and turns uniform over n keys has
   PS = 1 - sqrt(n - 1). A search by gradient finds both from random inputs (`attack`).
2. The bounded form stays in [0, 1] by construction, and is as high as one likes: states that move
   fast, distributions that differ and attention to borders are enough, whatever the text says.
3. 1 is a supremum, not attained, wherever cross-tile flow or information density have a weight:
   1 - exp(-CTF) < 1 and ID / (1 + ID) < 1 for finite inputs. (Rounding may still print a 1.)
   Without their weights it is attained, by uniform attention among others, which prefers nothing.
4. No value of IFQ means "optimal". It sees neither values nor outputs: exchanging two keys inside
   a tile, in every pattern, changes what is read and leaves IFQ as it was (`exchanged_keys`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...tiling.quality import (
    QualityReport,
    QualityWeights,
    information_flow_quality,
    tile_distributions,
)

Figure = Literal["raw", "bounded"]
Direction = Literal["up", "down"]

SIZES = (4, 16, 64, 256)
PARTS = ("pattern_stability", "cross_tile_flow", "edge_utilization", "information_density")
ATTACKS: tuple[tuple[Figure, Direction], ...] = (
    ("raw", "up"),
    ("raw", "down"),
    ("bounded", "up"),
    ("bounded", "down"),
)


@dataclass(frozen=True, kw_only=True)
class Excess:
    """IFQ of tiles in which one part is driven as far as the size of the inputs allows.

    part_raw      the part itself
    raw, bounded  IFQ with a quarter of weight for each part
    """

    part: str
    size: int
    part_raw: float
    raw: float
    bounded: float


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A search for extreme values of one figure by gradient, from random inputs.

    values     the figure of the start that is furthest, at each step of the search
    low, high  smallest and largest value met by any
    """

    figure: Figure
    direction: Direction
    values: tuple[float, ...]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ExchangedKeys:
    """Two keys exchanged in every pattern: IFQ before and after, and ||o - o'|| / ||o||."""

    before: float
    after: float
    output_error: float


@dataclass(frozen=True, kw_only=True)
class UniformAttention:
    """IFQ of attention that prefers nothing: half for PS and EU each, or quarters for all."""

    stability_and_edges: float
    quarters: float


class _Tile(NamedTuple):
    """What `information_flow_quality` judges."""

    previous: Tensor
    current: Tensor
    distributions: Tensor
    spans: Tensor
    gradient: Tensor


def excess(part: str, size: int) -> Excess:
    """One part driven to its extreme: `size` keys, nats of divergence, or squared steps."""
    report = information_flow_quality(*_extreme(part, size))
    return Excess(
        part=part,
        size=size,
        part_raw=float(getattr(report, part).raw),
        raw=float(report.raw_ifq),
        bounded=float(report.ifq),
    )


def _extreme(part: str, size: int) -> _Tile:
    """A tile that is plain but for the part in question."""
    keys = size if part in ("pattern_stability", "edge_utilization") else 4
    uniform = torch.full((4, keys), 1 / keys, dtype=torch.float64)
    first = torch.eye(keys, dtype=torch.float64)[:1].expand(4, -1)
    plain = _Tile(
        previous=uniform,
        current=uniform,
        distributions=torch.full((2, 2), 0.5, dtype=torch.float64),
        spans=torch.tensor([[0, keys]]),
        gradient=torch.zeros(4, 1, dtype=torch.float64),
    )
    if part == "pattern_stability":
        return plain._replace(previous=first)
    if part == "edge_utilization":
        return plain._replace(previous=first, current=first)
    if part == "information_density":
        return plain._replace(gradient=plain.gradient + size**0.5)
    # KL = (1 - 2 p) log((1 - p) / p), about -log p.
    p = math.exp(-size)
    return plain._replace(distributions=plain.gradient.new_tensor([[1 - p, p], [p, 1 - p]]))


def attack(
    figure: Figure,
    direction: Direction,
    *,
    tokens: int = 16,
    steps: int = 150,
    starts: int = 8,
    seed: int = 0,
) -> Attack:
    """Adam on a pattern, its change, the tiles' distributions and the states' steps."""
    generator = torch.Generator().manual_seed(seed)
    shapes = ((tokens, tokens), (tokens, tokens), (2, 8), (tokens, 4))
    free = [
        torch.randn(starts, *shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in shapes
    ]
    search = torch.optim.Adam(free, lr=0.1, maximize=direction == "up")
    found = []
    for _ in range(steps):
        search.zero_grad()
        values = _figure(figure, free)
        values.sum().backward()
        search.step()
        found.append(values.detach())
    low, high = (extreme(torch.stack(found), dim=1) for extreme in (torch.amin, torch.amax))
    return Attack(
        figure=figure,
        direction=direction,
        values=tuple((high if direction == "up" else low).tolist()),
        low=float(low.min()),
        high=float(high.max()),
    )


def _figure(figure: Figure, free: list[Tensor]) -> Float[Tensor, " starts"]:
    pattern, change, distributions, gradient = free
    half = pattern.shape[-1] // 2
    report = information_flow_quality(
        # A small change, as the bounded figure has no slope where a part is at its bound.
        previous=(pattern + 0.3 * change).softmax(-1),
        current=pattern.softmax(-1),
        distributions=distributions.softmax(-1),
        spans=torch.tensor([[0, half], [half, 2 * half]]),
        gradient=gradient,
    )
    return report.raw_ifq if figure == "raw" else report.ifq


def exchanged_keys(*, tokens: int = 32, width: int = 16, seed: int = 0) -> ExchangedKeys:
    """Exchange the most and the least read inner key of the first tile in both patterns."""
    generator = torch.Generator().manual_seed(seed)
    logits, change = (
        torch.randn(tokens, tokens, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    # So small a change that the stability of the pattern is neither 0 nor 1.
    current, previous = (2 * logits).softmax(-1), (2 * logits + 0.3 * change).softmax(-1)
    value, steps = (
        torch.randn(tokens, width, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    read = current.mean(0)[1 : tokens // 2 - 1]
    order = torch.arange(tokens)
    first, second = int(read.argmax()) + 1, int(read.argmin()) + 1
    order[[first, second]] = order[[second, first]]
    before, after = (
        _of_patterns(a, b, steps)
        for a, b in ((previous, current), (previous[:, order], current[:, order]))
    )
    out, wrong = current @ value, current[:, order] @ value
    return ExchangedKeys(
        before=float(before.ifq),
        after=float(after.ifq),
        output_error=float((out - wrong).norm() / out.norm()),
    )


def _of_patterns(previous: Tensor, current: Tensor, steps: Tensor) -> QualityReport:
    """IFQ with the tiles' distributions read off the pattern itself."""
    half = len(current) // 2
    spans = torch.tensor([[0, half], [half, len(current)]])
    return information_flow_quality(
        previous=previous,
        current=current,
        distributions=tile_distributions(current, spans),
        spans=spans,
        gradient=steps,
    )


def uniform_attention(tokens: int = 16) -> UniformAttention:
    """IFQ of the same mean for every query, at both times."""
    pattern = torch.full((tokens, tokens), 1 / tokens, dtype=torch.float64)
    report = _of_patterns(pattern, pattern, torch.zeros(tokens, 1, dtype=torch.float64))
    half = QualityWeights(
        pattern_stability=0.5, cross_tile_flow=0, edge_utilization=0.5, information_density=0
    )
    return UniformAttention(
        stability_and_edges=float(report._replace(weights=half).ifq), quarters=float(report.ifq)
    )
