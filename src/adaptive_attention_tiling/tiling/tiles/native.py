"""The tiler by compiled kernels (csrc/tiler.cpp, csrc/tiler_losses.cpp): the same tiles, sooner."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...backends import native
from .offers import Offers


def kernels_for(signal: Tensor) -> native.Choice:
    """The kernels that would tile a signal, or None where torch does; and why."""
    if signal.device.type != "cpu":
        return native.Choice(None, f"kernels are for the CPU, the signal is on {signal.device}")
    return native.choice()


def prefix_losses(
    library: native.Library, states: Float[Tensor, "n L C"], offered: Offers
) -> Float[Tensor, "R P n"]:
    """`loss.prefix_losses` of states."""
    n, _, width = states.shape
    losses = states.new_empty(len(offered.spans), offered.positions + 1, n, dtype=torch.float64)
    library.call(
        "tiler_losses",
        states.dtype,
        states=states if width <= 1 or states.stride(-1) == 1 else states.contiguous(),
        spans=torch.tensor(offered.spans),
        losses=losses,
        blocks=n,
        width=width,
        granule=int(offered.borders[1]),
        positions=offered.positions,
        resolutions=len(offered.spans),
        threads=torch.get_num_threads(),
    )
    return losses


class Programme:
    """The search of `programme.py` over one sweep's tables, super-block by super-block.

    tables: the call's own names of what a form of the programme needs, and of its numbers.
    """

    def __init__(
        self, library: native.Library, offered: Offers, bits: int, **tables: Tensor | float
    ) -> None:
        self.library, self.offered = library, offered
        self.common: dict[str, Tensor | float | int | None] = {
            **tables,
            "positions": offered.positions,
            "resolutions": len(offered.spans),
            "pairs": len(offered.start),
            "bits": bits,
        }

    def price_within(self, tried: Float[Tensor, " J"], units: int, n: int) -> Float[Tensor, " n"]:
        """`least_loss_within` so many units of cost, from these first prices on."""
        price = tried.new_empty(n)
        self._call("tiler_price", n, price=price, tried=tried, trials=len(tried), most=units)
        return price

    def solved(
        self, price: Float[Tensor, " n"], losses: Float[Tensor, "R K n"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `solve` finds: length and span [n, P], loss and cost in units [n]."""
        n, offered = len(price), self.offered
        length, span = (torch.empty(n, offered.positions, dtype=torch.long) for _ in range(2))
        loss, cost = (torch.empty(n, dtype=torch.float64) for _ in range(2))
        self._call(
            "tiler_solve",
            n,
            losses=losses.double().contiguous(),
            borders=offered.borders,
            spans=torch.tensor(offered.spans),
            price=price.contiguous(),
            length=length,
            span=span,
            loss=loss,
            cost=cost,
        )
        return length, span, loss, cost

    def _call(self, name: str, n: int, **own: Tensor | float) -> None:
        self.library.call(
            name,
            torch.float64,
            **self.common,
            **own,
            blocks=n,
            threads=torch.get_num_threads(),
        )
