"""Graphs like a given one, but without a plan beyond distances and favourites."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from ...mathematics.graph import Graph


def shuffled_graph(graph: Graph, generator: torch.Generator) -> Graph:
    """Each edge led from one of its ends, drawn at random, to another node about as far away.

    The new node lies in the same octave of distances, 2^b <= |i - j| < 2^(b + 1), on either side,
    and is drawn in proportion to its edges, so that links keep their decay with distance and hubs
    stay hubs. Weights go along; of edges that become alike one is kept, the heavier.

    Args:
        graph: nodes in the order of the text.
        generator: of the draws, on the CPU.
    """
    if not len(graph.edges):
        return graph
    edges = graph.edges.cpu()
    flip = torch.rand(len(edges), generator=generator) < 0.5
    kept, other = torch.where(flip[:, None], edges.flip(1), edges).unbind(1)
    nodes = torch.arange(graph.nodes)
    octave = octaves((kept[:, None] - nodes).abs())
    chances = graph.degrees().cpu().double() * (octave == octaves((kept - other).abs())[:, None])
    drawn = chances.multinomial(1, generator=generator)[:, 0]
    pairs, index = torch.stack([kept, drawn], 1).sort(1).values.unique(dim=0, return_inverse=True)
    weights = graph.weights.new_zeros(len(pairs))
    weights = weights.scatter_reduce(0, index.to(weights.device), graph.weights, "amax")
    return Graph(graph.nodes, pairs.to(graph.edges.device), weights)


def octaves(distance: Int[Tensor, "*b"]) -> Int[Tensor, "*b"]:
    """floor(log2 d), and -1 for d = 0."""
    return distance.double().clamp_min(0.5).log2().floor().long()
