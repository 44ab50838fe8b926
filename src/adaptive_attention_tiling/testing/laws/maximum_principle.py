"""Maximum principles: states whose ranges lie within each other, and signs that bring that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ...errors import ArgumentError
from .report import LawReport, at_place, judged, summarised

Operator = Tensor | Callable[[Tensor], Tensor]

_MOST_UNKNOWNS = 2048
_MAXIMUM = "maximum principle: min of start and source <= u <= max of them, narrowing with time"
_SIGNS = "maximum principle: A_ij >= 0 for i != j and sum_j A_ij <= 0, in u' = A u"


def nested_ranges(
    start: Tensor,
    states: Iterator[Tensor],
    source: Tensor | None,
    axes: tuple[int, ...] | None,
    overshoot: float,
) -> LawReport:
    """How far a state leaves the range of the one before it, joined with the source's.

    Shares of the spread of start and source; of the size of a constant start.
    """
    lowest, highest = _range(start, axes)
    low, high = lowest.new_tensor(math.inf), lowest.new_tensor(-math.inf)
    if source is not None:
        # A source of the state's shape is one for each member of a batch.
        whole = source.shape != start.shape
        low, high = _range(source, None if whole else axes)
    spread = torch.maximum(highest, high) - torch.minimum(lowest, low)
    size = torch.maximum(highest.abs(), lowest.abs())
    unit = torch.where(spread > 0, spread, torch.where(size > 0, size, 1.0))
    rounding = 64 * torch.finfo(start.dtype).eps * torch.maximum(size, spread) / unit
    excess = []
    for state in states:
        if state.shape != start.shape:
            raise ArgumentError(
                "flow", f"a state {list(state.shape)}", str(list(start.shape)), "keep the grid"
            )
        least, largest = _range(state, axes)
        below = torch.minimum(lowest, low) - least
        above = largest - torch.maximum(highest, high)
        excess.append(torch.maximum(below, above) / unit)
        # Bounds narrow with the states, and rounding never widens them again.
        lowest, highest = torch.maximum(lowest, least), torch.minimum(highest, largest)
    found = torch.stack(excess)
    return judged(
        found, law=_MAXIMUM, quantity="overshoot, as a share of the spread",
        upper=overshoot + rounding.expand_as(found), where=at_place("step", found.shape),
        not_shown="what happens between states, and from other starts",
    )  # fmt: skip


def _range(state: Tensor, axes: tuple[int, ...] | None) -> tuple[Tensor, Tensor]:
    axes = tuple(range(state.dim())) if axes is None else axes
    values = state.double()
    return (values.amin(axes), values.amax(axes)) if axes else (values, values)


def operator_signs(operator: Operator, start: Tensor) -> tuple[LawReport, bool]:
    """What the signs of A say, and whether a row has a negative sum."""
    matrix = _matrix(operator, start).double()
    size = matrix.abs().max()
    rounding = 64 * len(matrix) * torch.finfo(start.dtype).eps * size
    off = matrix.masked_fill(torch.eye(len(matrix), dtype=torch.bool, device=matrix.device), 0.0)
    sums = matrix.sum(1)
    told = "what steps of finite size make of it"
    report = summarised(
        judged(
            off, law=_SIGNS, quantity="least entry beside the diagonal", lower=-float(rounding),
            where=at_place("entry", off.shape), not_shown=told,
        ),
        judged(
            sums, law=_SIGNS, quantity="largest sum of a row", upper=float(rounding),
            where=at_place("row", sums.shape), not_shown=told,
        ),
    )  # fmt: skip
    return report, bool((sums < -rounding).any())


def _matrix(operator: Operator, start: Tensor) -> Tensor:
    if callable(operator) and not isinstance(operator, Tensor):
        if start.numel() > _MOST_UNKNOWNS:
            raise ArgumentError(
                "operator", f"a function of {start.numel()} unknowns", f"at most {_MOST_UNKNOWNS}",
                "check a smaller grid, or pass operator=None",
            )  # fmt: skip
        flat: Tensor = torch.func.jacrev(lambda u: operator(u.reshape(start.shape)).reshape(-1))(
            start.reshape(-1)
        )
        return flat.detach()
    if not isinstance(operator, Tensor) or operator.shape != (start.numel(), start.numel()):
        got = list(operator.shape) if isinstance(operator, Tensor) else type(operator).__name__
        raise ArgumentError(
            "operator", got, f"[{start.numel()}, {start.numel()}], or a function of a state",
            "pass the matrix of u' = A u",
        )  # fmt: skip
    return operator.detach()
