"""The resolvent of the matrix of attention, formed and solved as it is written."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def reference_resolvent_attention(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B H T D"],
    value: Float[Tensor, "B H T E"],
    *,
    damping: float,
    scale: float,
    is_causal: bool = False,
    key_padding_mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "B H T E"]:
    """o = (1 - alpha) (I - alpha A)^-1 v with A = softmax(scale q k^T); 0 at padding."""
    logits = scale * query @ key.mT
    length = query.shape[2]
    seen = torch.ones(length, length, dtype=torch.bool, device=query.device)
    if is_causal:
        seen = seen.tril()
    if key_padding_mask is not None:
        # Padding sees itself, so that its row is one of a walk too; no token sees it.
        itself = torch.eye(length, dtype=torch.bool, device=query.device)
        seen = (seen & key_padding_mask[:, None, None]) | itself
    attention = logits.masked_fill(~seen, -torch.inf).softmax(-1)
    unit = torch.eye(length, dtype=query.dtype, device=query.device)
    out: Tensor = torch.linalg.solve(unit - damping * attention, (1 - damping) * value)
    if key_padding_mask is not None:
        out = out.masked_fill(~key_padding_mask[:, None, :, None], 0.0)
    return out
