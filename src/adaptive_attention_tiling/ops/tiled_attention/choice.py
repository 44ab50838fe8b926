"""Which implementation serves a call, and why."""

from __future__ import annotations

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from ..arguments import Explanation, check_implementation
from ..softmax_attention import fused_part_available

IMPLEMENTATIONS = ("native", "eager", "reference")


def explain(query: Tensor, *, implementation: str | None = None) -> Explanation:
    """Which implementation `tiled_attention` takes for this query, and why.

    Raises:
        ArgumentError: there is no such implementation.
        UnsupportedError: "native" was asked for where it cannot run.
    """
    check_implementation(implementation, IMPLEMENTATIONS)
    if implementation in ("eager", "reference"):
        return Explanation(implementation, "pinned by the caller")
    device = query.device.type
    kernels = native.choice() if device == "cpu" else None
    if kernels is not None and kernels.library is not None:
        if implementation is not None:
            return Explanation("native", "pinned by the caller")
        name = kernels.library.instruction_set
        return Explanation("native", f"compiled kernels for {name}, {kernels.reason}")
    missing = f"the query is on {device}" if kernels is None else kernels.reason
    if implementation is not None:
        raise UnsupportedError(
            f"implementation: got 'native', but no compiled kernel runs: {missing}. Fix: pass "
            "implementation='eager' or None."
        )
    if kernels is None:
        return Explanation("eager", f"vectorised torch on {device}")
    return Explanation("eager", f"vectorised torch, {_exact_parts(query)}; kernels: {missing}")


def _exact_parts(query: Tensor) -> str:
    if torch.is_grad_enabled() and query.requires_grad:
        return "plain parts because gradients are needed"
    if fused_part_available():
        return "exact parts by torch's fused CPU kernel"
    return "plain parts because this torch has no fused CPU kernel with lse"
