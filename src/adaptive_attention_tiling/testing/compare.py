"""Comparisons that say what differs, where, and by how much.

They raise AssertionError themselves instead of using `assert`, which `python -O` removes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .tolerances import Row, tolerance


def assert_close(
    actual: Tensor,
    expected: Tensor,
    *,
    row: Row = "contract",
    gradient: bool = False,
    what: str = "result",
) -> None:
    """Require max |actual - expected| <= tolerance * max(1, max |expected|).

    The tolerance is the table's entry for `row` and the tensors' dtype. A NaN on either side
    fails; an infinity must be matched by the same infinity. Empty tensors agree when their
    shapes do.
    """
    _assert_same_kind(actual, expected, what)
    if not expected.is_floating_point():
        assert_bit_equal(actual, expected, what=what)
        return
    actual, expected = actual.detach(), expected.detach()
    _assert_no_nan(actual, f"{what}, actual")
    _assert_no_nan(expected, f"{what}, expected")
    if expected.numel() == 0:
        return
    same_infinity = torch.isinf(expected) & (actual == expected)
    difference = torch.where(same_infinity, 0.0, (actual.double() - expected.double()).abs())
    finite = expected[torch.isfinite(expected)].double().abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    allowed = tolerance(row, expected.dtype)[gradient] * scale
    worst = difference.max().item()
    # Written so that a NaN difference (infinity minus infinity) fails as well.
    if not worst <= allowed:
        where = _position(difference.argmax().item(), difference.shape)
        raise AssertionError(
            f"{what}: differs by {worst:.3e} at {where}, allowed {allowed:.3e} ({row}, "
            f"{expected.dtype}); actual {actual[where].item()}, expected {expected[where].item()}"
        )


def assert_bit_equal(actual: Tensor, expected: Tensor, *, what: str = "result") -> None:
    """Require the same shape, dtype and value in every element; a NaN fails."""
    _assert_same_kind(actual, expected, what)
    unequal = actual.detach() != expected.detach()
    if unequal.any():
        where = _position(unequal.int().argmax().item(), unequal.shape)
        raise AssertionError(
            f"{what}: {int(unequal.sum())} of {unequal.numel()} elements differ, first at {where}: "
            f"actual {actual[where].item()}, expected {expected[where].item()}"
        )


def assert_causal(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor],
    position: int,
    *,
    dim: int = -2,
) -> None:
    """Require outputs before `position` to ignore all inputs from `position` on.

    `function` is called with `tensors`, then with the same tensors whose entries from `position`
    on along `dim` are redrawn; its output has the same axis at `dim`. The two outputs must agree
    bit for bit before `position`, and must differ after it: a function that ignores its inputs
    would pass otherwise.
    """
    length = tensors[0].shape[dim]
    if not 0 < position < length:
        raise ValueError(f"position: got {position}, expected 1 to {length - 1}")
    changed = [_redrawn_from(tensor, position, dim) for tensor in tensors]
    before, after = function(*tensors), function(*changed)
    assert_bit_equal(
        after.narrow(dim, 0, position),
        before.narrow(dim, 0, position),
        what=f"output before position {position} after a change from there on",
    )
    rest = before.shape[dim] - position
    if torch.equal(after.narrow(dim, position, rest), before.narrow(dim, position, rest)):
        raise AssertionError(f"output from position {position} on ignores the change in its inputs")


def assert_monotone(
    values: Sequence[float] | Tensor,
    *,
    decreasing: bool = False,
    slack: float = 0.0,
    what: str = "values",
) -> None:
    """Require values that never fall (never rise, if `decreasing`) by more than `slack`."""
    series = [float(value) for value in values]
    if len(series) < 2:
        raise AssertionError(f"{what}: got {len(series)} values, which cannot show an order")
    sign = -1.0 if decreasing else 1.0
    for index, (left, right) in enumerate(pairwise(series)):
        # Written so that a NaN on either side fails.
        if not sign * (right - left) >= -slack:
            verb = "rises" if decreasing else "falls"
            raise AssertionError(f"{what}: {verb} from {left} at {index} to {right} at {index + 1}")


def _assert_same_kind(actual: Tensor, expected: Tensor, what: str) -> None:
    for name in ("shape", "dtype", "device"):
        got, wanted = getattr(actual, name), getattr(expected, name)
        if got != wanted:
            raise AssertionError(f"{what}: {name} is {got}, expected {wanted}")


def _assert_no_nan(tensor: Tensor, what: str) -> None:
    nans = torch.isnan(tensor)
    if nans.any():
        where = _position(nans.int().argmax().item(), nans.shape)
        raise AssertionError(f"{what}: {int(nans.sum())} of {nans.numel()} NaN, first at {where}")


def _position(flat_index: float, shape: torch.Size) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(int(flat_index)), shape))


def _redrawn_from(tensor: Tensor, position: int, dim: int) -> Tensor:
    changed = tensor.detach().clone()
    tail = changed.narrow(dim, position, changed.shape[dim] - position)
    # Far larger than ordinary inputs, so that a small leak cannot round away.
    tail.copy_(torch.randn_like(tail) * 1e3)
    return changed
