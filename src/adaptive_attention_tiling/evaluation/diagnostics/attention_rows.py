"""Some whole rows of a head's attention, which stand for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .head_tensors import check_head


@dataclass(frozen=True)
class AttentionRows:
    """Rows of a head's attention: each sums to 1, and a causal one is 0 after its own token.

    Args:
        queries: which tokens ask, in order.
        weights: [r, T], row for row, in float64.
        is_causal: whether a query sees keys up to itself only.
    """

    queries: Int[Tensor, " r"]
    weights: Float[Tensor, "r T"]
    is_causal: bool

    @property
    def tokens(self) -> int:
        """T, of the whole text."""
        return self.weights.shape[1]

    @property
    def seen(self) -> Int[Tensor, " r"]:
        """How many keys each row may read."""
        return self.queries + 1 if self.is_causal else torch.full_like(self.queries, self.tokens)


def attention_rows(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    rows: int = 64,
    first: int = 0,
    is_causal: bool = True,
    scale: float | None = None,
    generator: torch.Generator | None = None,
) -> AttentionRows:
    """a_i = softmax_j(scale q_i.k_j) of so many queries, one drawn from each of equal stretches.

    Costs rows x T: the full matrix is never formed. It has no gradients.

    Args:
        query, key: of one head, rotated if the model rotates them.
        rows: how many; all if the text has no more.
        first: queries before it are not drawn.
        scale: of the logits; None is D ** -0.5.
        generator: of the draws; by default a new one with seed 0.
    """
    check_head(query, key)
    tokens = len(query)
    if rows < 1:
        raise ArgumentError("rows", rows, "an integer >= 1", "pass rows=64")
    if not 0 <= first < tokens:
        raise ArgumentError("first", first, f"0 to {tokens - 1}, a token", "pass first=0")
    queries = one_of_each_stretch(tokens - first, rows, generator).to(query.device) + first
    return attention_at(query, key, queries, is_causal=is_causal, scale=scale)


def attention_at(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    queries: Int[Tensor, " r"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
) -> AttentionRows:
    """a_i = softmax_j(scale q_i.k_j) of the queries named, in their order.

    Args:
        query, key, is_causal, scale: as `attention_rows` takes them.
        queries: tokens, from 0 to T - 1.
    """
    check_head(query, key)
    tokens = len(query)
    if (
        queries.dim() != 1
        or queries.dtype != torch.int64
        or not bool(((queries >= 0) & (queries < tokens)).all())
    ):
        raise ArgumentError(
            "queries", f"{queries.dtype} {list(queries.shape)}", f"int64 [r], 0 to {tokens - 1}",
            "pass torch.tensor([...]) of tokens",
        )  # fmt: skip
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits = scale * (query[queries].detach().double() @ key.detach().double().mT)
    if is_causal:
        hidden = torch.arange(tokens, device=query.device) > queries[:, None]
        logits = logits.masked_fill(hidden, -torch.inf)
    return AttentionRows(queries, logits.softmax(-1), is_causal)


def one_of_each_stretch(
    tokens: int, rows: int, generator: torch.Generator | None = None
) -> Int[Tensor, " r"]:
    """One token drawn from each of `rows` equal stretches, in order; all if there are no more.

    A draw, since at equal distances a period of the text would be seen at one phase only.

    Args:
        tokens: of the text.
        generator: by default a new one with seed 0.
    """
    if rows >= tokens:
        return torch.arange(tokens)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    ends = torch.arange(rows + 1) * tokens // rows
    share = torch.rand(rows, generator=generator, dtype=torch.float64)
    return ends[:-1] + (share * ends.diff()).long()
