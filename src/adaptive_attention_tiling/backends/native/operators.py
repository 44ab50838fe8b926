"""Functions as operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

NAMESPACE = "adaptive_attention_tiling"


def operator(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of tensors on the CPU the operator adaptive_attention_tiling::<name>.

    It may change none of its arguments. Give it a fake and a gradient with
    `torch.library.register_fake` and `register_autograd`. The same as `torch.library.custom_op`,
    whose first call imports torch's compiler (2 s), and whose every call takes 0.1 ms more.
    """
    full = f"{NAMESPACE}::{name}"

    def register(function: Callable[..., Any]) -> Any:
        torch.library.define(full, torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(full, "cpu", function)
        return getattr(getattr(torch.ops, NAMESPACE), name).default

    return register
