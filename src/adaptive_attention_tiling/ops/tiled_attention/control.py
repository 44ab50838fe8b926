"""What the caller asks for: an error tolerance, a budget, or a resolution for every tile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from .layout import TileLayout

DEFAULT_TOLERANCE = 0.1


@dataclass(frozen=True)
class Control:
    """Exactly one of tolerance, budget and resolution is set; see `tiled_attention`."""

    tolerance: float | None = None
    budget: float | None = None
    resolution: Tensor | float | None = None
    certified: bool = False

    @property
    def limit(self) -> float:
        """The tolerance in the unit in which errors of tiles add up.

        Estimated errors of different tiles are independent, so their squares add; certified
        errors add themselves.
        """
        assert self.tolerance is not None
        return self.tolerance if self.certified else self.tolerance**2

    @property
    def reads_all(self) -> bool:
        """Whether every tile is read exactly, whatever the tokens are."""
        scalar = self.resolution if isinstance(self.resolution, (int, float)) else None
        return self.tolerance == 0 or self.budget == 1 or scalar == 1


def check_control(
    tolerance: float | None,
    budget: float | None,
    resolution: Tensor | float | None,
    certified: bool,
    layout: TileLayout,
) -> Control:
    """A Control, or an ArgumentError that says what is wrong with it."""
    given = {
        name: x
        for name, x in {"tolerance": tolerance, "budget": budget, "resolution": resolution}.items()
        if x is not None
    }
    if len(given) > 1:
        raise ArgumentError(
            " and ".join(given),
            ", ".join(str(x) if not isinstance(x, Tensor) else "a tensor" for x in given.values()),
            "at most one of tolerance, budget and resolution",
            "give only the one that should decide what is read exactly",
        )
    if not given:
        tolerance = DEFAULT_TOLERANCE
    if tolerance is not None and not (_is_number(tolerance) and 0 <= tolerance < math.inf):
        raise ArgumentError(
            "tolerance",
            tolerance,
            "a finite Python number >= 0",
            "pass the error you accept, in units of the largest value norm; 0 is exact",
        )
    if budget is not None and not (_is_number(budget) and 0 <= budget <= 1):
        raise ArgumentError(
            "budget",
            budget,
            "a Python number in [0, 1]",
            "pass the fraction of far keys to read exactly",
        )
    if isinstance(resolution, Tensor):
        if not bool(((resolution >= 0) & (resolution <= 1)).all()):
            raise ArgumentError(
                "resolution", "a tensor with entries outside", "entries in [0, 1]", "clamp it"
            )
    elif resolution is not None and not (_is_number(resolution) and 0 <= resolution <= 1):
        raise ArgumentError(
            "resolution", resolution, "a number in [0, 1] or a tensor", "use 1.0 for exact"
        )
    if certified and tolerance is None:
        raise ArgumentError(
            "certified", True, "certified=True with a tolerance", "pass tolerance=..."
        )
    if certified and layout.rest == "drop":
        raise UnsupportedError(
            "certified: got rest='drop'; a certificate exists only for tiles read through their "
            "mean. Fix: use rest='mean'."
        )
    return Control(tolerance, budget, resolution, certified)


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and not math.isnan(x)


def check_finite(**tensors: Tensor) -> None:
    """Require finite entries: a certificate for NaN or infinity would mean nothing."""
    for name, tensor in tensors.items():
        bad = ~torch.isfinite(tensor)
        if bad.any():
            raise ArgumentError(
                name,
                f"{int(bad.sum())} NaN or infinite entries of {tensor.numel()}",
                "finite entries",
                "look for an overflow in the layer before (float16 often is the cause)",
            )
