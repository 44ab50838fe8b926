"""What attention to another text takes as that text."""

from __future__ import annotations

from torch import Tensor

from ..errors import ArgumentError
from .mask import read_mask, refuse_scores
from .mixer import check_tokens


def context_unless_read(context: Tensor | None, state: object | None, width: int) -> Tensor | None:
    """The context [B, S, width] if it is still to be read; exactly one of the two must be given."""
    if (context is None) == (state is None):
        raise ArgumentError(
            "context",
            "neither it nor a state" if context is None else "both it and a state",
            "one of the two",
            "pass context at first, and the state that it gave from then on",
        )
    if context is not None:
        check_tokens("context", context, width)
    return context


def read_context_mask(context_mask: Tensor | None, context: Tensor) -> Tensor | None:
    """The padding of a context, True for tokens, or None if there is none."""
    batch, length = context.shape[:2]
    mask = read_mask(context_mask, batch=batch, length=length, is_causal=False)
    refuse_scores(mask, "a context")
    return mask.padding
