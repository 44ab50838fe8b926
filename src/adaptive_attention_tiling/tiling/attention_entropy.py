"""How widely each query spreads its attention."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import ArgumentError
from ..mathematics.information import check_probabilities, shannon_entropy

CHUNK_ROWS = 128
"""Queries whose logits exist at one time; fixed, so that rows do not depend on later tokens."""


def entropy_of_probabilities(attention: Float[Tensor, "*b T S"]) -> Float[Tensor, "*b T"]:
    """-sum_j A_ij log A_ij in nats, from 0 (one key) to log S (all alike)."""
    check_probabilities("attention", attention)
    return shannon_entropy(attention)


def attention_entropy(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    *,
    scale: float | None = None,
) -> Float[Tensor, "B H T"]:
    """The entropy in nats of causal softmax attention, `CHUNK_ROWS` queries at a time.

    H_i = log Z_i - sum_j A_ij l_ij with l = scale q.k over the keys up to i's own. The last query
    stands at the last key, so S > T where earlier keys come from a cache. Memory is linear in S,
    also backwards: rows are computed again there.

    Args:
        scale: of the logits; None is D ** -0.5.
    """
    _check_heads(query, key)
    if scale is None:
        scale = query.shape[-1] ** -0.5
    offset = key.shape[2] - query.shape[2]
    grouped = query.unflatten(1, (key.shape[1], -1))  # [B, G, H/G, T, D]
    needs_graph = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad)
    rows = []
    for start in range(0, query.shape[2], CHUNK_ROWS):
        chunk = grouped[..., start : start + CHUNK_ROWS, :] * scale
        visible = key[:, :, None, : offset + start + chunk.shape[-2]]
        if needs_graph:
            rows.append(checkpoint(_causal_rows, chunk, visible, use_reentrant=False))
        else:
            rows.append(_causal_rows(chunk, visible))
    return torch.cat(rows, -1).flatten(1, 2)


def _causal_rows(query: Tensor, key: Tensor) -> Tensor:
    """Entropies of the last queries over all keys given, the last query at the last key."""
    logits = query @ key.mT
    rows, columns = logits.shape[-2:]
    hidden = torch.ones(rows, columns, dtype=torch.bool, device=logits.device)
    hidden = hidden.triu(columns - rows + 1)
    logs = logits.masked_fill(hidden, -torch.inf).log_softmax(-1)
    # After the softmax: 0 * log 0 is 0 here, in the gradient too.
    return -(logs.exp() * logs.masked_fill(hidden, 0)).sum(-1)


def _check_heads(query: Tensor, key: Tensor) -> None:
    fits = query.dim() == 4 and key.dim() == 4
    fits = fits and query.shape[0] == key.shape[0] and query.shape[3] == key.shape[3]
    fits = fits and key.shape[1] > 0 and query.shape[1] % key.shape[1] == 0
    if not fits or not 0 < query.shape[2] <= key.shape[2]:
        raise ArgumentError(
            "key",
            f"query {list(query.shape)} and key {list(key.shape)}",
            "[B, H, T, D] and [B, G, S, D] with H a multiple of G and 0 < T <= S",
            "check the order of axes",
        )
