"""Reading super-blocks of tiles: the own tile by its flowing pattern, all others by their sums.

Within a super-block the keys of other tiles are weighed pair by pair, which is cheaper than sums
over features for so few; sums are made of whole super-blocks alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..fidelity_attention import FidelityKernel
from .pattern_flow import PatternFlow, flow_patterns, longest_step

SUPER_BLOCK = 256
"""Tokens; a whole number of tiles as near as can be."""


class Tokens(NamedTuple):
    """Whole tiles of tokens, time on the last axis but one; None for what there is not.

    query [B, H, L, m] and key [B, G, L, m]: unit states. value [B, G, L, E + 1]: with a last
    channel of ones. weight [B, G or 1, L, 1]: factors on keys, 0 where there is no token.
    points [B, G, L, n]: tangents of keys. reads [B, H, L, S]: shares of the routes.
    writes [B, G, L, S + 1]: logits of the routes and of nowhere, whose tile means count.
    live [B, 1, L, 1]: 1 for tokens. full [B, 1, L, 1]: 1 for tokens of tiles that are full.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    weight: Tensor
    points: Tensor | None = None
    reads: Tensor | None = None
    writes: Tensor | None = None
    live: Tensor | None = None
    full: Tensor | None = None

    def cut(self, start: int, stop: int) -> Tokens:
        """The tokens from `start` to before `stop`."""
        return Tokens._make(None if t is None else t[..., start:stop, :] for t in self)

    @property
    def length(self) -> int:
        """L."""
        return self.key.shape[2]


@dataclass(frozen=True, kw_only=True)
class BlockReader:
    """How the tokens of a super-block are read.

    Attributes:
        kernel: fidelity, with its background.
        tile_size: b.
        is_causal: own tile up to the token itself, and tiles before; otherwise all.
        near: factor on the weights of the own tile.
        flow: of own-tile patterns, or None.
    """

    kernel: FidelityKernel
    tile_size: int
    is_causal: bool
    near: float = 1.0
    flow: PatternFlow | None = None

    @property
    def super_block(self) -> int:
        """Tokens that are read at once."""
        return max(1, SUPER_BLOCK // self.tile_size) * self.tile_size

    def read(self, tokens: Tokens, sums: Tensor | None) -> Tensor:
        """sum_j W_ij (v_j, 1) of each query [B, H, L, E + 1], over `sums` and the super-block."""
        routes = self.routes(tokens)
        out = self._own(tokens)
        if tokens.length > self.tile_size:
            out = out + self._others(tokens, routes)
        return out if sums is None else out + self._before(tokens, sums)

    def absorb(self, tokens: Tokens) -> Tensor:
        """sum_j a_s(t_j) w_j phi(k_j) (v_j, 1) over the keys [B, G, S, F, E + 1]."""
        weight = tokens.weight if tokens.full is None else tokens.weight * tokens.full
        features = (self.kernel.feature_map(tokens.key) * weight).mT[:, :, None]
        routes = self.routes(tokens)
        if routes is None:
            return features @ tokens.value[:, :, None]
        shares = routes.repeat_interleave(self.tile_size, 2).mT[..., None]  # [B, G, S, L, 1]
        return features @ (tokens.value[:, :, None] * shares)

    def routes(self, tokens: Tokens) -> Tensor | None:
        """a_s(t) of each tile [B, G, n, S], from the mean of its tokens' logits."""
        if tokens.writes is None:
            return None
        logits = self._tiles(tokens.writes)
        if tokens.live is None:
            return logits.mean(-2).softmax(-1)[..., :-1]
        live = self._tiles(tokens.live)
        mean = (logits * live).sum(-2) / live.sum(-2).clamp(min=1)
        return mean.softmax(-1)[..., :-1]

    def patterns(self, tokens: Tokens) -> tuple[Tensor, Tensor | None]:
        """Weights of own-tile keys before the flow [B, G, R, n, b, b], and conductances."""
        heads = tokens.key.shape[1]
        query = self._tiles(tokens.query).unflatten(1, (heads, -1))
        weights = self.kernel.weights(query, self._tiles(tokens.key)[:, :, None])
        weights = weights * (self.near * self._tiles(tokens.weight).mT[:, :, None])
        weights = weights.tril() if self.is_causal else weights
        if self.flow is None:
            return weights, None
        assert tokens.points is not None
        conductance = self.flow.conductance(self._tiles(tokens.points))
        if tokens.live is not None:
            live = self._tiles(tokens.live)
            conductance = conductance * (live * live.mT)
        return weights, conductance[:, :, None]

    def step_size(self, heads: int) -> Tensor:
        """tau of each step, laid out as patterns are [steps, G, R, 1, 1, 1]."""
        assert self.flow is not None
        rates: Tensor = self.flow.rates.unflatten(1, (heads, -1))
        return rates[..., None, None, None] * longest_step(self.tile_size)

    def _own(self, tokens: Tokens) -> Tensor:
        weights, conductance = self.patterns(tokens)
        if conductance is not None:
            steps = self.step_size(tokens.key.shape[1])
            weights = flow_patterns(weights, conductance, steps, is_causal=self.is_causal)
        read = weights @ self._tiles(tokens.value)[:, :, None]
        out: Tensor = read.flatten(3, 4).flatten(1, 2)
        return out

    def _others(self, tokens: Tokens, routes: Tensor | None) -> Tensor:
        heads, tiles = tokens.key.shape[1], tokens.length // self.tile_size
        query = tokens.query.unflatten(1, (heads, -1))
        weights = self.kernel.weights(query, tokens.key[:, :, None])  # [B, G, R, L, L]
        share = self._seen(tokens.length, weights)  # [L, n]
        if routes is not None:
            share = share * self.shares(tokens, routes)
        weights = weights.unflatten(-1, (tiles, -1)) * share[..., None]
        value = tokens.value * tokens.weight
        read: Tensor = weights.flatten(-2) @ value[:, :, None]
        return read.flatten(1, 2)

    def shares(self, tokens: Tokens, routes: Tensor) -> Tensor:
        """sum_s g_s(i) a_s(t) of each query and tile [B, G, R, L, n]."""
        assert tokens.reads is not None
        reads: Tensor = tokens.reads.unflatten(1, (routes.shape[1], -1))
        return reads @ routes.mT[:, :, None]

    def _before(self, tokens: Tokens, sums: Tensor) -> Tensor:
        heads = tokens.key.shape[1]
        features: Tensor = self.kernel.feature_map(tokens.query).unflatten(1, (heads, -1))
        if tokens.reads is None:
            return (features @ sums).flatten(1, 2)  # [B, G, 1, F, E + 1]: S stands where R does
        read = features[:, :, :, None] @ sums[:, :, None]  # [B, G, R, S, L, E + 1]
        shares: Tensor = tokens.reads.unflatten(1, (heads, -1)).mT[..., None]
        return (read * shares).sum(3).flatten(1, 2)

    def _seen(self, length: int, like: Tensor) -> Tensor:
        """1 where a token sees another tile [L, n]."""
        tile = torch.arange(length, device=like.device) // self.tile_size
        other = torch.arange(length // self.tile_size, device=like.device)
        seen = tile[:, None] > other if self.is_causal else tile[:, None] != other
        return seen.to(like)

    def _tiles(self, tensor: Tensor) -> Tensor:
        """[B, H, L, *] as [B, H, n, b, *]."""
        tiles: Tensor = tensor.unflatten(2, (-1, self.tile_size))
        return tiles
