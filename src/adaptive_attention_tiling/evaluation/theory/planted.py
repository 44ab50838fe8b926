"""Queries, keys and values whose far field is known to be compressible, or known not to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

WIDTH = 32
TOPIC_TOKENS = 512
_OWN_LOGIT = 10.0
_NOISE = 0.02


class Inputs(NamedTuple):
    """Of one sequence: query, key and value, [1, H, T, WIDTH] in float32."""

    query: Float[Tensor, "1 H T D"]
    key: Float[Tensor, "1 H T D"]
    value: Float[Tensor, "1 H T D"]


def topics(tokens: int, *, heads: int = 1, seed: int = 0) -> Inputs:
    """A text of topics, 512 tokens each; every query asks for one of those that have begun.

    The keys of a topic differ by 2 % from its own direction, so that it can be read through means
    at every size. A query's logit with its topic's keys is 10, with others' about 0 +- 1.8.
    """
    generator = torch.Generator().manual_seed(seed)
    count = -(-tokens // TOPIC_TOKENS)
    centre = _unit(torch.randn(heads, count, WIDTH, generator=generator))
    content = torch.randn(heads, count, WIDTH, generator=generator)
    topic = torch.arange(tokens) // TOPIC_TOKENS
    asked = (torch.rand(heads, tokens, generator=generator) * (topic + 1)).long()
    size = math.sqrt(_OWN_LOGIT * math.sqrt(WIDTH))
    aim = centre.gather(1, asked[..., None].expand(-1, -1, WIDTH))
    parts = aim * size, centre[:, topic] * size, content[:, topic]
    noisy = (x + _NOISE * torch.randn(x.shape, generator=generator) for x in parts)
    return Inputs(*(x[None] for x in noisy))


def structureless(tokens: int, *, sharpness: float = 4.0, heads: int = 1, seed: int = 0) -> Inputs:
    """Independent normal queries, keys and values; logits have the deviation `sharpness`."""
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (
        torch.randn(1, heads, tokens, WIDTH, generator=generator) for _ in range(3)
    )
    return Inputs(query * sharpness, key, value)


def aligned(tokens: int, *, sharpness: float = 1.0, heads: int = 1, seed: int = 0) -> Inputs:
    """`structureless`, but every value is its key: all tiles err in the same direction."""
    query, key, _ = structureless(tokens, sharpness=sharpness, heads=heads, seed=seed)
    return Inputs(query, key, key.clone())


def hidden_key(tokens: int, *, logit: float = 18.0, heads: int = 1, seed: int = 0) -> Inputs:
    """Flat attention, but for one key in a thousand, which one query in a thousand asks for.

    Its tile has a mean like any other, and only its own spread tells that a key is hidden there.
    """
    generator = torch.Generator().manual_seed(seed)
    query, key, value = structureless(tokens, sharpness=0.3, heads=heads, seed=seed)
    for head in range(heads):
        for place in range(100, tokens, 1000):
            asking = int(torch.randint(tokens // 2, tokens, (), generator=generator))
            mark = _unit(torch.randn(WIDTH, generator=generator))
            size = math.sqrt(logit * math.sqrt(WIDTH))
            key[0, head, place], query[0, head, asking] = size * mark, size * mark
    return Inputs(query, key, value)


def disguised(tokens: int, *, heads: int = 1, seed: int = 0) -> Inputs:
    """Keys that alternate along (1, ..., 1), which all queries point at; values alternate too.

    Any run of neighbours has the mean 0 in keys and values, and its logits are 2 and -2. Coordinate
    by coordinate their variance is a 32nd of that: an estimate without covariances is blind.
    """
    generator = torch.Generator().manual_seed(seed)
    side = 1 - 2 * (torch.arange(tokens) % 2).float()
    along = torch.full((heads, tokens, WIDTH), WIDTH**-0.5)
    value = torch.zeros_like(along)
    value[..., 0] = side
    faint = 1e-3 * torch.randn(along.shape, generator=generator)
    size = math.sqrt(2 * math.sqrt(WIDTH))
    return Inputs((along * size)[None], (along * side[:, None] * size + faint)[None], value[None])


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1)


KINDS: dict[str, Callable[..., Inputs]] = {
    "topics": topics,
    "structureless": structureless,
    "values equal keys": aligned,
    "hidden keys": hidden_key,
    "disguised keys": disguised,
}
