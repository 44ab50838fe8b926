"""The shape of a head's attention: its holes, its bottlenecks and how fast its paths multiply."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.arithmetic import ZetaSummary, zeta_summary
from ...mathematics.geometry import balanced_forman_curvature
from ...mathematics.graph import Graph
from ...mathematics.topology import PersistenceSummary, persistence_summary
from .attention_graph import attention_graph


@dataclass(frozen=True)
class CurvatureSummary:
    """Balanced Forman curvature over the edges of a graph; see `balanced_forman_curvature`.

    Args:
        mean, least: over all edges, 0 without edges.
        negative_share: of the edges, in [0, 1].
        bottlenecks: the most negative edges, lowest first: pairs of tokens that few paths join.
    """

    mean: float
    least: float
    negative_share: float
    bottlenecks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class HeadStructure:
    """What the graph of a head's strongest links is like.

    Args:
        graph: what was looked at; see `attention_graph`.
        persistence: components, loops and how much attention they last through.
        curvature: where the graph is narrow.
        zeta: growth of its cycles and how good an expander it is.
    """

    graph: Graph
    persistence: PersistenceSummary
    curvature: CurvatureSummary
    zeta: ZetaSummary


def head_structure(
    query: Tensor, key: Tensor, *, top_k: int = 8, bottlenecks: int = 3, **settings: object
) -> HeadStructure:
    """Figures of the graph of a head's `top_k` strongest links.

    These are descriptions. None of them has been shown to improve a model: adding edges where
    curvature is low joins a graph less well than adding them at random.

    Args:
        query, key: [T, D] of one head, as the model attends with them.
        top_k, settings: of `attention_graph`.
        bottlenecks: so many of the most negative edges are named.
    """
    graph = attention_graph(query, key, top_k=top_k, **settings)  # type: ignore[arg-type]
    return HeadStructure(
        graph,
        persistence_summary(graph, superlevel=True),
        curvature_summary(graph, bottlenecks),
        zeta_summary(graph),
    )


def curvature_summary(graph: Graph, bottlenecks: int = 3) -> CurvatureSummary:
    """Mean, least and share of negative curvature, and the edges where it is lowest."""
    if bottlenecks < 0:
        raise ArgumentError("bottlenecks", bottlenecks, "a number >= 0", "pass bottlenecks=3")
    values = balanced_forman_curvature(graph)
    if not len(values):
        return CurvatureSummary(0.0, 0.0, 0.0, ())
    lowest = values.argsort(stable=True)[:bottlenecks]
    named = [(int(i), int(j)) for i, j in graph.edges[lowest[values[lowest] < 0]].tolist()]
    negative = (values < 0).to(torch.float64).mean()
    return CurvatureSummary(
        float(values.mean()), float(values.min()), float(negative), tuple(named)
    )
