"""Tokens cut into granules, of which tiles are whole numbers, and the order that they lie in."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from .choice import Chosen


class Granules(NamedTuple):
    """m granules of l tokens: x [m, l, C], value [m, l, H, E], step and until_tile [m, l, H].

    channels [m] that each uses, and the number [m] of its tile among all tiles.
    """

    x: Tensor
    value: Tensor
    step: Tensor
    until_tile: Tensor
    channels: Int[Tensor, " m"]
    tile: Int[Tensor, " m"]

    def at(self, place: Tensor) -> Granules:
        """Some of them."""
        return Granules(*(t[place] for t in self))


def tile_number(chosen: Chosen) -> Int[Tensor, "n T"]:
    """The number of each token's tile among those of all sequences."""
    ids = chosen.tiling.tile_ids()
    return ids + torch.arange(len(ids), device=ids.device)[:, None] * chosen.tiling.tokens


def runs(numbers: Int[Tensor, " m"]) -> tuple[Int[Tensor, " k"], Int[Tensor, " m"]]:
    """Where each run of equal numbers starts, and the run that each number is in."""
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[1:] = numbers[1:] != numbers[:-1]
    return starts.nonzero()[:, 0], starts.cumsum(0) - 1


def elapsed_steps(step: Float[Tensor, "B T H"], size: int) -> Float[Tensor, "B T H"]:
    """The sum of steps since the start of each token's super-block, its own included."""
    length = step.shape[1]
    blocks = pad(step, (0, 0, 0, -length % size)).unflatten(1, (-1, size))
    elapsed: Tensor = blocks.cumsum(2).flatten(1, 2)
    return elapsed[:, :length]


def cut_granules(tokens: Float[Tensor, "B T *d"], size: int) -> Float[Tensor, "m l *d"]:
    pieces: Tensor = tokens.unflatten(1, (-1, size))
    return pieces.flatten(0, 1)
