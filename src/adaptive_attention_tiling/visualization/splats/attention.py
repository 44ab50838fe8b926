"""The attention that a field implies beside that of softmax."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...splats import SplatField
from ..picture import Picture, label, picture
from ..shaded_grid import shade_key, shaded_grid
from ..shades import Shades
from .points import log_features_of_head, points_of_head

_LEFT, _TOP, _SIDE, _GAP = 40.0, 80.0, 320.0, 28.0
_MOST_TOKENS = 512


def attention_picture(
    field: SplatField,
    query: Tensor,
    key: Tensor,
    *,
    head: int = 0,
    scale: float | None = None,
    is_causal: bool = True,
) -> Picture:
    """Two heat maps, queries down and keys across: the field's weights and those of softmax.

    The shades are logarithmic and the same for both. The note tells the total variation distance,
    1/2 sum_j |a_ij - b_ij|, averaged over queries: 0 where they agree, 1 where they share nothing.

    Args:
        query, key: one sequence of at most 512 tokens, [H, T, D] or [1, H, T, D].
        head: the one that is shown.
        scale: of the softmax logits; by default 1 / sqrt(D).
        is_causal: whether query i sees keys up to i only; then there are as many of both.
    """
    queries = points_of_head(field, "query", query, head, in_order=True)
    keys = points_of_head(field, "key", key, head, in_order=True)
    for name, points in (("query", queries), ("key", keys)):
        if len(points) > _MOST_TOKENS:
            raise ArgumentError(
                name, f"{len(points)} tokens", f"at most {_MOST_TOKENS}", "show a part"
            )
    if is_causal and len(queries) != len(keys):
        raise ArgumentError(
            "key", f"{len(keys)} keys", f"{len(queries)}, one a query", "pass is_causal=False"
        )
    if scale is None:
        scale = field.width**-0.5
    hidden = torch.zeros(len(queries), len(keys), dtype=torch.bool)
    if is_causal:
        hidden = torch.ones_like(hidden).triu(1)
    softmax = torch.softmax((scale * queries @ keys.mT).masked_fill(hidden, -torch.inf), -1)
    splat = implied_weights(field, queries, keys, head, hidden)
    distance = 0.5 * float((splat - softmax).abs().sum(-1).mean())
    shades = Shades(low=1e-3, high=1.0)
    second = _LEFT + _SIDE + _GAP
    foot = _TOP + _SIDE
    body = (
        label(_LEFT, _TOP - 8, "splat field")
        + label(second, _TOP - 8, "softmax")
        + shaded_grid(splat, shades, x=_LEFT, y=_TOP, width=_SIDE, height=_SIDE)
        + shaded_grid(softmax, shades, x=second, y=_TOP, width=_SIDE, height=_SIDE)
        + label(26, _TOP + _SIDE / 2, f"{len(queries)} queries", anchor="middle", turned=True)
        + label(_LEFT + _SIDE / 2, foot + 18, f"{len(keys)} keys", anchor="middle")
        + label(second + _SIDE / 2, foot + 18, f"{len(keys)} keys", anchor="middle")
        + shade_key(shades, x=_LEFT, y=foot + 32, width=220)
    )
    return picture(
        body,
        title=f"Attention weights, head {head}",
        note=f"total variation distance {distance:.3f}, averaged over queries",
        width=second + _SIDE + 20,
        height=foot + 68,
    )


def implied_weights(
    field: SplatField,
    queries: Float[Tensor, "T D"],
    keys: Float[Tensor, "S D"],
    head: int,
    hidden: Tensor,
) -> Float[Tensor, "T S"]:
    """sum_s phi_s(q_i) phi_s(k_j), of the keys that are not hidden, with rows that sum to 1.

    A query that no key answers has a row of zeros.
    """
    reading = log_features_of_head(field, queries, head)
    writing = log_features_of_head(field, keys, head)
    blocks = [
        torch.logsumexp(rows[:, None] + writing, -1) for rows in reading.split(16)
    ]  # [16, S, F] at a time
    logs = torch.cat(blocks).masked_fill(hidden, -torch.inf)
    unanswered = (logs == -torch.inf).all(-1, keepdim=True)
    return torch.softmax(logs.masked_fill(unanswered, 0.0), -1).masked_fill(unanswered, 0.0)
