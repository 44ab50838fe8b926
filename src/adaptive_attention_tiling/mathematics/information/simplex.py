"""The simplex of probabilities: what lies on it, and logarithms that know their zeros."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def check_probabilities(name: str, probabilities: Tensor) -> None:
    """Raise an ArgumentError unless entries are >= 0 and sum to one along the last axis."""
    if probabilities.dim() < 1 or not probabilities.is_floating_point():
        raise ArgumentError(
            name,
            f"{probabilities.dtype} {list(probabilities.shape)}",
            "a floating tensor with probabilities along its last axis",
            "pass the result of a softmax",
        )
    if probabilities.shape[-1] == 0:
        raise ArgumentError(name, "no outcomes", "one or more along the last axis", "pass some")
    eps = torch.finfo(probabilities.dtype).eps
    sums = probabilities.detach().sum(
        -1, dtype=torch.promote_types(probabilities.dtype, torch.float32)
    )
    allowed = max(1e-4, 4 * eps)  # each entry was rounded
    # Written so that a NaN fails as well.
    if not bool((probabilities >= 0).all() & ((sums - 1).abs() <= allowed).all()):
        worst = sums.flatten()[(sums - 1).abs().argmax()].item() if sums.numel() else None
        raise ArgumentError(
            name,
            f"least {probabilities.min().item():.3g}, a sum of {worst:.6g}",
            "entries >= 0 that sum to 1 along the last axis",
            "divide by the sum",
        )


def check_interior(name: str, probabilities: Tensor) -> None:
    """Raise an ArgumentError unless they are probabilities, none of them zero."""
    check_probabilities(name, probabilities)
    if bool((probabilities == 0).any()):
        raise ArgumentError(
            name, "a probability of 0", "a point inside the simplex", "use a softmax of logits"
        )


def check_pair(first: Tensor, second: Tensor, *, log_space: bool = False) -> None:
    """Raise an ArgumentError unless p and q are distributions on as many outcomes.

    Args:
        log_space: they are given as log-probabilities.
    """
    for name, given in (("p", first), ("q", second)):
        check_probabilities(name, given.exp() if log_space else given)
    if first.shape[-1] != second.shape[-1]:
        raise ArgumentError(
            "q",
            f"{second.shape[-1]} outcomes",
            f"{first.shape[-1]}, as p has",
            "give both a probability for every outcome",
        )


def log_or_zero(probabilities: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """log p where p > 0, and 0 with gradient 0 where p = 0: 0 log 0 is 0, its gradient too."""
    return torch.where(probabilities > 0, probabilities, 1).log()
