"""What the states of all operations that go on from call to call have in common."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Self

import torch
from torch import Tensor

from ..errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class AbstractCarriedState:
    """Tensors and a rollback limit: copies by name, and how many tokens can be taken back.

    Attributes:
        length: tokens read [B].
        rollback_limit, spent: how many tokens can be taken back, and how many of them were and
            have not been read again.
    """

    length: Tensor
    rollback_limit: int = 0
    spent: int = 0

    @property
    def bytes(self) -> int:
        """What the state takes in memory."""
        return sum(t.numel() * t.element_size() for t in self._tensors().values())

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all tensors by name, fit for safetensors; `restore` makes a state of them."""
        numbers = torch.tensor([self.rollback_limit, self.spent])
        named = {name: t.detach().clone().contiguous() for name, t in self._tensors().items()}
        return {**named, "rollback": numbers}

    @classmethod
    def restore(cls, snapshot: dict[str, Tensor]) -> Self:
        """The state that `snapshot` was taken of; it shares no memory with it."""
        known = {field.name for field in fields(cls)} - {"rollback_limit", "spent"}
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        named = {name: t.clone() for name, t in snapshot.items() if name != "rollback"}
        if not needed | {"rollback"} <= snapshot.keys() or not named.keys() <= known:
            raise ArgumentError(
                "snapshot",
                f"tensors named {sorted(snapshot)}",
                f"those of {cls.__name__}.snapshot(): {sorted(known)} and rollback",
                "pass what snapshot() returned",
            )
        limit, spent = (int(number) for number in snapshot["rollback"])
        return cls(**named, rollback_limit=limit, spent=spent)

    def _check_rollback(self, tokens: int) -> None:
        possible = min(self.rollback_limit - self.spent, int(self.length.min()))
        if not 0 <= tokens <= possible:
            raise ArgumentError(
                "tokens",
                tokens,
                f"0 to {possible}: {self.rollback_limit} can be taken back, {self.spent} have "
                f"been, and {int(self.length.min())} were read",
                "pass a larger rollback_limit to the first call, or keep a snapshot()",
            )

    def _tensors(self) -> dict[str, Tensor]:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: t for name, t in named.items() if isinstance(t, Tensor)}
