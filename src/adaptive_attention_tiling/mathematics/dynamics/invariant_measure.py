"""The invariant measure of a map as the stationary law of a Markov chain of boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .markov_chain import MarkovChain

_MOST_BOXES = 2**14


@dataclass(frozen=True)
class BoxChain:
    """A map on a box of R^d as a chain of smaller boxes, last coordinate fastest.

    Args:
        chain: chances of going from box to box.
        centres: of the boxes, [n, d].
        volume: of one.
    """

    chain: MarkovChain
    centres: Float[Tensor, "n d"]
    volume: float

    def measure(self) -> Float[Tensor, " n"]:
        """The chance of each box, which the map keeps up to the size of boxes."""
        return self.chain.stationary()

    def density(self) -> Float[Tensor, " n"]:
        """The measure by volume."""
        return self.measure() / self.volume

    def space_average(self, observable: Callable[[Tensor], Tensor]) -> Tensor:
        """sum_i mu_i g(x_i): what time averages are for almost all orbits of an ergodic map."""
        values = observable(self.centres)
        weights = self.measure()
        return (weights.view(-1, *(1,) * (values.dim() - 1)) * values).sum(0)

    def correlations(
        self, observable: Callable[[Tensor], Tensor], lags: int
    ) -> Float[Tensor, " lags+1"]:
        """C_t = E[g(x_0) g(x_t)] - E[g]^2 in the invariant measure, t = 0 .. lags.

        A map that mixes has C_t -> 0; its rate is at most `MarkovChain.second_modulus`, up to what
        boxes blur.
        """
        values, weights = observable(self.centres), self.measure()
        values = values - (weights * values).sum()
        found, later = [], values
        for _ in range(lags + 1):
            found.append((weights * values * later).sum())
            later = self.chain.transitions @ later
        return torch.stack(found)


def ulam_chain(
    step: Callable[[Tensor], Tensor],
    low: Float[Tensor, " d"],
    high: Float[Tensor, " d"],
    boxes: int,
    samples: int = 16,
) -> BoxChain:
    """P_ij = the share of box i that the map sends to box j: Ulam's method.

    Shares are counted over a regular grid of samples within each box; they are exact for maps that
    send sample cells into boxes whole, and otherwise have an error of 1 / samples an axis.

    Args:
        step: f, [m, d] to [m, d], into the box from `low` to `high`.
        low, high: corners of the box.
        boxes: how many along each axis; boxes^d at most 16,384.
        samples: along each axis of a box.

    Raises:
        ArgumentError: a map that leaves the box, too many boxes, or bad corners.

    Source: Ulam, A Collection of Mathematical Problems (1960), section VI.4; Li, J. Approx. Theory
    17 (1976) 177, who shows convergence for expanding maps.
    """
    width = _widths(low, high, boxes, samples)
    axes = len(low)
    cells = torch.cartesian_prod(*[torch.arange(boxes, device=low.device)] * axes)
    cells = cells.reshape(-1, axes).to(low)
    share = (torch.arange(samples, dtype=low.dtype, device=low.device) + 0.5) / samples
    inside = torch.cartesian_prod(*[share] * axes).reshape(-1, axes)
    places = low + width * (cells[:, None] + inside)
    image = step(places.reshape(-1, axes)).detach()
    if image.shape != (cells.shape[0] * len(inside), axes):
        raise ArgumentError("step", f"a result {list(image.shape)}", "[m, d] to [m, d]", "mend it")
    rounding = torch.finfo(low.dtype).eps
    slack = 1e-9 * (high - low) + 4 * rounding * torch.maximum(low.abs(), high.abs())
    if not bool(((image >= low - slack) & (image <= high + slack)).all()):
        raise ArgumentError(
            "step", "a map that leaves the box", "one from the box to itself", "widen the box"
        )
    index = ((image - low) / width).long().clamp(0, boxes - 1)
    strides = torch.tensor([boxes ** (axes - 1 - axis) for axis in range(axes)], device=low.device)
    target = (index * strides).sum(-1).view(len(cells), -1)
    counts = low.new_zeros(len(cells), len(cells))
    counts.scatter_add_(1, target, torch.ones_like(target, dtype=low.dtype))
    chain = MarkovChain(counts / len(inside))
    return BoxChain(chain, low + width * (cells + 0.5), float(width.prod()))


def _widths(low: Tensor, high: Tensor, boxes: int, samples: int) -> Tensor:
    shape = low.dim() == 1 and low.shape == high.shape and len(low) > 0
    if not shape or not low.is_floating_point() or not bool((low < high).all()):
        raise ArgumentError(
            "low", f"{low.tolist()} below {high.tolist()}", "two floating corners [d]", "low < high"
        )
    for name, number, least in (("boxes", boxes, 2), ("samples", samples, 1)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ArgumentError(name, number, f"an integer >= {least}", f"pass {name}={16}")
    if boxes ** len(low) > _MOST_BOXES:
        raise ArgumentError(
            "boxes", f"{boxes} along {len(low)} axes", f"at most {_MOST_BOXES}", "take fewer"
        )
    return (high - low) / boxes
