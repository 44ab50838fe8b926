"""Gradients of reading sums in log space natively, as an operator of torch.

The equations stand in csrc/memory_log_backward.cpp. Shapes as in `native`; the levels of results,
the origin of features and norm_factor are constants.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...backends import native
from .native import feature_fields
from .native_backward import (
    grad_fields,
    like_features,
    readable_or_none,
    room_for,
    room_for_features,
    run_kernel,
    shown,
    sum_of_rows,
)

# Arguments with gradients, beside those of the features; the level of the first sums has one too.
_ARGUMENTS = ("query", "key", "value", "gate", "decay", "values", "mass")


@native.operator("memory_log_backward")
def memory_log_backward(
    query: Tensor | None,
    key: Tensor | None,
    value: Tensor | None,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Gradients of `memory_scan`, without a query of `memory_absorb`, without a key `memory_read`.

    Args:
        results: out and lse, where there is a query.
        grads: of out, lse, and the last values and mass; None for zeros.
        wanted: whether those of each of query, key, value, gate, decay, values, mass and level, and
            of the features are.

    Returns:
        The gradients of these in their order (of features: offset, weights, square), empty where
        they are not wanted.
    """
    arguments = (query, key, value, gate, decay, values, mass)
    fresh = room_for(arguments, _computed(wanted))
    points = query if key is None else key
    assert points is not None
    of_rows = room_for_features(parameters, kind, points.shape[0], wanted=wanted[-1])
    out, lse = results[:2] if results else (None, None)
    out_grad, lse_grad, values_grad, mass_grad = (readable_or_none(grad) for grad in grads)
    named = dict(zip(_ARGUMENTS, (readable_or_none(t) for t in arguments), strict=True))
    run_kernel(
        "memory_log_backward",
        values,
        query=named["query"],
        key=named["key"],
        value=named["value"],
        gate=named["gate"],
        decay=named["decay"],
        initial_values=named["values"],
        initial_mass=named["mass"],
        initial_level=readable_or_none(level),
        out=out,
        lse=lse,
        out_grad=out_grad,
        lse_grad=lse_grad,
        after_values_grad=values_grad,
        after_mass_grad=mass_grad,
        **grad_fields(_ARGUMENTS, fresh, of_rows),
        group=0 if query is None else query.shape[1] // values.shape[1],
        tokens=points.shape[2],
        decays=0 if decay is None else decay.shape[3],
        **feature_fields(kind, parameters, constant, background, width=points.shape[3]),
    )
    found = [*shown(fresh), *sum_of_rows(of_rows, parameters, kind)]
    return _with_level(found, (values, mass), wanted)


@native.fake_of(memory_log_backward)
def _(
    query: Tensor | None,
    key: Tensor | None,
    value: Tensor | None,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    fresh = room_for((query, key, value, gate, decay, values, mass), _computed(wanted))
    found = [*shown(fresh), *like_features(parameters, kind, values, wanted=wanted[-1])]
    return _with_level(found, (values, mass), wanted)


def _computed(wanted: Sequence[bool]) -> list[bool]:
    """Of the kernel's arguments; that of a level comes from those of the sums."""
    return [*wanted[:5], wanted[5] or wanted[7], wanted[6] or wanted[7]]


def _with_level(
    found: list[Tensor], sums: tuple[Tensor, Tensor], wanted: Sequence[bool]
) -> list[Tensor]:
    """d level = sum_e values d values + mass d mass, after those of the other arguments."""
    level = torch.empty(0)
    if wanted[7]:
        level = (sums[0] * found[5]).sum(-1) + sums[1] * found[6]
    return [*found[:7], level, *found[7:]]
