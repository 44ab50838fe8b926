"""Go on writing after a text, greedily, with a cache that was filled by reading it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """The tokens that were written, and how fast after the first of them."""

    ids: tuple[int, ...]
    tokens_per_second: float


def fill(model: PreTrainedModel, ids: Int[Tensor, "1 T"], cache: Cache) -> int:
    """Read `ids` into `cache`; the likeliest next token."""
    with torch.inference_mode():
        hidden = model.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        return _likeliest(model, hidden.last_hidden_state)


def write(
    model: PreTrainedModel,
    first: int,
    count: int,
    cache: Cache,
    *,
    token_done: Callable[[], None] = lambda: None,
) -> Continuation:
    """`count` tokens from `first` on, each the likeliest; an end-of-text token does not stop it."""
    written = [first]
    before = time.perf_counter()
    with torch.inference_mode():
        while len(written) < count:
            step = torch.tensor([[written[-1]]], device=model.device)
            hidden = model.base_model(input_ids=step, past_key_values=cache, use_cache=True)
            written.append(_likeliest(model, hidden.last_hidden_state))
            token_done()
    seconds = time.perf_counter() - before
    return Continuation(ids=tuple(written), tokens_per_second=(count - 1) / seconds)


def agreeing(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two continuations share."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _likeliest(model: PreTrainedModel, hidden: Tensor) -> int:
    return int(model.get_output_embeddings()(hidden[:, -1:]).argmax(-1))
