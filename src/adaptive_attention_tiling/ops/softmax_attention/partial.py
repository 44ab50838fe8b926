"""Softmax attention over a part of the keys, with what is needed to merge it with other parts.

For keys j in a part P of all keys, and logits s_j = q . k_j + bias_j,

    lse_P = log sum_{j in P} exp(s_j)          out_P = sum_{j in P} exp(s_j - lse_P) v_j

and for disjoint parts  lse = log sum_P exp(lse_P),  out = sum_P exp(lse_P - lse) out_P.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

EMPTY = -math.inf
"""The lse of a part without keys: it weighs nothing in a merge."""


class Partial(NamedTuple):
    """Attention over a part of the keys: out [*n, T, E] and lse [*n, T], EMPTY without keys."""

    out: Tensor
    lse: Tensor


def partial_attention(
    query: Float[Tensor, "n r T D"],
    key: Float[Tensor, "n r S D"],
    value: Float[Tensor, "n r S E"],
    *,
    bias: Float[Tensor, "#n #r #T S"] | None = None,
) -> Partial:
    """Attention of scaled queries over the given keys.

    `bias` is added to the logits; -inf hides a key. A query whose keys are all hidden gets zeros
    and lse = EMPTY. Strides may be zero, so key heads can be shared without a copy.
    """
    if key.shape[-2] == 0:
        lse = query.new_full(query.shape[:-1], EMPTY)
        return Partial(query.new_zeros(*query.shape[:-1], value.shape[-1]), lse)
    needs_graph = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    if needs_graph or not _fused_takes(query, key, value):
        return _plain(query, key, value, bias)
    return _fused(query, key, value, bias)


def merge_partials(first: Partial, second: Partial) -> Partial:
    """Attention over the keys of both parts, which must have no key in common."""
    top = torch.maximum(first.lse, second.lse).detach()
    top = torch.where(top == EMPTY, 0.0, top)
    weights = (first.lse - top).exp(), (second.lse - top).exp()
    mass = weights[0] + weights[1]
    blind = mass == 0
    mass = torch.where(blind, 1.0, mass)
    out = first.out * (weights[0] / mass)[..., None] + second.out * (weights[1] / mass)[..., None]
    return Partial(out, torch.where(blind, EMPTY, mass.log() + top))


@functools.cache
def fused_part_available() -> bool:
    """Whether this torch has the fused CPU kernel that also returns lse."""
    return hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def _fused_takes(query: Tensor, key: Tensor, value: Tensor) -> bool:
    return (
        fused_part_available()
        and query.device.type == "cpu"
        and query.shape[-1] == value.shape[-1]
        and query.numel() > 0
        and all(t.stride(-1) == 1 for t in (query, key, value))
    )


def _fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Partial:
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, False, attn_mask=bias, scale=1.0
    )
    if bias is not None:
        # The kernel reports lse = 0 for a query without visible keys.
        visible = (bias > EMPTY).any(-1)
        if not bool(visible.all()):
            lse = torch.where(visible, lse, EMPTY)
    return Partial(out, lse)


def _plain(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Partial:
    logits = query @ key.mT
    if bias is not None:
        logits = logits + bias
    top = logits.detach().amax(-1, keepdim=True)
    top = torch.where(top == EMPTY, 0.0, top)
    weights = (logits - top).exp()
    mass = weights.sum(-1)
    # Chosen before the logarithm, so that the gradient of a query that sees nothing is zero.
    blind = mass == 0
    mass = torch.where(blind, 1.0, mass)
    lse = torch.where(blind, EMPTY, mass.log() + top[..., 0])
    return Partial(weights @ value / mass[..., None], lse)
