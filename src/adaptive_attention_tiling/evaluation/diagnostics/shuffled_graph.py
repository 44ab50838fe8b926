"""Graphs like a given one, but without a plan beyond distances and favourites."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from ...mathematics.graph import Graph


def shuffled_graphs(graph: Graph, count: int, generator: torch.Generator) -> list[Graph]:
    """Each edge led from one of its ends, drawn at random, to another node about as far away.

    The new node lies in the same octave of distances, 2^b <= |i - j| < 2^(b + 1), on either side,
    and is drawn in proportion to its edges, so that links keep their decay with distance and hubs
    stay hubs. Weights go along; of edges that become alike one is kept, the heavier.

    Args:
        graph: nodes in the order of the text.
        count: how many are drawn, each from the graph itself.
        generator: of the draws, on the CPU.
    """
    if not len(graph.edges):
        return [graph] * count
    edges = graph.edges.cpu()
    kept, other = torch.cat([edges, edges.flip(1)]).unbind(1)
    nodes = torch.arange(graph.nodes)
    alike = octaves((kept[:, None] - nodes).abs()) == octaves((kept - other).abs())[:, None]
    chances = graph.degrees().cpu().double() * alike
    drawn = chances.multinomial(count, replacement=True, generator=generator)
    end = (torch.rand(len(edges), count, generator=generator) < 0.5).long()
    kept = edges[:, :1].where(end == 0, edges[:, 1:])
    drawn = drawn[: len(edges)].where(end == 0, drawn[len(edges) :])
    pairs = torch.minimum(kept, drawn) * graph.nodes + torch.maximum(kept, drawn)
    return [_of_pairs(graph, column) for column in pairs.unbind(1)]


def _of_pairs(graph: Graph, pairs: Int[Tensor, " m"]) -> Graph:
    """Of edges i n + j with the weights of those of the graph."""
    pairs, index = pairs.to(graph.edges.device).unique(return_inverse=True)
    weights = graph.weights.new_zeros(len(pairs)).scatter_reduce(0, index, graph.weights, "amax")
    edges = torch.stack([pairs // graph.nodes, pairs % graph.nodes], 1)
    return Graph(graph.nodes, edges, weights)


def octaves(distance: Int[Tensor, "*b"]) -> Int[Tensor, "*b"]:
    """floor(log2 d), and -1 for d = 0."""
    return distance.double().clamp_min(0.5).log2().floor().long()
