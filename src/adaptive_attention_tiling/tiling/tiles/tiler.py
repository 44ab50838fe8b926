"""Optimal tiles under a compute budget or at a price: `TileManager`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .loss import Signal
from .offers import Offers, offers
from .programme import Solution, least_loss_within, solve
from .sweep import AbstractSweep, sweep_of
from .tiling import Tiling, joined, packed


class TileManager:
    """Cuts texts into the tiles of least information loss for what they cost (4.3.1).

    A tiling's cost is the rows read, ceil(R L) for each tile, and `overhead` rows for each tile.
    Of all tilings on offer the one with least loss + price * cost is found by dynamic programme,
    in each super-block by itself: its tiles depend on its own tokens only, and it meets its own
    budget. Queries inside a super-block read it exactly, so no tile tells them of later tokens.

    Args:
        min_size, max_size: tokens of a tile. The last tile of a text may be shorter.
        resolutions: R on offer, each 1/k for a whole k: segments of k tokens.
        super_block: tokens that are tiled together.
        granularity: tiles start and stop at multiples of it; min_size if None.
        overhead: rows that a tile costs besides its segments; a multiple of 1/8.

    Raises:
        ArgumentError: sizes, resolutions or the overhead do not fit together.
    """

    def __init__(
        self,
        min_size: int = 16,
        max_size: int = 512,
        *,
        resolutions: Sequence[float] = (1, 1 / 2, 1 / 4, 1 / 8, 1 / 16),
        super_block: int = 512,
        granularity: int | None = None,
        overhead: float = 1.0,
    ) -> None:
        self.min_size, self.max_size, self.super_block = min_size, max_size, super_block
        self.granularity = min_size if granularity is None else granularity
        self.overhead = overhead
        self._check_sizes()
        self.spans = _segment_lengths(resolutions)
        self.resolutions = tuple(1 / span for span in self.spans)

    @property
    def lowest_budget(self) -> float:
        """The least share of an exact reading's cost at which a super-block can be read."""
        return self.offers(self.super_block).least_cost / self.exact_cost(self.super_block)

    def exact_cost(self, tokens: int) -> float:
        """Cost of reading every token, in as few tiles as `max_size` allows."""
        return tokens + self.overhead * math.ceil(tokens / min(self.max_size, self.super_block))

    def offers(self, tokens: int) -> Offers:
        """What may be cut from a super-block of so many tokens."""
        return offers(
            tokens,
            is_finished=tokens == self.super_block,
            min_size=self.min_size,
            max_size=self.max_size,
            granularity=self.granularity,
            spans=self.spans,
            overhead=float(self.overhead),
        )

    def optimize_tiling(
        self,
        signal: Float[Tensor, "*signal"],
        compute_budget: float,
        *,
        kind: Signal | None = None,
    ) -> Tiling:
        """The tiles that lose least among those that keep to the budget.

        In every super-block: cost <= compute_budget * exact cost, so that no more than
        compute_budget rows are read for each token; and (cost, loss) is the point of the lower
        convex hull of all tilings with the largest such cost. A tiling that lies above the hull
        may cost more, lose less and still be within budget: at most one edge of the hull lies
        between. What is left of the budget tells the tiling's `compute_cost`. `tile_at_price`
        with the tiling's `price` gives the same tiles.

        Args:
            signal: states [..., T, C], or a density [..., T] (energy of the step to each token
                from the one before it, >= 0; "loss.py" tells what is then expected).
            compute_budget: share of an exact reading's cost, in (0, 1]. An unfinished super-block
                that is too short for it takes its cheapest tiling.
            kind: what the signal is; if None, density for one axis and states for more.

        Raises:
            ArgumentError: no tiling of a super-block is so cheap; the signal does not fit.
        """
        self.check_budget(compute_budget)

        def price(sweep: AbstractSweep, _: slice) -> Tensor:
            most = compute_budget * self.exact_cost(sweep.offered.tokens)
            return least_loss_within(sweep, max(most, sweep.offered.least_cost))

        return self._tiled(flattened(signal, kind), price)

    def tile_at_price(
        self,
        signal: Float[Tensor, "*signal"],
        price: float | Float[Tensor, "*prices"],
        *,
        kind: Signal | None = None,
    ) -> Tiling:
        """The tiles of least loss + price * cost, whatever they cost.

        Args:
            signal: as for `optimize_tiling`.
            price: energy per row, >= 0: a number, one for each sequence [n], or one for each
                super-block [n, S].
        """
        flat = flattened(signal, kind)
        blocks = -(-flat.shape[1] // self.super_block)
        prices = price_of_each(price, len(flat), blocks).detach().double()
        return self._tiled(
            flat, lambda sweep, which: sweep.price_in_quanta(prices[:, which].flatten())
        )

    def check_budget(self, compute_budget: float) -> None:
        """Raise an ArgumentError if no super-block can be read at this share of the cost."""
        if not 0 < compute_budget <= 1:
            raise ArgumentError(
                "compute_budget", compute_budget, "a share in (0, 1]", "1 reads every token"
            )
        if compute_budget < self.lowest_budget:
            raise ArgumentError(
                "compute_budget",
                compute_budget,
                f"at least {self.lowest_budget:.4g} with resolutions down to 1/{self.spans[-1]}",
                "offer lower resolutions, or larger tiles",
            )

    def pieces(
        self, flat: Float[Tensor, "n T *C"]
    ) -> Iterator[tuple[Float[Tensor, "n S L *C"], slice]]:
        """The finished super-blocks together, then the one that is not, each with its numbers."""
        whole = flat.shape[1] // self.super_block
        finished = whole * self.super_block
        if whole:
            yield flat[:, :finished].unflatten(1, (whole, -1)), slice(0, whole)
        if finished < flat.shape[1]:
            yield flat[:, None, finished:], slice(whole, whole + 1)

    @torch.no_grad()
    def _tiled(
        self, flat: Float[Tensor, "n T *C"], price: Callable[[AbstractSweep, slice], Tensor]
    ) -> Tiling:
        """Every super-block at the price that `price` sets for it."""
        parts = []
        for blocks, which in self.pieces(flat.detach()):
            offered = self.offers(blocks.shape[2])
            sweep = sweep_of(blocks.flatten(0, 1).contiguous(), offered)
            check_finite(sweep.scale, blocks)
            quanta = price(sweep, which)
            solution, prices = solve(sweep, quanta), sweep.price_of(quanta)
            parts.append(self._tiling(solution, prices, offered, len(flat)))
        return joined(parts)

    def _tiling(self, best: Solution, price: Tensor, offered: Offers, n: int) -> Tiling:
        """Super-blocks' solutions as the tiles of n sequences."""
        blocks = len(price) // n
        length, span = best.length.reshape(n, -1), best.span.reshape(n, -1)
        tokens = blocks * offered.tokens
        firsts = torch.arange(blocks)[:, None] * offered.tokens + offered.borders[:-1]
        start, length, span = packed(
            length > 0, (firsts.flatten().expand(n, -1), tokens), (length, 0), (span, 1)
        )
        return Tiling(
            tokens=tokens,
            super_block=self.super_block,
            overhead=self.overhead,
            start=start,
            length=length,
            resolution=1 / span.to(torch.get_default_dtype()),
            block_loss=best.loss.view(n, blocks),
            block_cost=best.cost.view(n, blocks),
            price=price.view(n, blocks),
        )

    def _check_sizes(self) -> None:
        step, block = self.granularity, self.super_block
        if not (
            all(isinstance(size, int) for size in (self.min_size, self.max_size, step, block))
            and 0 < step <= self.min_size <= self.max_size
            and not any(size % step for size in (self.min_size, self.max_size))
            and block >= self.min_size
            and not block % self.min_size
        ):
            raise ArgumentError(
                "sizes",
                f"min_size {self.min_size}, max_size {self.max_size}, granularity {step}, "
                f"super_block {block}",
                "whole numbers, granularity <= min_size <= max_size in multiples of granularity, "
                "super_block a multiple of min_size",
                "use powers of two",
            )
        if not (0 <= self.overhead < math.inf and self.overhead * 8 % 1 == 0):
            raise ArgumentError(
                "overhead", self.overhead, "rows >= 0 in multiples of 1/8", "use 1 or 0"
            )


def _segment_lengths(resolutions: Sequence[float]) -> tuple[int, ...]:
    """1/R for each, finest first."""
    spans = [round(1 / r) if 0 < r <= 1 else 0 for r in resolutions]
    if not spans or any(
        not s or abs(r * s - 1) > 1e-6 for r, s in zip(resolutions, spans, strict=True)
    ):
        raise ArgumentError(
            "resolutions",
            tuple(resolutions),
            "numbers 1/k for whole k >= 1, at least one",
            "use (1, 1/2, 1/4, 1/8, 1/16)",
        )
    return tuple(sorted(set(spans)))


def flattened(signal: Tensor, kind: Signal | None) -> Float[Tensor, "n T *C"]:
    """The signal of n sequences, in at least float32."""
    if kind is None:
        kind = "density" if signal.dim() == 1 else "states"
    if kind not in get_args(Signal):
        raise ArgumentError("kind", kind, f"one of {get_args(Signal)}", "leave it out")
    axes = 1 if kind == "density" else 2
    if signal.dim() < axes or 0 in signal.shape or not signal.is_floating_point():
        raise ArgumentError(
            "signal",
            f"{signal.dtype} of shape {list(signal.shape)}",
            "a floating density [..., T]" if axes == 1 else "floating states [..., T, C]",
            'say kind="density" for a density of several sequences; leave out empty texts',
        )
    flat = signal.reshape(-1, *signal.shape[-axes:])
    if axes == 1 and bool((flat < 0).any()):
        raise ArgumentError(
            "signal", f"{float(flat.detach().min()):.4g}", "a density >= 0", "pass squared steps"
        )
    return flat if flat.dtype == torch.float64 else flat.float()


def check_finite(scale: Tensor, blocks: Tensor) -> None:
    """Raise for nan or infinity: they reach `scale`, the loss at the lowest resolution, unless
    that one is 1.
    """
    if not bool(scale.isfinite().all()) or (
        not bool(scale.any()) and not bool(blocks.sum().isfinite())
    ):
        raise ArgumentError(
            "signal",
            "nan, infinity, or numbers whose squares overflow",
            "finite numbers",
            "look for where they arise: signal.isfinite().all()",
        )


def price_of_each(price: float | Tensor, n: int, blocks: int) -> Float[Tensor, "n S"]:
    prices = price if isinstance(price, Tensor) else torch.tensor(price, dtype=torch.float64)
    if prices.dim() == 1:
        prices = prices[:, None]
    if prices.dim() > 2 or any(
        have not in (1, want) for have, want in zip(prices.shape[::-1], (blocks, n), strict=False)
    ):
        raise ArgumentError(
            "price",
            f"shape {list(prices.shape)}",
            f"a number, [{n}] or [{n}, {blocks}]",
            "pass one for each sequence, or one for each of its super-blocks",
        )
    if not bool(((prices >= 0) & prices.isfinite()).all()):
        raise ArgumentError("price", float(prices.detach().min()), "finite numbers >= 0", "use 0")
    return prices.expand(n, blocks)
