"""Quantum geometric attention as its definition says, token by token and tile by tile."""

from __future__ import annotations

from itertools import combinations, product

import torch
from torch import Tensor

from .pattern_flow import PatternFlow
from .rows import RouteShares


def reference_quantum_geometric_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    tile_size: int,
    is_causal: bool = False,
    gate: Tensor | None = None,
    points: Tensor | None = None,
    flow: PatternFlow | None = None,
    routes: RouteShares | None = None,
    key_padding_mask: Tensor | None = None,
    background: float,
    near: float = 1.0,
) -> Tensor:
    """The output of whole texts; arguments as `quantum_geometric_attention` has them."""
    shared = query.shape[1] // key.shape[1]
    out = value.new_zeros(*query.shape[:3], value.shape[-1])
    for b, h in product(range(query.shape[0]), range(query.shape[1])):
        weights, places = reference_weights(
            query[b, h],
            key[b, h // shared],
            tile_size=tile_size,
            is_causal=is_causal,
            gate=None if gate is None else gate[b, h // shared],
            points=None if points is None else points[b, h // shared],
            flow=None if flow is None else _of_head(flow, h, h // shared),
            shares=None if routes is None else (routes.reads[b, h], routes.writes[b, h // shared]),
            places=None if key_padding_mask is None else key_padding_mask[b].nonzero()[:, 0],
            background=background,
            near=near,
        )
        for row, i in zip(weights, places, strict=True):
            out[b, h, i] = (row / row.sum()) @ value[b, h // shared, places]
    return out


def reference_weights(
    query: Tensor,
    key: Tensor,
    *,
    tile_size: int,
    is_causal: bool,
    gate: Tensor | None,
    points: Tensor | None,
    flow: PatternFlow | None,
    shares: tuple[Tensor, Tensor] | None,
    places: Tensor | None,
    background: float,
    near: float,
) -> tuple[list[Tensor], list[int]]:
    """A row of weights W_ij over the tokens of one head for each token, and their places."""
    found = list(range(len(key))) if places is None else places.tolist()
    tiles = [found[start : start + tile_size] for start in range(0, len(found), tile_size)]
    rows = []
    for own, tile in enumerate(tiles):
        for i in tile:
            parts = []
            for number, other in enumerate(tiles):
                pairs = torch.stack([_pair(query[i], key[j], background) for j in other])
                if gate is not None:
                    pairs = pairs * gate[other].exp()
                if number == own:
                    seen = [n for n, j in enumerate(other) if j <= i or not is_causal]
                    parts.append(near * _own_tile(pairs, seen, other, points, flow, tile_size))
                elif is_causal and number > own:
                    parts.append(torch.zeros_like(pairs))
                elif shares is None:
                    parts.append(pairs)
                else:
                    reads, writes = shares
                    written = writes[other].mean(0).softmax(-1)[:-1]
                    parts.append(pairs * (reads[i] @ written))
            rows.append(torch.cat(parts))
    return rows, found


def _own_tile(
    pairs: Tensor,
    seen: list[int],
    tokens: list[int],
    points: Tensor | None,
    flow: PatternFlow | None,
    tile_size: int,
) -> Tensor:
    """The row of the query's own tile after the flow: p <- p - tau L p on the keys it sees."""
    row = torch.zeros_like(pairs)
    row[seen] = pairs[seen]
    if flow is None:
        return row
    assert points is not None
    laplacian = pairs.new_zeros(len(seen), len(seen))
    for a, b in combinations(range(len(seen)), 2):
        distance = _distance(points[tokens[seen[a]]], points[tokens[seen[b]]], flow.radius)
        edge = pairs.new_zeros(len(seen))
        edge[a], edge[b] = 1, -1
        conductance = torch.exp(-((distance / flow.width[0]) ** 2) / 2)
        laplacian = laplacian + conductance * torch.outer(edge, edge)
    for rate in flow.rates[:, 0]:
        step = rate / max(1, tile_size - 1)
        row = row.index_put((torch.tensor(seen),), row[seen] - step * (laplacian @ row[seen]))
    return row


def _distance(first: Tensor, second: Tensor, radius: float | None) -> Tensor:
    if radius is None:
        flat: Tensor = torch.linalg.vector_norm(first - second)
        return flat
    (x0, u), (y0, v) = _point(first / radius), _point(second / radius)
    distance: Tensor = radius * torch.acosh(x0 * y0 - u @ v)
    return distance


def _point(tangent: Tensor) -> tuple[Tensor, Tensor]:
    """(X_0, u) = (cosh r, e sinh r), the end of the geodesic from the origin."""
    r = torch.linalg.vector_norm(tangent)
    return r.cosh(), tangent / r * r.sinh()


def _pair(query: Tensor, key: Tensor, background: float) -> Tensor:
    overlap: Tensor = query @ key / (query @ query * (key @ key)).sqrt()
    return overlap.square() + background


def _of_head(flow: PatternFlow, head: int, group: int) -> PatternFlow:
    return PatternFlow(
        rates=flow.rates[:, head, None], width=flow.width[group, None], radius=flow.radius
    )
