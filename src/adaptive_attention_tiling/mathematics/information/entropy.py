"""Entropies of categorical distributions and of tables of two or three variables, in nats."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .simplex import check_pair, check_probabilities, log_or_zero


def shannon_entropy(p: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """H(p) = -sum_i p_i log p_i, from 0 (one outcome) to log n (all alike).

    Source: Shannon, A mathematical theory of communication, 1948, theorem 2.
    """
    check_probabilities("p", p)
    return -(p * log_or_zero(p)).sum(-1)


def renyi_entropy(p: Float[Tensor, "*b n"], order: float) -> Float[Tensor, "*b"]:
    """H_a(p) = log(sum_i p_i^a) / (1 - a); it falls with the order.

    Order 0 counts the outcomes that can occur, 1 is Shannon's, infinity is `min_entropy`.

    Source: Renyi, On measures of entropy and information, 1961, (1.21).
    """
    _check_order(order)
    if order == 1:
        return shannon_entropy(p)
    if math.isinf(order):
        return min_entropy(p)
    check_probabilities("p", p)
    logs = (order * log_or_zero(p)).masked_fill(p == 0, -torch.inf)
    return logs.logsumexp(-1) / (1 - order)


def tsallis_entropy(p: Float[Tensor, "*b n"], order: float) -> Float[Tensor, "*b"]:
    """S_q(p) = (1 - sum_i p_i^q) / (q - 1); order 1 is Shannon's.

    Of independent parts S(AB) = S(A) + S(B) + (1 - q) S(A) S(B).

    Source: Tsallis, Possible generalization of Boltzmann-Gibbs statistics, 1988, (1), with k = 1.
    """
    _check_order(order)
    if math.isinf(order):
        raise ArgumentError("order", order, "a finite number >= 0", "use min_entropy")
    if order == 1:
        return shannon_entropy(p)
    check_probabilities("p", p)
    powers = (order * log_or_zero(p)).exp() * (p > 0)
    return (1 - powers.sum(-1)) / (order - 1)


def min_entropy(p: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """-log max_i p_i, the least of all Renyi entropies."""
    check_probabilities("p", p)
    return -p.amax(-1).log()


def cross_entropy(p: Float[Tensor, "*#b n"], q: Float[Tensor, "*#b n"]) -> Float[Tensor, "*b"]:
    """-sum_i p_i log q_i = H(p) + KL(p || q); infinite where q rules out what p holds."""
    check_pair(p, q)
    missing = ((p > 0) & (q == 0)).any(-1)
    return torch.where(missing, torch.inf, -(p * log_or_zero(q)).sum(-1))


def joint_entropy(joint: Float[Tensor, "*b n m"]) -> Float[Tensor, "*b"]:
    """H(X, Y) of a table of P(x, y)."""
    return shannon_entropy(_table(joint).flatten(-2))


def conditional_entropy(joint: Float[Tensor, "*b n m"]) -> Float[Tensor, "*b"]:
    """H(Y | X) = H(X, Y) - H(X) of a table of P(x, y), x along the last axis but one.

    Source: Cover and Thomas, Elements of information theory, 2006, theorem 2.2.1.
    """
    joint = _table(joint)
    given = joint.sum(-1, keepdim=True)
    logs = log_or_zero(joint) - torch.where(joint > 0, log_or_zero(given), 0)
    return -(joint * logs).sum((-2, -1))


def mutual_information(joint: Float[Tensor, "*b n m"]) -> Float[Tensor, "*b"]:
    """I(X; Y) = KL(P(x, y) || P(x) P(y)) >= 0, and 0 for independent variables.

    Source: Cover and Thomas, 2006, (2.28).
    """
    joint = _table(joint)
    logs = log_or_zero(joint.sum(-1, keepdim=True)) + log_or_zero(joint.sum(-2, keepdim=True))
    return (joint * (log_or_zero(joint) - logs)).sum((-2, -1))


def conditional_mutual_information(joint: Float[Tensor, "*b n m l"]) -> Float[Tensor, "*b"]:
    """I(X; Y | Z) = sum P(x, y, z) log(P(x, y | z) / (P(x | z) P(y | z))) >= 0.

    Args:
        joint: P(x, y, z), z along the last axis.

    Source: Cover and Thomas, 2006, (2.61).
    """
    if joint.dim() < 3:
        raise ArgumentError(
            "joint", f"shape {list(joint.shape)}", "[..., n, m, l]", "pass P(x, y, z)"
        )
    check_probabilities("joint", joint.flatten(-3))
    logs = log_or_zero(joint) + log_or_zero(joint.sum((-3, -2), keepdim=True))
    logs = (
        logs - log_or_zero(joint.sum(-3, keepdim=True)) - log_or_zero(joint.sum(-2, keepdim=True))
    )
    return (joint * logs).sum((-3, -2, -1))


def _table(joint: Tensor) -> Tensor:
    if joint.dim() < 2:
        raise ArgumentError("joint", f"shape {list(joint.shape)}", "[..., n, m]", "pass P(x, y)")
    check_probabilities("joint", joint.flatten(-2))
    return joint


def _check_order(order: float) -> None:
    if not order >= 0:
        raise ArgumentError("order", order, "a number >= 0", "pass order=2")
