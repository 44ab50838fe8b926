"""Parameters of another size that go on from the old ones, together with their optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...errors import ArgumentError, UnsupportedError
from ...splats.apply import MOMENTS


def check_optimizer(optimizer: Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
    """Raise unless the optimizer trains these, and keeps nothing of them that cannot be resized."""
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in parameters:
        if parameter.requires_grad and id(parameter) not in known:
            raise ArgumentError(
                "optimizer",
                f"one without {name}",
                "the optimizer that trains the layer",
                "add the layer's parameters to it, or freeze them with requires_grad_(False)",
            )
        for key, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                continue
            if key not in MOMENTS or value.shape != parameter.shape:
                raise UnsupportedError(
                    f"optimizer: {type(optimizer).__name__} keeps {key!r} {list(value.shape)} for "
                    f"{name}, which cannot be resized. Fix: use AdamW, Adam, RMSprop or SGD."
                )


@torch.no_grad()
def replace_parameter(
    module: nn.Module,
    name: str,
    fresh: Tensor,
    *,
    axis: int | None,
    optimizer: Optimizer | None,
) -> None:
    """Put a new parameter in the old one's place, in the module and in the optimizer.

    Along `axis` the first entries stay, with gradient and moments, as far as both have them; the
    others are those of `fresh`, with moments of zero. If `axis` is None, nothing stays.
    """
    old: nn.Parameter = getattr(module, name)
    new = nn.Parameter(_continued(fresh, old, axis), requires_grad=old.requires_grad)
    if old.grad is not None and axis is not None:
        new.grad = _continued(torch.zeros_like(new), old.grad, axis)
    setattr(module, name, new)
    if optimizer is None:
        return
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    state = optimizer.state.pop(old, None)
    if state is not None and axis is not None:
        optimizer.state[new] = {
            key: _continued(torch.zeros_like(new), value, axis) if key in MOMENTS else value
            for key, value in state.items()
        }


def _continued(fresh: Tensor, old: Tensor, axis: int | None) -> Tensor:
    new = fresh.detach().clone()
    if axis is not None:
        shared = min(new.shape[axis], old.shape[axis])
        new.narrow(axis, 0, shared).copy_(old.narrow(axis, 0, shared))
    return new
