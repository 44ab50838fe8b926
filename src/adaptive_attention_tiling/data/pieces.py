"""Which stretch of a text each of its tokens stands for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def token_pieces(tokenizer: Any, text: str, ids: Sequence[int]) -> list[str]:
    """One piece for each of `ids`, the first tokens of `text` as `encode` gives them.

    A piece reaches to where the next token begins, so that joined they are the text without gaps.
    Of the tokens that share a character, the last one gets it. A tokenizer that does not know
    where its tokens lie ("slow") decodes them one by one instead.
    """
    if not getattr(tokenizer, "is_fast", False):
        return [tokenizer.decode([token]) for token in ids]
    options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    found = tokenizer(text, return_offsets_mapping=True, **options)
    spans = found["offset_mapping"][: len(ids)]
    starts = [0, *(start for start, _ in spans[1:]), spans[-1][1]] if spans else []
    return [text[start:end] for start, end in pairwise(starts)]


def surrounding_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a text, as BERT's [CLS] and [SEP]."""
    text = "a"
    plain = list(tokenizer.encode(text, add_special_tokens=False))
    whole = list(tokenizer.encode(text, add_special_tokens=True))
    for start in range(len(whole) - len(plain) + 1):
        end = start + len(plain)
        if whole[start:end] == plain:
            return whole[:start], whole[end:]
    return [], []
