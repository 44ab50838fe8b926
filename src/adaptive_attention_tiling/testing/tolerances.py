"""How far two results may lie apart: the one table that tests read."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

Row = Literal["special_case", "contract"]


class Tolerance(NamedTuple):
    """Largest difference allowed, in units of max(1, largest expected magnitude)."""

    value: float
    gradient: float


# special_case: a setting at which the op is another, known op (resolution 1 is plain attention).
# contract:     two implementations of the same op (reference and eager, prefill and step).
TOLERANCES: dict[Row, dict[torch.dtype, Tolerance]] = {
    "special_case": {
        torch.float64: Tolerance(1e-12, 1e-10),
        torch.float32: Tolerance(1e-6, 1e-5),
        torch.float16: Tolerance(4e-3, 4e-3),
        torch.bfloat16: Tolerance(2e-2, 2e-2),
    },
    "contract": {
        torch.float64: Tolerance(1e-10, 1e-10),
        torch.float32: Tolerance(1e-5, 1e-5),
        torch.float16: Tolerance(4e-3, 4e-3),
        torch.bfloat16: Tolerance(2e-2, 2e-2),
    },
}


def tolerance(row: Row, dtype: torch.dtype) -> Tolerance:
    """The entry of the table for `dtype`; a dtype that is not in it has no tolerance."""
    return TOLERANCES[row][dtype]
