"""Reading through sets of tokens in loops, to be checked against the formulas by eye."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .bounds import Order


def reference_moments(
    keys: Float[Tensor, "L D"], values: Float[Tensor, "L E"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean key, mean value, key covariance and value/key covariance of L tokens."""
    n = len(keys)
    key = torch.stack(list(keys)).sum(0) / n
    value = torch.stack(list(values)).sum(0) / n
    covariance = torch.stack([torch.outer(k - key, k - key) for k in keys]).sum(0) / n
    pairs = zip(keys, values, strict=True)
    cross = torch.stack([torch.outer(v - value, k - key) for k, v in pairs]).sum(0) / n
    return key, value, covariance, cross


def reference_read(
    query: Float[Tensor, " D"],
    keys: Float[Tensor, "S D"],
    values: Float[Tensor, "S E"],
    closed: Sequence[tuple[Sequence[int], Tensor]],
    exact: Sequence[int],
    order: Order,
) -> tuple[Float[Tensor, " E"], Float[Tensor, ""]]:
    """Output and log normaliser of one query.

    closed has the tokens of each set that is read through its moments, with the radius that is
    known of it; exact has the tokens that are read themselves.
    """
    logits = [query @ keys[j] for j in exact]
    read = [values[j] for j in exact]
    for tokens, radius in closed:
        at = list(tokens)
        key, value, covariance, cross = reference_moments(keys[at], values[at])
        growth, tilt = torch.zeros(()), torch.zeros(())
        if order == 2 and len(at) > 1:
            growth, tilt = _guarded(query, covariance, radius, len(at))
        logits.append(math.log(len(at)) + query @ key + growth)
        read.append(value + tilt * (cross @ query))
    weights = torch.stack(logits).softmax(0)
    return weights @ torch.stack(read), torch.stack(logits).logsumexp(0)


def _guarded(query: Tensor, covariance: Tensor, radius: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """min(s^2 / 2, upper bound), and min(1, 1/s, growth / (s^2 / 2))."""
    variance = query @ covariance @ query
    a = torch.minimum(query.norm() * radius, (n - 1) ** 0.5 * variance.sqrt())
    square = torch.minimum(variance, a**2)
    bennett = ((a**2 * (-square / a).exp() + square * a.exp()) / (a**2 + square)).log()
    hoeffding = torch.minimum(2 * a, (2 * n * square).sqrt()) ** 2 / 8
    growth = torch.minimum(square / 2, torch.minimum(bennett, hoeffding))
    tilt = growth / (square / 2) / square.sqrt().clamp_min(1)
    return growth, tilt
