"""Links that large parts of a head's graph hang by: bridges."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.graph import Graph
from .attention_communities import against, check_graph
from .head_structure import curvature_summary
from .shuffled_graph import shuffled_graphs


class AttentionBridge(NamedTuple):
    """A link of low curvature, and how much passes over it."""

    link: tuple[int, int]
    load: float
    """Current over it, in the mean over all pairs of tokens, in [0, 1/2]."""
    z: float
    """The same in standard deviations of the highest load of shuffled graphs."""
    p_value: float
    """Chance of so high a load on any of their links; no less than 1 / (shuffles + 1)."""


def find_bridges(
    graph: Graph,
    *,
    candidates: int = 3,
    shuffles: int = 99,
    generator: torch.Generator | None = None,
) -> list[AttentionBridge]:
    """The links of lowest balanced Forman curvature, each with the load that would make it one.

    The load of a link is the current over it when 1 flows between two tokens and each link
    conducts alike, in the mean over all pairs of tokens:

        load(x, y) = mean over s < t of |(e_x - e_y)^T L^+ (e_s - e_t)|,     0 for s, t apart

    A link that alone joins parts with shares p and 1 - p of the tokens has 2 p (1 - p). In a graph
    with few links a low curvature says little, as all of them have it; the load tells. The null is
    the highest load in each of `shuffled_graphs`.

    Args:
        graph: of `attention_graph`, in the order of the text; at most 2048 tokens. Its weights
            are not used.
        candidates: so many links of lowest curvature are judged.
        shuffles: graphs of the null, >= 1.
        generator: of the shuffles, on the CPU; by default a new one with seed 0.

    Topping et al., Understanding over-squashing and bottlenecks on graphs via curvature (2022);
    Newman, A measure of betweenness centrality based on random walks (2005), section 2, there of
    nodes.
    """
    check_graph(graph, shuffles)
    if candidates < 1:
        raise ArgumentError("candidates", candidates, "an integer >= 1", "pass candidates=3")
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    links = curvature_summary(graph, candidates).bottlenecks
    if not links:
        return []
    loads = dict(zip(map(tuple, graph.edges.tolist()), link_loads(graph).tolist(), strict=True))
    null = torch.stack(
        [link_loads(shuffled).max() for shuffled in shuffled_graphs(graph, shuffles, generator)]
    )
    return [AttentionBridge(link, loads[link], *against(loads[link], null)) for link in links]


def link_loads(graph: Graph) -> Float[Tensor, " m"]:
    """Mean current over each link, in float64; see `find_bridges`."""
    ones = torch.ones(len(graph.edges), dtype=torch.float64, device=graph.edges.device)
    adjacency = Graph(graph.nodes, graph.edges, ones).adjacency()
    laplacian = adjacency.sum(1).diag() - adjacency
    values, vectors = torch.linalg.eigh(laplacian)
    flat = values < 1e-9 * graph.nodes
    inverse = (vectors / torch.where(flat, torch.inf, values)) @ vectors.mT
    first, second = graph.edges.unbind(1)
    together = (vectors[:, flat] @ vectors[:, flat].mT > 1e-9)[first]
    # No current flows to tokens of other components: they are sorted to the end and left out.
    potential = (inverse[first] - inverse[second]).masked_fill(~together, torch.inf).sort(1).values
    inside = together.sum(1, keepdim=True)
    place = torch.arange(graph.nodes, device=potential.device)
    # The sum of all differences of sorted numbers.
    terms = (2 * place + 1 - inside) * potential.masked_fill(place >= inside, 0)
    loads: Tensor = terms.sum(1) / (graph.nodes * (graph.nodes - 1) / 2)
    return loads
