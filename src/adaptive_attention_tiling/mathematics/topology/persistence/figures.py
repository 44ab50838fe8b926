"""Figures of persistence diagrams: Betti curves, total persistence, entropy, landscapes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ....errors import ArgumentError
from ...graph import Graph
from .diagram import Diagram
from .persistence import Implementation, persistence


def betti_curve(diagram: Diagram, levels: Float[Tensor, " t"]) -> Int[Tensor, " t"]:
    """How many classes live at each level: birth <= t < death (birth >= t > death, superlevel)."""
    sign = -1 if diagram.superlevel else 1
    births, deaths = (sign * diagram.pairs).unbind(1)
    at = sign * levels[:, None]
    return ((births <= at) & (at < deaths)).sum(1)


def total_persistence(diagram: Diagram, order: float = 1.0) -> Float[Tensor, ""]:
    """sum_i |death_i - birth_i|^order over the classes that end."""
    return diagram.finite().lengths.pow(order).sum()


def persistence_entropy(diagram: Diagram) -> Float[Tensor, ""]:
    """-sum_i p_i ln p_i, p_i = l_i / sum l, of the lengths of classes that end; 0 if none does.

    Source: Rucco, Castiglione, Merelli and Pettini, Characterisation of the idiotypic immune
    network through persistent entropy (2016), definition 2.
    """
    lengths = diagram.finite().lengths
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return lengths.sum()
    shares = lengths / lengths.sum()
    return -(shares * shares.log()).sum()


def landscape(
    diagram: Diagram, levels: Float[Tensor, " t"], count: int = 1
) -> Float[Tensor, "count t"]:
    """lambda_k(t), the k-th largest of min(t - birth_i, death_i - t)_+ (falling: both reversed).

    Classes that never end rise without end. Source: Bubenik, Statistical topological data analysis
    using persistence landscapes, JMLR 16 (2015), section 2.2.
    """
    if count < 1:
        raise ArgumentError("count", count, "an integer >= 1", "pass count=1")
    sign = -1 if diagram.superlevel else 1
    births, deaths = (sign * diagram.pairs).unbind(1)
    at = sign * levels[:, None]
    tents = torch.minimum(at - births, deaths - at).clamp(min=0)  # [t, c]
    missing = tents.new_zeros(len(levels), max(0, count - len(diagram)))
    return torch.cat([tents, missing], 1).sort(1, descending=True).values[:, :count].T


@dataclass(frozen=True)
class PersistenceSummary:
    """What a graph's diagrams come to; the figures of length are differentiable in its weights.

    components: that never join, where all edges are there.
    loops, endless_loops: classes of H_1, and those of them that no triangles fill.
    total_persistence, entropy: [2], of H_0 and H_1.
    """

    components: int
    loops: int
    endless_loops: int
    total_persistence: Float[Tensor, " 2"]
    entropy: Float[Tensor, " 2"]


def persistence_summary(
    graph: Graph,
    *,
    superlevel: bool = False,
    end: float | None = None,
    node_level: float | None = None,
    implementation: Implementation | None = None,
) -> PersistenceSummary:
    """The figures of H_0 and H_1 of a graph; of a head's attention [n, n], for one,

        persistence_summary(strongest_edges(attention, 8), superlevel=True)

    Args:
        graph: distances, or similarities with superlevel: then those of a head's attention.
        end: where classes that never end are ended for lengths; if not given, 0 with superlevel,
            where no attention is left, and else such classes have no part in lengths.
        node_level, implementation: as in `persistence`.
    """
    diagrams = persistence(
        graph,
        1,
        superlevel=superlevel,
        node_level=node_level,
        implementation=implementation,
    )
    endless = [len(d.endless()) for d in diagrams]
    loops = len(diagrams[1])
    if end is None and superlevel:
        end = 0.0
    measured = diagrams if end is None else [d.ended(end) for d in diagrams]
    return PersistenceSummary(
        components=endless[0],
        loops=loops,
        endless_loops=endless[1],
        total_persistence=torch.stack([total_persistence(d) for d in measured]),
        entropy=torch.stack([persistence_entropy(d) for d in measured]),
    )
