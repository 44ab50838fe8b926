"""The lattice by which a head's map of attention repeats, in queries and offsets at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.crystal import minkowski_reduced
from .head_tensors import check_head
from .periodic_head import running_median

# A peak of the autocorrelation is half as high as the highest ones.
_HEIGHT = 0.5
# A step of the lattice leads from so large a share of the peaks to a peak.
_MATCH = 0.75
# Offsets of which the median is taken as the level around one.
_AROUND = 65


class AttentionLattice(NamedTuple):
    """What `attention_lattice` found."""

    steps: Int[Tensor, "2 2"]
    """Reduced whole steps (query, offset), as rows, by which the map repeats."""
    explained: float
    """Share of the map's variance that repeats by them, in [0, 1]; cells - 1 of n by chance."""
    cells: int
    """Pairs (query, offset) in one period: |det steps|."""


def attention_lattice(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    rows: int = 160,
    span: int = 256,
    reach: int = 64,
    least_cells: int = 4,
    scale: float | None = None,
) -> AttentionLattice | None:
    """Steps (query, offset) by which a causal head's attention repeats; None if there are none.

    The map x(i, o) = max(log((i + 1) a_{i, i - o}), 0) of the last rows, less the running median of
    its mean over rows, is correlated with itself. Where it repeats, the peaks of the
    autocorrelation are the points of a lattice (as of a Patterson function): its steps are the two
    shortest ones that lead from most peaks to a peak, reduced. A stride of period p in the offset
    has the steps (1, 0) and (0, p), one in the position (1, 1) and (0, p); a head that attends from
    each kind of field of a record to its like in other records (p, 0) and (0, p).

    Args:
        query, key: of one head, rotated if the model rotates them.
        rows, span: queries and offsets of the map, offset 1 first.
        reach: longest steps of the autocorrelation, at most half of rows and of span; twice the
            longest step that is found.
        least_cells: lattices finer than that are put down to smoothness.
        scale: of the logits; None is D ** -0.5.

    Giacovazzo, Fundamentals of Crystallography (2011), section 5.5 (the Patterson function).
    """
    check_head(query, key)
    _check(len(query), rows, span, reach)
    seen = torch.arange(len(query) - rows, len(query), device=query.device)
    logits = query.detach()[seen] @ key.detach().mT
    logits = logits * (query.shape[-1] ** -0.5 if scale is None else scale)
    hidden = torch.arange(len(key), device=key.device) > seen[:, None]
    attention = logits.masked_fill(hidden, -torch.inf).softmax(-1).double()
    offsets = seen[:, None] - torch.arange(1, span + 1, device=key.device)
    levels = (attention * (seen[:, None] + 1)).log().clamp_min(0).gather(1, offsets)
    levels = levels - running_median(levels.mean(0), _AROUND)
    levels = levels - levels.mean()
    if not bool(levels.square().mean() > 1e-12):
        return None
    basis = _shortest_steps(_peaks(levels, reach))
    if basis is None:
        return None
    steps = minkowski_reduced(basis.double()).basis.round().long()
    cells = int(torch.linalg.det(steps.double()).abs().round())
    if cells < least_cells:
        return None
    return AttentionLattice(steps, _explained(levels, steps, cells), cells)


def _peaks(levels: Float[Tensor, "r s"], reach: int) -> Bool[Tensor, "p p"]:
    """Steps (query, offset) from -reach to reach at which the map resembles itself, and 0."""
    rows, span = levels.shape
    transform = torch.fft.rfft2(levels, s=(2 * rows, 2 * span))
    sums = torch.fft.irfft2(transform.abs().square(), s=(2 * rows, 2 * span))
    steps = torch.arange(-reach, reach + 1, device=levels.device)
    overlap = (rows - steps.abs())[:, None] * (span - steps.abs())
    correlation = sums[steps[:, None], steps] / overlap / levels.square().mean()
    far = steps[:, None].square() + steps.square() >= 9
    highest = correlation[far].quantile(0.999)
    high: Tensor = correlation >= _HEIGHT * highest
    high[reach, reach] = True
    return high


def _shortest_steps(peaks: Bool[Tensor, "p p"]) -> Int[Tensor, "2 2"] | None:
    """The two shortest independent steps, up to half of the reach, that most peaks repeat by."""
    reach = len(peaks) // 2
    found = peaks.nonzero() - reach
    lengths = found.square().sum(1)
    ahead = (found[:, 0] > 0) | ((found[:, 0] == 0) & (found[:, 1] > 0))
    order = lengths.argsort(stable=True)
    order = order[(ahead & (lengths <= (reach // 2) ** 2))[order]]
    first: tuple[int, int] | None = None
    for a, b in found[order].tolist():
        if first is not None and first[0] * b == first[1] * a:
            continue
        if _match(peaks, a, b) < _MATCH:
            continue
        if first is not None:
            return torch.tensor([first, (a, b)])
        first = (a, b)
    return None


def _match(peaks: Bool[Tensor, "p p"], query: int, offset: int) -> float:
    """Share of peaks, of those that stay inside, that this step leads to a peak; query >= 0."""
    size = len(peaks)
    start = peaks[: size - query, max(0, -offset) : size - max(0, offset)]
    end = peaks[query:, max(0, offset) : size - max(0, -offset)]
    return float((start & end).sum() / start.sum().clamp_min(1))


def _explained(levels: Tensor, steps: Tensor, cells: int) -> float:
    rows, span = levels.shape
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(span)).to(steps)
    # place = c steps; the adjugate keeps c whole, in units of 1 / det.
    (a, b), (c, d) = steps.tolist()
    adjugate = torch.tensor([[d, -b], [-c, a]], device=steps.device)
    _, cell = (place @ adjugate).remainder(cells).unique(dim=0, return_inverse=True)
    counts = torch.bincount(cell).double()
    sums = torch.zeros_like(counts).index_add(0, cell, levels.flatten())
    return float((sums.square() / counts).sum() / levels.square().sum())


def _check(tokens: int, rows: int, span: int, reach: int) -> None:
    if not 8 <= 2 * reach <= min(rows, span):
        raise ArgumentError(
            "reach", reach, f"4 to half of rows = {rows} and span = {span}", "pass reach=64"
        )
    if tokens < rows + span:
        raise ArgumentError(
            "query", f"{tokens} tokens", f"rows + span = {rows + span}", "pass a longer text"
        )
