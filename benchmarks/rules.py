"""The rules of causal attentions by plain formulas, at chosen queries.

o_i = sum_{j <= i} w_ij v_j / sum_{j <= i} w_ij, where the weights say which attention it is.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import elu
from torch.utils.checkpoint import checkpoint

from adaptive_attention_tiling.splats import SplatField

# Tokens whose states are kept at once for gradients.
_SEGMENT = 128

Rows = Float[Tensor, "B H r E"]


def softmax_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: Int[Tensor, " r"],
    *,
    window: int | None = None,
    is_causal: bool = True,
) -> Rows:
    """w_ij = exp(q_i . k_j / sqrt(D)); the last `window` keys only, if given."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    logits = query[:, :, rows] @ key.mT * query.shape[-1] ** -0.5
    hidden = _later(rows, key.shape[2]) & is_causal
    if window is not None:
        hidden = hidden | (torch.arange(key.shape[2]) <= rows[:, None] - window)
    return logits.masked_fill(hidden, float("-inf")).softmax(-1) @ value


def splat_rows(
    query: Tensor, key: Tensor, value: Tensor, field: SplatField, rows: Int[Tensor, " r"]
) -> Rows:
    """w_ij = sum_s a_s G_s(q_i) G_s(k_j)."""
    weights = (
        field.log_features(query[:, :, rows]).exp() @ field.log_features(key).exp().mT
    )  # [B, H, r, T]
    return _mean(weights, value, rows)


def linear_rows(query: Tensor, key: Tensor, value: Tensor, rows: Int[Tensor, " r"]) -> Rows:
    """w_ij = phi(q_i) . phi(k_j), phi = elu + 1."""
    return _mean((elu(query[:, :, rows]) + 1) @ (elu(key) + 1).mT, value, rows)


def fidelity_rows(query: Tensor, key: Tensor, value: Tensor, rows: Int[Tensor, " r"]) -> Rows:
    """w_ij = (q_i . k_j / |q_i| |k_j|)^2 + 1e-4."""
    q, k = (x / x.norm(dim=-1, keepdim=True) for x in (query[:, :, rows], key))
    return _mean((q @ k.mT).square() + 1e-4, value, rows)


def sum_rows(query: Tensor, key: Tensor, value: Tensor, rows: Int[Tensor, " r"]) -> Rows:
    """sum_{j <= i} q_i . k_j v_j, which nothing divides."""
    weights = query[:, :, rows] @ key.mT
    return weights.masked_fill(_later(rows, key.shape[2]), 0.0) @ value


def gated_delta_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    rate: Tensor,
    rows: Int[Tensor, " r"],
) -> Rows:
    """S_t = a_t S_{t-1} + b_t k_t (v_t - a_t S_{t-1}^T k_t)^T,  o_t = S_t^T q_t / sqrt(D).

    Yang, Kautz and Hatamizadeh 2024 (arXiv 2412.06464), equation 10; a_t = exp(log_decay).
    """
    state = query.new_zeros(*query.shape[:2], query.shape[-1], value.shape[-1])
    outputs = []
    for start in range(0, int(rows.max()) + 1, _SEGMENT):
        part = (x[:, :, start : start + _SEGMENT] for x in (query, key, value, log_decay, rate))
        out, state = checkpoint(_gated_delta, state, *part, use_reentrant=False)
        outputs.append(out)
    return torch.cat(outputs, 2)[:, :, rows] * query.shape[-1] ** -0.5


def _gated_delta(
    state: Tensor, query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, rate: Tensor
) -> tuple[Tensor, Tensor]:
    outputs = []
    vectors = (x[..., None, :] for x in (query, key, value))
    numbers = (x[..., None, None] for x in (log_decay.exp(), rate))
    tokens = (x.unbind(2) for x in (*vectors, *numbers))
    for q, k, v, a, b in zip(*tokens, strict=True):  # [B, H, 1, D]
        state = a * state
        state = state + k.mT * (b * (v - k @ state))
        outputs.append(q @ state)
    return torch.cat(outputs, 2), state


def _mean(weights: Tensor, value: Tensor, rows: Tensor) -> Tensor:
    weights = weights.masked_fill(_later(rows, value.shape[2]), 0.0)
    return weights @ value / weights.sum(-1, keepdim=True)


def _later(rows: Tensor, tokens: int) -> Tensor:
    return torch.arange(tokens) > rows[:, None]
