"""What a scan carries from call to call."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from ...errors import ArgumentError
from ..carried_state import AbstractCarriedState
from .scan import scan


@dataclass(frozen=True)
class ScanState(AbstractCarriedState):
    """The state after some tokens; calls return a new one and leave the old one as it is.

    A decay cannot be undone exactly. So with a rollback limit R the last R tokens are kept as they
    came, and `anchor`, the state before them, from which they are read again.

    Attributes:
        channels: h [B, I, N]; not up to date while `spent` is above 0.
        anchor: [B, I, N]; None when R = 0, as all that follow.
        x, delta, write, width: of the last R tokens, newest last: [B, R, I], [B, R, I],
            B [B, R, N], channels used [B, R]. Slots without a token have x = delta = 0.
        length, rollback_limit, spent: as in `AbstractCarriedState`; R is the limit.
    """

    channels: Tensor
    anchor: Tensor | None = None
    x: Tensor | None = None
    delta: Tensor | None = None
    write: Tensor | None = None
    width: Tensor | None = None

    @property
    def recent(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, delta, write, width of the tokens that can be taken back."""
        assert self.x is not None
        assert self.delta is not None
        assert self.write is not None
        assert self.width is not None
        return self.x, self.delta, self.write, self.width

    def current(self, A: Tensor, *, implementation: str | None = None) -> Tensor:
        """h, read again from the anchor if tokens were taken back."""
        if not self.spent:
            return self.channels
        assert self.anchor is not None
        return absorbed(self.anchor, self.recent, A, implementation=implementation)

    def rollback(self, tokens: int) -> ScanState:
        """The state before the last `tokens` tokens of every row were read."""
        self._check_rollback(tokens)
        if tokens == 0:
            return self
        x, delta, write, width = (_later(t, tokens) for t in self.recent)
        return replace(
            self,
            x=x,
            delta=delta,
            write=write,
            width=width.clamp(min=1),  # of the empty slots
            length=self.length - tokens,
            spent=self.spent + tokens,
        )

    def resized(self, channels: int) -> ScanState:
        """With so many channels: the last ones cut off, or empty ones added behind."""
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ArgumentError("channels", channels, "a whole number >= 1", "check the sizes")

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else pad(tensor, (0, channels - tensor.shape[-1]))

        return replace(
            self,
            channels=pad(self.channels, (0, channels - self.channels.shape[-1])),
            anchor=cut(self.anchor),
            write=cut(self.write),
            width=None if self.width is None else self.width.clamp(max=channels),
        )


Tokens = tuple[Tensor, Tensor, Tensor, Tensor | None]  # x, delta, write, widths


def absorbed(
    state: Tensor, tokens: Tokens, A: Tensor, *, implementation: str | None = None
) -> Tensor:
    """h after x, delta, write, width were read."""
    x, delta, write, width = tokens
    return scan(x, delta, A, write, None, state, widths=width, implementation=implementation)[1]


def fresh_state(channels: Tensor, *, rollback_limit: int) -> ScanState:
    """The state h [B, I, N] of a reader of which no tokens are known."""
    batch, inner, number = channels.shape
    length = torch.zeros(batch, dtype=torch.long, device=channels.device)
    if not rollback_limit:
        return ScanState(channels, length=length)
    empty = channels.new_zeros(batch, rollback_limit, inner)
    return ScanState(
        channels,
        length=length,
        anchor=channels,
        x=empty,
        delta=empty,
        write=channels.new_zeros(batch, rollback_limit, number),
        width=length.new_ones(batch, rollback_limit),
        rollback_limit=rollback_limit,
    )


def state_after(
    before: ScanState,
    channels: Tensor,
    tokens: Tokens,
    lengths: Tensor,
    A: Tensor,
    *,
    implementation: str | None = None,
) -> ScanState:
    """The state after `tokens`, of which row b has lengths[b], and which led to `channels`."""
    after = replace(before, channels=channels, length=before.length + lengths)
    limit = before.rollback_limit
    if not limit:
        return after
    assert before.anchor is not None
    x, delta, write, width = tokens
    count = x.shape[1]
    if width is None:
        width = torch.full(x.shape[:2], A.shape[1], device=x.device)
    new = x, delta, write, width
    whole = [torch.cat(pair, 1) for pair in zip(before.recent, new, strict=True)]
    slots = torch.arange(count, device=lengths.device)
    left = slots < lengths[:, None]  # the ring and the tokens, of which the oldest leave
    x, delta, write, width = (t[:, :count] for t in whole)
    gone = x * left[..., None], delta * left[..., None], write, width
    x, delta, write, width = (_last(t, limit, lengths) for t in whole)
    return replace(
        after,
        anchor=absorbed(before.anchor, gone, A, implementation=implementation),
        x=x,
        delta=delta,
        write=write,
        width=width,
        spent=max(0, before.spent - int(lengths.min())),
    )


def _last(whole: Tensor, count: int, lengths: Tensor) -> Tensor:
    """The newest `count` slots of rows that have `lengths` tokens after their first `count`."""
    index = lengths[:, None] + torch.arange(count, device=whole.device)
    rows = torch.arange(len(whole), device=whole.device)[:, None]
    return whole[rows, index]


def _later(ring: Tensor, steps: int) -> Tensor:
    """The newest `steps` slots dropped, and as many empty ones put before the oldest."""
    return torch.cat([torch.zeros_like(ring[:, :steps]), ring[:, : ring.shape[1] - steps]], 1)
