"""Divergences between categorical distributions, in nats.

p and q are probabilities along the last axis, which broadcast over the axes before it; with
`log_space=True` they are log-probabilities, which do not underflow. What p rules out adds nothing
(0 log 0 = 0); where p has weight and q has none, a divergence that needs p / q is infinite.

Sums of logarithms are rounded by about eps: of nearly equal p and q they may come out below 0, so
clamp them before a root is taken. `hellinger_distance` keeps its digits there, as the Fisher-Rao
distance does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm, safe_sqrt
from .simplex import check_pair, check_probabilities, log_or_zero

Probabilities = Float[Tensor, "*#b n"]
Divergence = Float[Tensor, "*b"]


def kl_divergence(p: Probabilities, q: Probabilities, *, log_space: bool = False) -> Divergence:
    """KL(p || q) = sum_i p_i log(p_i / q_i), from 0 (equal) to infinity.

    Its gradient where it is infinite is 0.

    Source: Kullback and Leibler, On information and sufficiency, 1951, (2.4).
    """
    check_pair(p, q, log_space=log_space)
    log_p, log_q = _finite_logs(p, log_space), _finite_logs(q, log_space)
    weight = _weights(p, log_space)
    missing = (_present(p, log_space) & ~_present(q, log_space)).any(-1)
    finite = (weight * (log_p - log_q)).sum(-1)
    return torch.where(missing, torch.inf, finite)


def reverse_kl_divergence(
    p: Probabilities, q: Probabilities, *, log_space: bool = False
) -> Divergence:
    """KL(q || p)."""
    return kl_divergence(q, p, log_space=log_space)


def jeffreys_divergence(
    p: Probabilities, q: Probabilities, *, log_space: bool = False
) -> Divergence:
    """KL(p || q) + KL(q || p) = sum_i (p_i - q_i) log(p_i / q_i).

    Source: Jeffreys, An invariant form for the prior probability, 1946, (1); no half.
    """
    forward = kl_divergence(p, q, log_space=log_space)
    return forward + kl_divergence(q, p, log_space=log_space)


def jensen_shannon_divergence(
    p: Probabilities, q: Probabilities, *, log_space: bool = False
) -> Divergence:
    """(KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, from 0 to log 2.

    Its square root is a distance.

    Source: Lin, Divergence measures based on the Shannon entropy, 1991, (3.5);
    Endres and Schindelin, A new metric for probability distributions, 2003.
    """
    check_pair(p, q, log_space=log_space)
    middle = torch.logaddexp(p, q) - math.log(2) if log_space else (p + q) / 2
    to_p = kl_divergence(p, middle, log_space=log_space)
    return (to_p + kl_divergence(q, middle, log_space=log_space)) / 2


def renyi_divergence(
    p: Probabilities, q: Probabilities, order: float, *, log_space: bool = False
) -> Divergence:
    """D_a(p || q) = log(sum_i p_i^a q_i^(1 - a)) / (a - 1).

    Orders 0, 1 and infinity are its limits: -log q(p > 0), KL(p || q) and max log(p_i / q_i). It
    grows with the order.

    Source: van Erven and Harremoes, Renyi divergence and Kullback-Leibler divergence, 2014, (9).

    Raises:
        ArgumentError: the order is negative.
    """
    if not order >= 0:
        raise ArgumentError("order", order, "a number >= 0, or infinity", "pass order=2")
    check_pair(p, q, log_space=log_space)
    if order == 1:
        return kl_divergence(p, q, log_space=log_space)
    log_p, log_q = _finite_logs(p, log_space), _finite_logs(q, log_space)
    shared = _present(p, log_space) & _present(q, log_space)
    missing = (_present(p, log_space) & ~_present(q, log_space)).any(-1)
    if math.isinf(order):
        largest = (log_p - log_q).masked_fill(~shared, -torch.inf).amax(-1)
        return torch.where(missing, torch.inf, largest)
    log_sum = _log_sum(order * log_p + (1 - order) * log_q, shared)
    result = log_sum / (order - 1)
    return torch.where(missing, torch.inf, result) if order > 1 else result


def alpha_divergence(
    p: Probabilities, q: Probabilities, alpha: float, *, log_space: bool = False
) -> Divergence:
    """4 / (1 - a^2) (1 - sum_i p_i^((1 - a) / 2) q_i^((1 + a) / 2)).

    a = -1 is KL(p || q), a = 1 is KL(q || p), a = 0 is 4 H^2 with the Hellinger distance H. All of
    them have the Fisher metric as their Hessian.

    Source: Amari, Information geometry and its applications, 2016, (3.39).
    """
    if alpha == -1:
        return kl_divergence(p, q, log_space=log_space)
    if alpha == 1:
        return kl_divergence(q, p, log_space=log_space)
    check_pair(p, q, log_space=log_space)
    log_p, log_q = _finite_logs(p, log_space), _finite_logs(q, log_space)
    has_p, has_q = _present(p, log_space), _present(q, log_space)
    exponent = (1 - alpha) / 2 * log_p + (1 + alpha) / 2 * log_q
    overlap = _log_sum(exponent, has_p & has_q).exp()
    result = 4 / (1 - alpha**2) * (1 - overlap)
    if alpha < -1:
        return torch.where((has_p & ~has_q).any(-1), torch.inf, result)
    if alpha > 1:
        return torch.where((has_q & ~has_p).any(-1), torch.inf, result)
    return result


def hellinger_distance(p: Probabilities, q: Probabilities) -> Divergence:
    """H = |sqrt(p) - sqrt(q)| / sqrt(2), from 0 to 1; H^2 = 1 - sum_i sqrt(p_i q_i).

    Source: Hellinger, 1909; Pardo, Statistical inference based on divergence measures, 2006, 1.1.
    """
    check_pair(p, q)
    return safe_norm(safe_sqrt(p) - safe_sqrt(q)) / math.sqrt(2)


def total_variation(p: Probabilities, q: Probabilities) -> Divergence:
    """sum_i |p_i - q_i| / 2, from 0 to 1. Pinsker: TV^2 <= KL(p || q) / 2."""
    check_pair(p, q)
    return (p - q).abs().sum(-1) / 2


def chi_square_divergence(p: Probabilities, q: Probabilities) -> Divergence:
    """sum_i (p_i - q_i)^2 / q_i, infinite where q rules out what p holds.

    Source: Pearson, 1900. KL(p || q) <= log(1 + chi^2).
    """
    check_pair(p, q)
    held = q > 0
    terms = (p - q).square() / torch.where(held, q, 1)
    missing = ((p > 0) & ~held).any(-1)
    return torch.where(missing, torch.inf, torch.where(held, terms, 0).sum(-1))


def bregman_divergence(
    generator: Callable[[Tensor], Tensor],
    x: Float[Tensor, "*b n"],
    y: Float[Tensor, "*b n"],
) -> Float[Tensor, "*b"]:
    """f(x) - f(y) - grad f(y) . (x - y) of a convex f; >= 0, and 0 for x = y.

    The negative entropy gives KL on the simplex, |x|^2 the squared distance.

    Args:
        generator: f, from points [*b, n] to values [*b], each from its own point.

    Source: Bregman, 1967; Banerjee et al., Clustering with Bregman divergences, 2005, (1).
    """
    with torch.enable_grad():
        origin = y if y.requires_grad else y.detach().requires_grad_()
        value = generator(origin)
        (slope,) = torch.autograd.grad(value.sum(), origin, create_graph=True)
    height = generator(x)  # has a graph if x has one, or what the generator is made of
    result = height - value - (slope * (x - origin)).sum(-1)
    return result if height.requires_grad or y.requires_grad else result.detach()


def negative_entropy(p: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """sum_i p_i log p_i, the generator of KL."""
    check_probabilities("p", p)
    return (p * log_or_zero(p)).sum(-1)


def _present(given: Tensor, log_space: bool) -> Tensor:
    return given > (-torch.inf if log_space else 0)


def _weights(given: Tensor, log_space: bool) -> Tensor:
    return given.exp() if log_space else given


def _finite_logs(given: Tensor, log_space: bool) -> Tensor:
    if not log_space:
        return log_or_zero(given)
    return torch.where(given > -torch.inf, given, 0)


def _log_sum(exponents: Tensor, kept: Tensor) -> Tensor:
    """log of the sum of exponentials of what is kept; -inf, without a gradient, for nothing."""
    empty = ~kept.any(-1, keepdim=True)
    masked = exponents.masked_fill(~kept & ~empty, -torch.inf)
    return torch.where(empty[..., 0], -torch.inf, masked.logsumexp(-1))
