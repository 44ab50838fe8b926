"""`KeyTree`: finished tokens under a pyramid of exact moments, read through a cut with a bound."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ...ops.tiled_attention.layout import TileLayout
from ...ops.tiled_attention.pyramid import cover
from ...ops.tiled_attention.store import TileStore, build_store
from ...ops.tiled_attention.tiles import order_block, take
from .bounds import Order
from .checks import check_far, check_order, check_query, check_tokens
from .cut import Descent, Finished, KeyCut, cut_by_rows, cut_by_tolerance
from .moments import AbstractMoments, NodeMoments, merged, moments_of_tokens
from .read import TreeRead, read_cut


class KeyTree:
    """A level-of-detail pyramid over key space that grows with a text, for n key heads.

    Tokens wait until they fill a super-block; then it is cut into tiles, cells of key space, and
    every node whose tokens are all there is added: the nodes that tiled attention reads, here
    with moments to second order. Tokens give the same tree, bit for bit, in whatever pieces they
    come. Only finished super-blocks are read; logits are q.k, without a further scale.

    At a given tolerance a cut reads O(log n) of n tokens' rows where keys come back in clusters of
    which every super-block has the same and no node mixes two; of keys without structure O(n).

    Args:
        layout: sizes of super-blocks, tiles and groups; `window`, `sinks`, `scouts` and `rest` are
            not used here.
        rank: axes along which second order is kept; None keeps the covariances in full. Moments of
            parents are exact either way: full ones are kept of nodes without a parent.
    """

    def __init__(self, layout: TileLayout | None = None, *, rank: int | None = None) -> None:
        self.layout = TileLayout() if layout is None else layout
        self.rank = rank
        self.length = 0
        self._store: TileStore | None = None
        self._waiting: tuple[Tensor, Tensor, Tensor] | None = None
        self._scale: Tensor | None = None
        self._heights: list[AbstractMoments] = []
        self._exact: list[NodeMoments] = []

    @property
    def finished(self) -> int:
        """Tokens in whole super-blocks."""
        return self.length - self.length % self.layout.super_block

    @property
    def heights(self) -> int:
        """How many heights have nodes; height 0 are the tiles."""
        return len(self._heights)

    def append(
        self,
        key: Float[Tensor, "n S D"],
        value: Float[Tensor, "n S E"],
        *,
        valid: Bool[Tensor, "n S"] | None = None,
        scale: Float[Tensor, "n D"] | None = None,
    ) -> None:
        """Add tokens.

        Args:
            key, value: float32 or float64.
            valid: False for padding, which is in no node; all True if None.
            scale: distances between keys are taken in the metric diag(scale^2), scale_d the rms of
                coordinate d of the queries. Holds until another is given; 1 at first.
        """
        check_tokens(key, value, valid, scale, self._waiting)
        if scale is not None or self._scale is None:
            self._scale = key.new_ones(len(key), key.shape[-1]) if scale is None else scale
        if valid is None:
            valid = torch.ones(key.shape[:2], dtype=torch.bool, device=key.device)
        if self._waiting is not None:
            pairs = zip(self._waiting, (key, value, valid), strict=True)
            key, value, valid = (torch.cat(pair, 1) for pair in pairs)
        size, start = self.layout.super_block, self.finished
        self.length = start + valid.shape[1]
        # Block by block, so that no rounding depends on how many come at once.
        while valid.shape[1] >= size:
            self._finish(key[:, :size], value[:, :size], valid[:, :size], start)
            key, value, valid, start = key[:, size:], value[:, size:], valid[:, size:], start + size
        self._waiting = (key, value, valid)

    def moments(self, height: int) -> AbstractMoments:
        """The moments [n, M] of all nodes of this height."""
        return self._heights[self._checked(height)]

    def tokens(self, height: int) -> Int[Tensor, "n M tokens"]:
        """Which tokens each node of this height holds: positions in the text, -1 for padding."""
        store = self._grown()
        members = store.positions.masked_fill(~store.valid, -1)
        for children in store.pyramid.children[: self._checked(height)]:
            members = take(members, children.flatten(1)).unflatten(1, children.shape[1:]).flatten(2)
        return members

    def cut(
        self,
        query: Float[Tensor, "n T D"],
        *,
        tolerance: float | None = None,
        rows: int | None = None,
        far: Bool[Tensor, " blocks"] | None = None,
        order: Order = 2,
    ) -> KeyCut:
        """From the largest nodes down, open those that may be furthest off.

        Args:
            query: query heads that share a key head go side by side in T.
            tolerance: of |output - exact output| / max_j |v_j|, certified; 0 opens all that could
                be wrong at all.
            rows: instead, the most rows to read; the largest nodes are read in any case.
            far: super-blocks to read, the others being read elsewhere; all if None.
            order: in which the cut will be read, 1 or 2.
        """
        store, query = self._grown(), query.detach()
        blocks = self.finished // self.layout.super_block
        check_order(order)
        check_query(query, store.keys)
        if far is None:
            far = torch.ones(blocks, dtype=torch.bool, device=query.device)
        check_far(far, blocks)
        roots = torch.cat(cover(far, store.pyramid.sizes, self.layout))
        with torch.no_grad():
            descent = Descent(self._all(), query, roots, order)
            if tolerance is not None and rows is None and tolerance >= 0:
                return cut_by_tolerance(descent, tolerance)
            if rows is not None and tolerance is None and rows >= 1:
                return cut_by_rows(descent, rows, self._opened_rows())
        raise ArgumentError(
            "tolerance, rows",
            f"{tolerance}, {rows}",
            "one of them: a tolerance >= 0 or at least one row",
            "pass tolerance=0.05",
        )

    def read(
        self, query: Float[Tensor, "n T D"], cut: KeyCut, *, order: Order | None = None
    ) -> TreeRead:
        """Attention over the finished tokens through a cut; in the cut's own order if None.

        Gradients flow to keys, values and queries; with a rank, axes are taken as given.
        """
        order = cut.order if order is None else order
        check_order(order)
        check_query(query, self._grown().keys)
        return read_cut(self._all(), query, cut, order)

    def _finish(self, key: Tensor, value: Tensor, valid: Tensor, start: int) -> None:
        """Cut one super-block into tiles, and add all nodes it completes."""
        assert self._scale is not None
        order = order_block(key, self._scale.to(key), valid, self.layout)
        # A padded token's key may be anything, even infinite.
        key, value = (x.masked_fill(~valid[..., None], 0) for x in (key, value))
        scale = self._scale.to(key)[:, None]
        block = build_store(key, value, valid, order, scale, self.layout, bounds=False, start=start)
        store = block if self._store is None else self._store.extended(block, self.layout)
        self._store = store
        self._add(0, moments_of_tokens(block.keys, block.values, block.valid))
        for height, children in enumerate(store.pyramid.children, start=1):
            done = self._heights[height].count.shape[1] if height < self.heights else 0
            if done < children.shape[1]:
                self._merge(height, children[:, done:])

    def _merge(self, height: int, children: Int[Tensor, "n M g"]) -> None:
        """New nodes over the last ones of the height below, which then have their parents."""
        lower = self._exact[height - 1]
        first = self._heights[height - 1].count.shape[1] - lower.count.shape[1]
        head = torch.arange(len(children), device=children.device)[:, None, None]
        self._add(height, merged(lower.picked(head, children - first)))
        self._exact[height - 1] = lower.map(lambda x: x[:, :0])

    def _add(self, height: int, moments: NodeMoments) -> None:
        kept = moments if self.rank is None else moments.low_rank(self.rank)
        if height == self.heights:
            self._heights.append(kept)
            self._exact.append(moments)
        else:
            self._heights[height] = self._heights[height].joined(kept)
            self._exact[height] = self._exact[height].joined(moments)

    def _all(self) -> Finished:
        store = self._grown()
        nodes = self._heights[0]
        for upper in self._heights[1:]:
            nodes = nodes.joined(upper)
        return Finished(nodes, self._parent(store), store.keys, store.values, store.valid)

    def _parent(self, store: TileStore) -> Int[Tensor, "n N"]:
        sizes = store.pyramid.sizes
        parent = store.positions.new_full((len(store.keys), sum(sizes)), -1)
        first = 0
        for size, children in zip(sizes, store.pyramid.children, strict=False):
            nodes = torch.arange(children.shape[1], device=parent.device) + first + size
            nodes = nodes[:, None].expand(-1, children.shape[-1]).flatten()
            index = children.flatten(1) + first
            parent = parent.scatter(1, index, nodes.expand_as(index))
            first += size
        return parent

    def _opened_rows(self) -> Int[Tensor, "n N"]:
        """Rows of each node's children that hold tokens; of a tile's tokens."""
        store = self._grown()
        opened = [store.valid.sum(-1)]
        for lower, children in zip(self._heights, store.pyramid.children, strict=False):
            there = take((lower.count > 0).long(), children.flatten(1)).unflatten(
                1, children.shape[1:]
            )
            opened.append(there.sum(-1))
        return torch.cat(opened, 1)

    def _grown(self) -> TileStore:
        if self._store is None:
            raise ArgumentError(
                "length",
                self.length,
                f"at least one super-block of {self.layout.super_block} tokens",
                "append more tokens first",
            )
        return self._store

    def _checked(self, height: int) -> int:
        if not 0 <= height < self.heights:
            raise ArgumentError("height", height, f"0 to {self.heights - 1}", "0 are the tiles")
        return height
