"""Functions as operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_F = TypeVar("_F", bound=Callable[..., Any])
NAMESPACE = "adaptive_attention_tiling"


def operator(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of tensors on the CPU the operator adaptive_attention_tiling::<name>.

    It may change none of its arguments. Give it a fake with `fake_of`, and a gradient with
    `torch.library.register_autograd`. The same as `torch.library.custom_op`, whose first call
    imports torch's compiler (2 s), and whose every call takes 0.1 ms more.
    """
    full = f"{NAMESPACE}::{name}"

    def register(function: Callable[..., Any]) -> Any:
        torch.library.define(full, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full, "cpu", function)
        return getattr(getattr(torch.ops, NAMESPACE), name).default

    return register


def fake_of(operator: Any) -> Callable[[_F], _F]:
    """Let a function that makes empty results of the right shapes stand in while compiling."""

    def register(function: _F) -> _F:
        torch.library.register_fake(operator, function)
        return function

    return register
