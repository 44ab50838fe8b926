"""Ricci flow of the lengths of a graph's edges, and the communities that it pulls apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import ArgumentError
from ..geometry.graph_curvature import ollivier_curvature, path_lengths
from ..graph import Graph

_IDLENESS = 1 / 2


@dataclass(frozen=True)
class GraphFlow:
    """Lengths and curvatures of the edges of one graph along a flow.

    Args:
        graph: whose weights walks follow.
        lengths: [t, m], of the same sum in every state.
        curvatures: of Ollivier with idleness 1/2 at these lengths, [t, m].
    """

    graph: Graph
    lengths: Float[Tensor, "t m"]
    curvatures: Float[Tensor, "t m"]

    def communities(self, threshold: float | None = None) -> Int[Tensor, " n"]:
        """The part of each node, numbered from 0, once edges longer than `threshold` are cut.

        Args:
            threshold: a length; None takes the cut of largest modularity, which the sizes of the
                parts decide where several cuts part the same clusters.

        Raises:
            ArgumentError: a threshold <= 0.

        Source: Ni, Lin, Luo and Gao, Community detection on networks with Ricci flow (2019).
        """
        last = self.lengths[-1]
        if threshold is not None:
            if not threshold > 0:
                raise ArgumentError("threshold", threshold, "a length > 0", "pass 2.0")
            return _components(self.graph, last <= threshold)
        cuts = [_components(self.graph, last <= cut) for cut in last.unique().flip(0).tolist()]
        return max(cuts, key=lambda parts: float(modularity(self.graph, parts)))


def graph_ricci_flow(
    graph: Graph,
    lengths: Float[Tensor, " m"] | None = None,
    *,
    steps: int = 20,
    step: float = 1.0,
) -> GraphFlow:
    """Lengths that shrink where curvature is positive and grow where it is negative.

        w_e <- (1 - step kappa_e) d(x, y),    then all times a number that keeps their sum

    with d the length of the shortest path between the ends of the edge and kappa Ollivier's
    curvature of idleness 1/2, for equal weights half that of Lin, Lu and Yau. Bridges between
    clusters grow, edges within them shrink.

    Args:
        graph: connected; weights are those of the walks and stay.
        lengths: at the start, > 0; None makes each of them 1.
        steps: how many.
        step: > 0, with step kappa < 1 on every edge, where lengths stay positive; kappa <= 1.

    Raises:
        ArgumentError: lengths <= 0; a graph that is not connected or has no edges; a step that is
            not positive or, in the state where it is seen, beyond 1 / max kappa.

    Source: Ni, Lin, Luo and Gao, Community detection on networks with Ricci flow (2019), equation
    3, where step = 1; Bai, Lin, Lu, Wang and Yau, Ollivier Ricci-flow on weighted graphs (2021).
    """
    _check(graph, steps, step)
    ones = torch.ones(len(graph.edges), dtype=torch.float64, device=graph.edges.device)
    now = ones if lengths is None else lengths.detach().double()
    if not bool(path_lengths(graph, now).isfinite().all()):
        raise ArgumentError(
            "graph", "several components", "a connected graph", "flow each one on its own"
        )
    kept, bends = [now], [ollivier_curvature(graph, _IDLENESS, now)]
    total, (first, second) = now.sum(), graph.edges.unbind(1)
    for _ in range(steps):
        share = 1 - step * bends[-1]
        if not bool((share > 1e-12).all()):
            raise ArgumentError(
                "step", step, f"less than 1 / max kappa = {1 / float(bends[-1].max()):.6g}",
                "take smaller steps",
            )  # fmt: skip
        now = share * path_lengths(graph, now)[first, second]
        now = now * (total / now.sum())
        kept.append(now)
        bends.append(ollivier_curvature(graph, _IDLENESS, now))
    return GraphFlow(graph, torch.stack(kept), torch.stack(bends))


def modularity(graph: Graph, parts: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Q = sum over parts of (weight inside / weight - (weight at its nodes / 2 weight)^2).

    Source: Newman, Modularity and community structure in networks (2006).
    """
    if parts.shape != (graph.nodes,) or parts.dtype != torch.int64:
        raise ArgumentError(
            "parts", f"{parts.dtype} {list(parts.shape)}", f"int64 [{graph.nodes}]", "one a node"
        )
    _, parts = parts.unique(return_inverse=True)
    ends = parts[graph.edges]
    inside = graph.weights[ends[:, 0] == ends[:, 1]].sum()
    at = graph.weights.new_zeros(graph.nodes)
    at = at.index_add(0, ends[:, 0], graph.weights).index_add(0, ends[:, 1], graph.weights)
    weight = graph.weights.sum()
    return inside / weight - (at / (2 * weight)).square().sum()


def _components(graph: Graph, kept: Tensor) -> Tensor:
    """Numbers of the components, in the order of their first nodes."""
    root = list(range(graph.nodes))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for x, y in graph.edges[kept].tolist():
        root[find(y)] = find(x)
    names: dict[int, int] = {}
    return torch.tensor(
        [names.setdefault(find(node), len(names)) for node in range(graph.nodes)],
        device=graph.edges.device,
    )


def _check(graph: Graph, steps: int, step: float) -> None:
    if len(graph.edges) == 0:
        raise ArgumentError("graph", "no edges", "one or more", "there is nothing to flow")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ArgumentError("steps", steps, "an integer >= 1", "pass steps=20")
    if not 0 < step < math.inf:
        raise ArgumentError("step", step, "a number > 0", "pass step=1.0")
