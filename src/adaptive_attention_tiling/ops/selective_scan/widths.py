"""How many channels of the state each token uses, and runs of tokens that use equally many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Of a channel: what rounding may add to R N without opening one channel more (1/3 of 3 is 1).
_SLACK = 1e-4
# Shorter runs of one width are read together with their neighbours, at the wider one's cost.
_SHORTEST_RUN = 8


@overload
def channels_used(resolution: float, channels: int) -> int: ...
@overload
def channels_used(resolution: Float[Tensor, "*b"], channels: int) -> Int[Tensor, "*b"]: ...
def channels_used(resolution: Tensor | float, channels: int) -> Tensor | int:
    """n = ceil(R N), between 1 and N = `channels`, of a resolution R in (0, 1]."""
    if isinstance(resolution, Tensor):
        wanted = resolution.detach().double() * channels - _SLACK
        return wanted.ceil().clamp(1, channels).long()
    return int(channels_used(torch.tensor(resolution, dtype=torch.float64), channels))


@dataclass(frozen=True)
class Piece:
    """Tokens [start, stop) of some rows (all if None), which use at most `width` channels.

    `live` [L, rows, width], None where all are: the channels that each token uses.
    """

    start: int
    stop: int
    width: int
    rows: Tensor | None = None
    live: Tensor | None = None

    def cut(self, tensor: Tensor) -> Tensor:
        """The piece of [B, T, ...] as [L, rows, ...]."""
        tensor = tensor[:, self.start : self.stop]
        if self.rows is not None:
            tensor = tensor[self.rows]
        return tensor.transpose(0, 1).contiguous()

    def channels(self, tensor: Tensor) -> Tensor:
        """The piece of [B, T, N] as [L, rows, width], 0 where a token does not use a channel."""
        tensor = self.cut(tensor[..., : self.width])
        return tensor if self.live is None else tensor * self.live

    def put(self, whole: Tensor, part: Tensor) -> None:
        """Write [L, rows, n] into [B, T, N], over the first n."""
        rows = slice(None) if self.rows is None else self.rows
        whole[rows, self.start : self.stop, : part.shape[-1]] = part.transpose(0, 1)

    def put_channels(self, whole: Tensor, part: Tensor) -> None:
        """The same, with 0 where a token does not use a channel."""
        self.put(whole, part if self.live is None else part * self.live)

    def carried(self, state: Tensor) -> Tensor:
        """The part of a state [B, N, I] that the piece works on."""
        state = state[:, : self.width]
        return state if self.rows is None else state[self.rows]

    def carry(self, state: Tensor, part: Tensor) -> None:
        """Put that part back."""
        if self.rows is None:
            state[:, : self.width] = part
        else:
            state[self.rows, : self.width] = part


def pieces(
    widths: Tensor | None, channels: int, length: int, chunk: Callable[[int], int]
) -> list[Piece]:
    """Pieces that cover all rows; `widths` [B, T] is None where all tokens use all channels.

    A piece works on the widest of its tokens, so pieces end where widths change, and rows of
    different width are in different pieces. `chunk` tells how many tokens of a width are read at
    once.
    """
    if widths is None:
        size = chunk(channels)
        return [Piece(s, min(length, s + size), channels) for s in range(0, length, size)]
    changes = (widths[:, 1:] != widths[:, :-1]).any(0).nonzero()[:, 0] + 1
    table: list[list[int]] = widths.tolist()
    found: list[Piece] = []
    start = 0
    ahead = iter([*changes.tolist(), length])
    change = next(ahead)
    while start < length:
        while change < min(start + _SHORTEST_RUN, length):
            change = next(ahead)
        stop = min(start + chunk(max(row[start] for row in table)), change)
        found += _by_width(table, start, stop, widths.device)
        start = stop
    return found


def _by_width(table: list[list[int]], start: int, stop: int, device: torch.device) -> list[Piece]:
    runs = [row[start:stop] for row in table]
    found = []
    for width in sorted({max(run) for run in runs}):
        chosen = [index for index, run in enumerate(runs) if max(run) == width]
        live = None
        if any(min(runs[index]) < width for index in chosen):
            used = torch.tensor([runs[index] for index in chosen], device=device)
            live = torch.arange(width, device=device) < used.T[..., None]
        rows = None if len(chosen) == len(table) else torch.tensor(chosen, device=device)
        found.append(Piece(start, stop, width, rows, live))
    return found
