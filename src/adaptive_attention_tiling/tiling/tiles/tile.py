"""A tile (M, S, R, Phi): which tokens it holds, and how finely they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Tokens that are read together at one resolution (specification 3.2.1).

    The specification's tuple (M, S, R, Phi): M, the operator, is the layer's; S is `state`, R is
    `resolution`, Phi is `transition`.

    Attributes:
        resolution: R in (0, 1]: L tokens are read as ceil(R L) segments.
        start, stop: a contiguous span, tokens start <= t < stop; None for a key set.
        members: a key set, the tokens' indices [L]; None for a span.
        state: S [N], what the tile carries, if anything.
        transition: Phi [N', N], how the next tile receives the state, if not as it is.
    """

    resolution: float
    start: int | None = None
    stop: int | None = None
    members: Int[Tensor, " L"] | None = None
    state: Float[Tensor, " N"] | None = None
    transition: Float[Tensor, "N2 N"] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.resolution <= 1:
            raise ArgumentError(
                "resolution", self.resolution, "a number in (0, 1]", "1 reads every token"
            )
        if self.members is None:
            self._check_span()
        else:
            self._check_members(self.members)
        self._check_state()

    @property
    def length(self) -> int:
        """L, the number of tokens."""
        if self.members is not None:
            return self.members.numel()
        assert self.start is not None
        assert self.stop is not None
        return self.stop - self.start

    @property
    def segments(self) -> int:
        """ceil(R L), the rows that are read in place of L tokens."""
        return segments_of(self.length, self.resolution)

    @property
    def tokens(self) -> Int[Tensor, " L"]:
        """The tokens' indices."""
        if self.members is not None:
            return self.members
        assert self.start is not None
        assert self.stop is not None
        return torch.arange(self.start, self.stop)

    def _check_span(self) -> None:
        if self.start is None or self.stop is None or not 0 <= self.start < self.stop:
            raise ArgumentError(
                "span",
                f"{self.start} to {self.stop}",
                "0 <= start < stop",
                "pass start and stop, or members for a key set",
            )

    def _check_members(self, members: Tensor) -> None:
        if self.start is not None or self.stop is not None:
            raise ArgumentError(
                "members", "a span as well", "either a span or a key set", "leave one of them out"
            )
        is_index = not (members.is_floating_point() or members.dtype == torch.bool)
        if members.dim() != 1 or not members.numel() or not is_index:
            raise ArgumentError(
                "members",
                f"{members.dtype} of shape {list(members.shape)}",
                "indices [L], at least one",
                "a mask's indices are mask.nonzero()[:, 0]",
            )
        if int(members.min()) < 0 or members.unique().numel() != members.numel():
            raise ArgumentError(
                "members",
                members.tolist(),
                "each token once, none negative",
                "use members.unique()",
            )

    def _check_state(self) -> None:
        if self.state is not None and self.state.dim() != 1:
            raise ArgumentError(
                "state", f"shape {list(self.state.shape)}", "one axis [N]", "pass one tile's state"
            )
        if self.transition is None:
            return
        width = None if self.state is None else self.state.shape[0]
        if self.transition.dim() != 2 or width not in (None, self.transition.shape[1]):
            raise ArgumentError(
                "transition",
                f"shape {list(self.transition.shape)}",
                f"[N', {'N' if width is None else width}]",
                "it maps this tile's state to the next one's",
            )


def segments_of(length: int, resolution: float) -> int:
    """ceil(R L), where R L is taken for whole if it is so up to the rounding of R in float32."""
    return math.ceil(resolution * length * (1 - 1e-6))
