"""The causal resolvent by forward substitution, a chunk of tokens at a time."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..softmax_attention import EMPTY, partial_attention
from .state import ResolventState

_CHUNK = 64


def causal_resolvent(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B H T D"],
    value: Float[Tensor, "B H T E"],
    *,
    damping: float,
    seen: Bool[Tensor, "B T"] | None,
    past: ResolventState | None,
    chunk: int = _CHUNK,
) -> tuple[Float[Tensor, "B H T E"], ResolventState]:
    """Outputs and the state after them. The query is scaled already.

    Within a chunk (I - alpha A) o = (1 - alpha) v + alpha A_past o_past, of a lower triangle.
    """
    if past is None:
        past = ResolventState(key[:, :, :0], value[:, :, :0], None if seen is None else seen[:, :0])
    keys = torch.cat([past.key, key], 2)
    flags = _all_flags(past, key, seen)
    before = past.key.shape[2]
    read = past.output
    for start in range(0, query.shape[2], chunk):
        stop = min(start + chunk, query.shape[2])
        here = slice(start, stop)
        old = before + start
        bias = None if flags is None else _bias(flags[:, :old], query.dtype)
        earlier = partial_attention(query[:, :, here], keys[:, :, :old], read, bias=bias)
        logits = query[:, :, here] @ key[:, :, here].mT
        logits = logits.masked_fill(~_visible(stop - start, flags, old, logits), EMPTY)
        lse = torch.logaddexp(earlier.lse, logits.logsumexp(-1))
        weights = (logits - lse[..., None]).exp().tril(-1)
        share = (earlier.lse - lse).exp()[..., None]
        right = (1 - damping) * value[:, :, here] + damping * share * earlier.out
        # 1 - alpha A_ii by what is not A_ii, where the difference would lose its digits.
        rest = (1 - damping) + damping * (share[..., 0] + weights.sum(-1))
        matrix = torch.diag_embed(rest) - damping * weights
        out = torch.linalg.solve_triangular(matrix, right, upper=False)
        if flags is not None:
            out = out.masked_fill(~flags[:, None, old : before + stop, None], 0.0)
        read = torch.cat([read, out], 2)
    return read[:, :, before:], ResolventState(keys, read, flags)


def _visible(width: int, flags: Tensor | None, old: int, logits: Tensor) -> Tensor:
    """Which keys of a chunk its queries see; padding sees itself and nothing sees padding."""
    order = torch.ones(width, width, dtype=torch.bool, device=logits.device).tril()
    if flags is None:
        return order
    itself = torch.eye(width, dtype=torch.bool, device=logits.device)
    return (order & flags[:, None, None, old : old + width]) | itself


def _bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    hidden = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return hidden.masked_fill(~seen, EMPTY)[:, None, None]


def _all_flags(past: ResolventState, key: Tensor, seen: Tensor | None) -> Tensor | None:
    if past.seen is None and seen is None:
        return None
    parts = [
        key.new_ones(tokens.shape[0], tokens.shape[2], dtype=torch.bool) if flag is None else flag
        for tokens, flag in ((past.key, past.seen), (key, seen))
    ]
    return torch.cat(parts, 1)
