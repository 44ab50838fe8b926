"""The dynamic programme's forward sweep, for many super-blocks and prices at once.

    V_0 = 0,   V_b = min over a < b and R of V_a + loss(a, b, R) + price * rows(a, b, R)

The specification's pseudo-code (4.3.1) starts every V at zero, so that no split is ever taken.

Values are whole numbers: losses in quanta of about 2^-30 of the energy at stake (a power of two
for each super-block), times 2^bits, plus the cost in its smallest units. So sums are exact in any
order, the cost of the best tiling comes with its value, and of two tilings that are worth the same
the cheaper one wins. They are kept in float64, all below 2^53: its least values are found six
times as fast as those of int64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backends import native
from .loss import prefix_losses, span_losses
from .native import Programme, kernels_for
from .native import prefix_losses as native_prefix_losses
from .offers import Offers


class AbstractSweep(ABC):
    """What n super-blocks lose under each tile on offer; `sweep_of` chooses the form.

    Attributes:
        offered: what may be cut.
        scale: energy at stake, no less than any tiling loses [n].
        highest: a price at which the cheapest tiling is best, in quanta a unit of cost.
        losses: the energies that `lost` tells of, super-blocks last.
        programme: the same search by compiled kernels, or None where torch does it.
    """

    losses: Float[Tensor, "R K n"]
    programme: Programme | None = None

    def __init__(self, offered: Offers, scale: Float[Tensor, " n"]) -> None:
        self.offered, self.scale = offered, scale
        self.bits = offered.cost_bits
        fineness = 50 - 2 * self.bits
        self.highest = 2 ** (fineness + 1)
        self._exponent = fineness - torch.frexp(scale.double()).exponent

    def quanta(self, energy: Float[Tensor, "*k n"]) -> Float[Tensor, "*k n"]:
        """Energies in whole quanta, rounded up so that only no loss counts as none."""
        return torch.ldexp(energy.double(), self._exponent).ceil()

    def price_in_quanta(self, price: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Energy per row in whole quanta per unit of cost."""
        quanta = torch.ldexp(price.double() / self.offered.units, self._exponent)
        return quanta.clamp(0, self.highest).round()

    def price_of(self, quanta: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Energy per row."""
        return torch.ldexp(quanta, -self._exponent) * self.offered.units

    def value_and_cost(
        self, best: Float[Tensor, "*k n"]
    ) -> tuple[Float[Tensor, "*k n"], Float[Tensor, "*k n"]]:
        """What a sweep's last row holds: loss + price * cost, and the cost."""
        value = (best * 2.0**-self.bits).floor()
        return value, best - value * 2**self.bits

    @abstractmethod
    def best(self, price: Float[Tensor, "J n"]) -> Float[Tensor, "P J n"]:
        """The best tilings' packed values up to each position, at J prices a super-block."""

    @abstractmethod
    def last_tiles(
        self, best: Float[Tensor, "P n"], price: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, "P n"], Int[Tensor, "P n"]]:
        """Of the best tiling up to each position, the last tile's start and resolution number."""

    @abstractmethod
    def lost(
        self, level: Int[Tensor, " n"], start: Int[Tensor, " n"], stop: Int[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The energy that one tile of each super-block loses."""


class SpanSweep(AbstractSweep):
    """Any sizes and segments: a table of what each span loses [R, K, n]. O(P^2 R)."""

    def __init__(
        self,
        signal: Float[Tensor, "n L *C"],
        offered: Offers,
        library: native.Library | None = None,
    ) -> None:
        self.losses = span_losses(signal, offered)
        super().__init__(offered, self.losses.amax((0, 1)) * offered.positions)
        self.table = self.quanta(self.losses) * 2**self.bits
        self.cost = offered.in_units(offered.rows)
        if library is not None:
            self.programme = Programme(
                library,
                offered,
                self.bits,
                table=self.table,
                costs=self.cost.contiguous(),
                start=offered.start,
                pair=torch.tensor([0, *(pairs.stop for pairs, _ in offered.ending)]),
            )

    def best(self, price: Float[Tensor, "J n"]) -> Float[Tensor, "P J n"]:
        spans = self._priced(0, price)
        for level in range(1, len(self.table)):
            spans = torch.minimum(spans, self._priced(level, price))
        values = spans.new_zeros(self.offered.positions + 1, *price.shape)
        for stop, (pairs, starts) in enumerate(self.offered.ending, start=1):
            if pairs.start == pairs.stop:
                values[stop] = torch.inf
            else:
                torch.amin(values[starts] + spans[pairs], 0, out=values[stop])
        return values

    def last_tiles(
        self, best: Float[Tensor, "P n"], price: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, "P n"], Int[Tensor, "P n"]]:
        levels = range(len(self.table))
        spans, number = torch.stack([self._priced(i, price[None])[:, 0] for i in levels]).min(0)
        start, level = torch.zeros(2, *best.shape, dtype=torch.long)
        for stop, (pairs, starts) in enumerate(self.offered.ending, start=1):
            if pairs.start < pairs.stop:
                first = (best[starts] + spans[pairs]).argmin(0)
                start[stop] = first + starts.start
                level[stop] = number[pairs].gather(0, first[None])[0]
        return start, level

    def lost(self, level: Tensor, start: Tensor, stop: Tensor) -> Tensor:
        firsts = [pairs.start - starts.start for pairs, starts in self.offered.ending]
        pair = torch.tensor([0, *firsts])[stop] + start
        return self.losses[level, pair, torch.arange(len(level))]

    def _priced(self, level: int, price: Float[Tensor, "J n"]) -> Float[Tensor, "K J n"]:
        each = price * 2**self.bits + 1
        priced: Tensor = self.table[level][:, None] + self.cost[level][:, None, None] * each
        return priced


class PrefixSweep(AbstractSweep):
    """Segments that cross no position, and tiles of any size: O(P R).

    What a tile loses and reads is a difference of prefix sums, so that of all its starts a the
    best one at each R is that of least V_a - prefix_a(R), which is kept as b goes on.
    """

    def __init__(
        self,
        signal: Float[Tensor, "n L *C"],
        offered: Offers,
        library: native.Library | None = None,
    ) -> None:
        if library is None or signal.dim() == 2:
            self.losses = prefix_losses(signal, offered)
        else:
            self.losses = native_prefix_losses(library, signal, offered)
        super().__init__(offered, self.losses[:, -1].amax(0))
        inside = self.quanta(self.losses.diff(dim=1)) * 2**self.bits
        prefix = torch.nn.functional.pad(inside.cumsum(1), (0, 0, 1, 0))
        self.prefix = prefix.movedim(1, 0).contiguous()
        rows = (offered.borders // torch.tensor(offered.spans)[:, None]).double()
        self.rows = offered.in_units(rows).T.contiguous()
        self.overhead = int(offered.overhead * offered.units)
        if library is not None:
            self.programme = Programme(
                library,
                offered,
                self.bits,
                prefix=self.prefix,
                rows=self.rows,
                overhead=self.overhead,
            )

    def best(self, price: Float[Tensor, "J n"]) -> Float[Tensor, "P J n"]:
        ahead = self._priced(price)
        arriving = ahead + self.overhead * (price * 2**self.bits + 1)
        least = -ahead[0]
        values = ahead.new_zeros(len(ahead), *price.shape)
        for value, leaving, entering in zip(values[1:], ahead[1:], arriving[1:], strict=True):
            torch.amin(least + entering, 0, out=value)
            least = torch.minimum(least, value - leaving)
        return values

    def last_tiles(
        self, best: Float[Tensor, "P n"], price: Float[Tensor, " n"]
    ) -> tuple[Int[Tensor, "P n"], Int[Tensor, "P n"]]:
        ahead = self._priced(price[None])[:, :, 0]
        least, since = (best[:, None] - ahead).cummin(0)
        level = (least[:-1] + ahead[1:]).argmin(1)
        start = since[:-1].gather(1, level[:, None])[:, 0]
        return torch.nn.functional.pad(start, (0, 0, 1, 0)), torch.nn.functional.pad(
            level, (0, 0, 1, 0)
        )

    def lost(self, level: Tensor, start: Tensor, stop: Tensor) -> Tensor:
        row = torch.arange(len(level))
        return self.losses[level, stop, row] - self.losses[level, start, row]

    def _priced(self, price: Float[Tensor, "J n"]) -> Float[Tensor, "P R J n"]:
        each = price * 2**self.bits + 1
        priced: Tensor = self.prefix[:, :, None] + self.rows[:, :, None, None] * each
        return priced


def sweep_of(signal: Float[Tensor, "n L *C"], offered: Offers) -> AbstractSweep:
    """The faster form, where it applies, by the kernels that run here."""
    is_simple = offered.is_aligned and offered.is_free
    form = PrefixSweep if is_simple else SpanSweep
    return form(signal, offered, kernels_for(signal).library)
