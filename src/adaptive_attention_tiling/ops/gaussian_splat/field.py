"""What the operation needs to know about a field; `splats.SplatField` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Prepared(Protocol):
    """Log features as a function of tensors and points; see `splats.log_features`."""

    @property
    def function(self) -> Callable[[tuple[Tensor, ...], Tensor], Tensor]: ...

    @property
    def tensors(self) -> tuple[Tensor, ...]: ...

    @property
    def kind(self) -> str:
        """What the covariances are: "scalar", "diagonal", "low_rank" or "full"."""


class Field(Protocol):
    """H heads of F log features l_s(x): K splats and, as the last feature, the background."""

    @property
    def heads(self) -> int: ...

    @property
    def features(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def has_background(self) -> bool: ...

    @property
    def bounded(self) -> bool:
        """Whether l_s(x) has an upper bound that does not depend on x."""

    def prepared(self) -> Prepared: ...

    def log_features(self, x: Tensor) -> Tensor: ...
