"""The cut of each query through the pyramid: from the top down, the dearest nodes are opened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .bounds import Order, log_misread, logit_spread
from .moments import AbstractMoments

# Nodes or tiles of which the covariances, or the tokens, are gathered at once.
_CHUNK = 4096


@dataclass(frozen=True)
class Finished:
    """The finished tokens of n key heads and the nodes over them.

    nodes [n, N]: the tiles, then height after height; parent [n, N], -1 for those without one;
    keys [n, M, L, D], values [n, M, L, E] and valid [n, M, L] of the tiles' tokens.
    """

    nodes: AbstractMoments
    parent: Tensor
    keys: Tensor
    values: Tensor
    valid: Tensor


@dataclass(frozen=True)
class KeyCut:
    """What each query reads, and how wrong that can be.

    closed [n, T, N]: nodes read through their moments (the tiles, then height after height);
    exact [n, T, M]: tiles read token by token; rows [n, T]: how many means and tokens that is;
    error [n, T]: the bound of |output - exact output| / max_j |v_j| when read in `order`.
    """

    closed: Tensor
    exact: Tensor
    rows: Tensor
    error: Tensor
    order: Order


def value_reach(order: Order) -> float:
    """max_j |v_j - output| <= this * max_j |v_j|, as every value that is read is in reach.

    First order reads means. Second order reads at most sqrt(2) of the largest value.
    """
    return 2.0 if order == 1 else 1 + math.sqrt(2)


class Descent:
    """The cuts of all queries on their way down."""

    def __init__(
        self,
        finished: Finished,
        query: Float[Tensor, "n T D"],
        roots: Bool[Tensor, " N"],
        order: Order,
    ) -> None:
        n, queries, _ = query.shape
        tiles = finished.valid.shape[1]
        self.finished, self.query, self.order = finished, query, order
        self.closed = torch.zeros(n, queries, len(roots), dtype=torch.bool, device=query.device)
        self.exact = self.closed[..., :tiles].clone()
        # Log weights of the nodes seen and of the tiles opened, and log weight * misreading.
        self.weight = torch.full_like(self.closed, -torch.inf, dtype=query.dtype)
        self.misread, self.tile_weight = self.weight.clone(), self.weight[..., :tiles].clone()
        self._close(roots.expand_as(self.closed) & (finished.nodes.count > 0)[:, None])

    @property
    def rows(self) -> Int[Tensor, "n T"]:
        """Nodes and tokens read."""
        tokens = self.finished.valid.sum(-1)[:, None]
        return self.closed.sum(-1) + (self.exact * tokens).sum(-1)

    def terms(self) -> Float[Tensor, "n T N"]:
        """What each node adds to the bound of a query's error, in units of the largest value."""
        log_z = self.log_normaliser()[..., None].clamp_min(torch.finfo(self.query.dtype).min)
        open_ = self.misread.masked_fill(~self.closed, -torch.inf)
        return (open_ - log_z).exp() * value_reach(self.order)

    def log_normaliser(self) -> Float[Tensor, "n T"]:
        """log of a lower bound of the exact normaliser: nodes count as n e^{q.mean} (Jensen)."""
        nodes = self.weight.masked_fill(~self.closed, -torch.inf).logsumexp(-1)
        tiles = self.tile_weight.masked_fill(~self.exact, -torch.inf).logsumexp(-1)
        return torch.logaddexp(nodes, tiles)

    def open(self, chosen: Bool[Tensor, "n T N"]) -> None:
        """Read these nodes' children in their place, and the tokens of tiles."""
        self.closed = self.closed & ~chosen
        tiles = chosen[..., : self.exact.shape[-1]]
        self.exact = self.exact | tiles
        self._read(tiles)
        parent = self.finished.parent[:, None].expand_as(chosen)
        below = chosen.gather(-1, parent.clamp_min(0)) & (parent >= 0)
        self._close(below & (self.finished.nodes.count > 0)[:, None])

    def cut(self) -> KeyCut:
        """The cut as it stands."""
        error = self.terms().sum(-1).clamp_max(value_reach(self.order))
        return KeyCut(self.closed, self.exact, self.rows, error, self.order)

    def _close(self, nodes: Bool[Tensor, "n T N"]) -> None:
        """Look at nodes for the first time."""
        self.closed = self.closed | nodes
        for head, row, node in _pieces(nodes):
            query, moments = self.query[head, row], self.finished.nodes.picked(head, node)
            weight = log_weight(moments, query)
            self.weight[head, row, node] = weight
            spread = logit_spread(moments, query)
            self.misread[head, row, node] = weight + log_misread(spread, self.order)

    def _read(self, tiles: Bool[Tensor, "n T M"]) -> None:
        for head, row, tile in _pieces(tiles):
            logits = (self.finished.keys[head, tile] @ self.query[head, row][..., None])[..., 0]
            logits = logits.masked_fill(~self.finished.valid[head, tile], -torch.inf)
            self.tile_weight[head, row, tile] = logits.logsumexp(-1)


def cut_by_tolerance(descent: Descent, tolerance: float) -> KeyCut:
    """Open the dearest nodes until what stays closed is within tolerance.

    All those that must be opened even if their children cost nothing are opened in one go.
    """
    while True:
        terms = descent.terms()
        ordered, index = terms.sort(-1)
        over = torch.zeros_like(descent.closed).scatter(-1, index, ordered.cumsum(-1) > tolerance)
        if not over.any():
            return descent.cut()
        descent.open(over & descent.closed)


def cut_by_rows(descent: Descent, rows: int, opened_rows: Int[Tensor, "n N"]) -> KeyCut:
    """Open the dearest node that fits into the rows, one after the other.

    opened_rows [n, N] is what is read of each node once it is opened.
    """
    while True:
        fits = (descent.rows[..., None] + opened_rows[:, None] - 1) <= rows
        dearest = descent.terms().masked_fill(~(fits & descent.closed), 0).max(-1, keepdim=True)
        if not (dearest.values > 0).any():
            return descent.cut()
        chosen = torch.zeros_like(descent.closed).scatter(-1, dearest.indices, dearest.values > 0)
        descent.open(chosen)


def log_weight(moments: AbstractMoments, query: Float[Tensor, "*b D"]) -> Float[Tensor, "*b"]:
    """log n + q.mean."""
    return moments.count.log() + (moments.key * query).sum(-1)


def _pieces(mask: Bool[Tensor, "n T N"]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    head, row, place = mask.nonzero(as_tuple=True)
    return zip(*(x.split(_CHUNK) for x in (head, row, place)), strict=True)
