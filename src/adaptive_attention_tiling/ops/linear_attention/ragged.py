"""Rows of different length: padding anywhere, or sequences packed one after another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True)
class Ragged:
    """Where the tokens of each row come from: source [N, L] into the T given slots.

    Rows start at slot 0 and end after `lengths` [N] tokens; `row` is the batch row of the input
    that each belongs to, None where it is its own.
    """

    source: Tensor
    lengths: Tensor
    given: int
    packed: bool

    @property
    def live(self) -> Tensor:
        """Which slots of the rows hold a token [N, L]."""
        slots = torch.arange(self.source.shape[1], device=self.source.device)
        return slots < self.lengths[:, None]

    def rows(self, tensor: Tensor) -> Tensor:
        """[B, H, T, ...] as [N, H, L, ...]."""
        if self.packed:
            return tensor[0][:, self.source].transpose(0, 1)
        return tensor.gather(2, self._index(tensor, self.source))

    def back(self, rows: Tensor) -> Tensor:
        """[N, H, L, E] as [B, H, T, E], zeros where there was padding."""
        rows = rows.masked_fill(~self.live[:, None, :, None], 0.0)
        if self.packed:
            flat = rows.transpose(0, 1)[:, self.live]
            return flat[None]
        out = rows.new_zeros(*rows.shape[:2], self.given, rows.shape[3])
        return out.scatter_add(2, self._index(rows, self.source), rows)

    @staticmethod
    def _index(tensor: Tensor, source: Tensor) -> Tensor:
        index = source[:, None, :, None]
        return index.expand(-1, tensor.shape[1], -1, tensor.shape[3])


def from_padding(mask: Tensor) -> Ragged | None:
    """Tokens moved to the front of each row, in their order; None if there is no padding."""
    if bool(mask.all()):
        return None
    lengths = mask.sum(-1)
    longest = max(1, int(lengths.max()))
    order = torch.argsort((~mask).to(torch.uint8), dim=-1, stable=True)
    return Ragged(order[:, :longest], lengths, mask.shape[1], packed=False)


def from_boundaries(boundaries: Tensor, total: int) -> Ragged:
    """Sequences [boundaries[n], boundaries[n + 1]) as rows."""
    check_boundaries(boundaries, total)
    boundaries = boundaries.long()
    lengths = boundaries.diff()
    longest = max(1, int(lengths.max()))
    slots = torch.arange(longest, device=boundaries.device)
    source = (boundaries[:-1, None] + slots).clamp(max=max(0, total - 1))
    return Ragged(source, lengths, total, packed=True)


def check_boundaries(boundaries: Tensor, total: int) -> None:
    """Raise an ArgumentError unless these are the limits of sequences that fill all slots."""
    good = boundaries.dim() == 1 and len(boundaries) >= 2 and not boundaries.is_floating_point()
    if good:
        steps = boundaries.diff()
        good = bool((steps >= 0).all()) and int(boundaries[0]) == 0 and int(boundaries[-1]) == total
    if not good:
        raise ArgumentError(
            "cu_seqlens",
            boundaries.tolist() if boundaries.numel() <= 16 else f"{list(boundaries.shape)}",
            f"integers 0 = c_0 <= c_1 <= ... <= c_n = {total}, the number of tokens",
            "pass the cumulative sum of the sequences' lengths, starting with 0",
        )
