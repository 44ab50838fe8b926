"""Brings an edit into a field, into its optimizer and into the statistics kept of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import ArgumentError, UnsupportedError
from .edits import Edit
from .field import Bounds, SplatField
from .splats import Splats

# Of one value a parameter entry, which say nothing when they are zero.
MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg")
# Share of a bounded range that new values keep from its ends, where the gradient vanishes.
MARGIN = 1e-3


class Statistic(Protocol):
    """Something known of each splat, which has to follow it to another slot."""

    def follow(self, source: Tensor) -> object:
        """Go on with what was known of slot source[h, k]; forget it where that is -1."""


@torch.no_grad()
def apply_edit(
    field: SplatField,
    edit: Edit,
    *,
    optimizer: Optimizer | None = None,
    statistics: Iterable[Statistic] = (),
) -> None:
    """Change a field's splats in place, and move what belongs to them along.

    Call it between two training steps, with an edit of `field.splats()`. Slots that the edit left
    as they were keep their parameters bit for bit; others get those of the new values. Values
    beyond the field's bounds are moved inside (a split moves centres outwards). Parameters remain
    the same objects. The background and the norm factor are not touched.

    Optimizer moments and gradients follow `edit.source`; those of fresh slots are zero. So both
    halves of a split go on with the momentum and the step size of the splat, which suits them, as
    they lie close to it and share its gradient. `step`, which belongs to a whole parameter, stays:
    the first step of a fresh slot, of zero moments whose bias is not corrected any more, is
    (1 - beta1) / sqrt(1 - beta2) learning rates long, 3.2 with AdamW's defaults.

    Raises:
        ArgumentError: the edit does not fit the field, or the optimizer lacks a parameter of it.
        UnsupportedError: the optimizer keeps something of which we do not know how to move it.
            In either case nothing has changed.
    """
    shape = (field.heads, field.count)
    if tuple(edit.source.shape) != shape:
        raise ArgumentError(
            "edit", f"{list(edit.source.shape)} slots", f"{list(shape)}", "edit field.splats()"
        )
    parameters = {name: getattr(field, name) for name in _edited_parameters(field)}
    moved = [] if optimizer is None else _moments(optimizer, parameters)
    raw = _raw_values(field, edit)
    for name, values in raw.items():
        parameters[name].copy_(values)
    field.alive.copy_(edit.splats.alive)
    moved += [p.grad for p in parameters.values() if p.grad is not None]
    for tensor in moved:
        tensor.copy_(followed(tensor, edit.source))
    for statistic in statistics:
        statistic.follow(edit.source)


def followed(tensor: Tensor, source: Tensor) -> Tensor:
    """The rows of [H, K, ...] that `source` [H, K] names, zeros where it is -1."""
    rows = _gather(tensor, source.clamp(min=0))
    return rows.masked_fill(_widen(source < 0, rows), 0)


def _edited_parameters(field: SplatField) -> list[str]:
    names = ["raw_mean", "raw_scale", "raw_amplitude", "raw_factor"]
    return [name for name in names if getattr(field, name) is not None]


def _raw_values(field: SplatField, edit: Edit) -> dict[str, Tensor]:
    """The old parameters where the values are the old ones, and the new where they are not."""
    slots = torch.arange(field.count, device=edit.source.device).expand_as(edit.source)
    origin = torch.where(edit.source < 0, slots, edit.source)
    old, new = field.splats().arrays(), edit.splats.arrays()
    kept = torch.ones_like(field.alive)
    for name in old.keys() - {"alive"}:
        same = _gather(old[name], origin) == new[name]
        kept &= same.flatten(2).all(-1) if same.dim() > 2 else same
    # Kept rows may lie at a bound, from which there is no way back to a parameter; moved inside
    # like the others, they are then passed over.
    raw = field.raw_values(_within_bounds(edit.splats, field.bounds))
    return {
        name: torch.where(_widen(kept, values), _gather(getattr(field, name), origin), values)
        for name, values in raw.items()
    }


def _within_bounds(splats: Splats, bounds: Bounds) -> Splats:
    near = 1 - MARGIN
    factor = splats.factor
    if factor is not None:
        factor = factor.clamp(-near * bounds.scale[1], near * bounds.scale[1])
    low, high = _inner(*bounds.scale)
    least, most = _inner(*bounds.amplitude)
    return replace(
        splats,
        mean=splats.mean.clamp(-near * bounds.mean, near * bounds.mean),
        scale=splats.scale.clamp(math.exp(low), math.exp(high)),
        log_amplitude=splats.log_amplitude.clamp(least, most),
        factor=factor,
    )


def _inner(low: float, high: float) -> tuple[float, float]:
    margin = MARGIN * (math.log(high) - math.log(low))
    return math.log(low) + margin, math.log(high) - margin


def _moments(optimizer: Optimizer, parameters: dict[str, nn.Parameter]) -> list[Tensor]:
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    moments = []
    for name, parameter in parameters.items():
        if parameter.requires_grad and id(parameter) not in known:
            raise ArgumentError(
                "optimizer",
                f"one without the field's {name}",
                "the optimizer that trains the field",
                "add the field's parameters to it, or freeze them with requires_grad_(False)",
            )
        state: dict[str, Any] = optimizer.state.get(parameter, {})
        for key, value in state.items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if key not in MOMENTS or value.shape != parameter.shape:
                raise UnsupportedError(
                    f"optimizer: {type(optimizer).__name__} keeps {key!r} {list(value.shape)} for "
                    f"{name}, which edits cannot move; use AdamW, Adam, Adamax, RMSprop or SGD"
                )
            moments.append(value)
    return moments


def _gather(tensor: Tensor, index: Tensor) -> Tensor:
    heads = torch.arange(tensor.shape[0], device=tensor.device)[:, None]
    return tensor[heads, index]


def _widen(mask: Tensor, like: Tensor) -> Tensor:
    """[H, K] with as many more axes as `like` has."""
    return mask.view(*mask.shape, *(1,) * (like.dim() - 2))
