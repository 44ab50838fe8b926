"""How fast the cycles of a graph grow and how well it mixes, from the poles of its Ihara zeta."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import CorrectnessError
from ..graph import Graph
from .graph_zeta import hashimoto_eigenvalues, hashimoto_product

_DENSE_NODES = 200
_KRYLOV_STEPS = 80
_POWER_STEPS = 100
_RESTARTS = 20
_MOST_DENSE_NODES = 1000
_LARGEST_RESIDUAL = 1e-9


def cycle_growth(graph: Graph) -> float:
    """r, the largest eigenvalue of B; weights count 1.

    q on a (q+1)-regular graph; up to 200 nodes from all eigenvalues. Beyond, Arnoldi's method on
    the sparse operator, O(m) a product, begun where 100 steps of power iteration lead and begun
    again until |B x - r x| <= 1e-9 r |x|: groups of nodes that hardly know each other have nearly
    equal eigenvalues, between which power iteration alone does not decide, and long chains of
    nodes of degree 2 have many of about one modulus. Where 20 beginnings do not lead there, all
    eigenvalues are asked once more, up to 1000 nodes. It works on the part that is left when nodes
    of degree 1 are taken off again and again (they carry no cycle); a shift keeps bipartite graphs
    from swinging. 0 on a forest.

    Raises:
        CorrectnessError: beyond 1000 nodes, 20 beginnings do not lead there (long chains).
    """
    core = _core(graph)
    if not len(core.edges):
        return 0.0
    if _is_regular(core):
        return float(core.degrees()[0] - 1)
    if core.nodes <= _DENSE_NODES:
        return float(hashimoto_eigenvalues(core).real.max())
    shift = len(core.edges) / core.nodes
    vector = core.weights.new_ones(2 * len(core.edges))
    for _ in range(_POWER_STEPS):
        vector = hashimoto_product(core, vector) + shift * vector
        vector = vector / vector.norm()
    for _ in range(_RESTARTS):
        inner, basis = _arnoldi(lambda x: hashimoto_product(core, x), vector)
        values, vectors = torch.linalg.eig(inner)
        leading = int(values.real.argmax())
        growth = float(values[leading].real)
        # The eigenvector of the largest eigenvalue has no negative entry (Perron and Frobenius).
        vector = (vectors[:, leading] @ basis.to(vectors)).abs()
        residual = hashimoto_product(core, vector) - growth * vector
        if float(residual.norm()) <= _LARGEST_RESIDUAL * growth * float(vector.norm()):
            return growth
    if core.nodes <= _MOST_DENSE_NODES:
        return float(hashimoto_eigenvalues(core).real.max())
    raise CorrectnessError(
        f"Arnoldi's method does not find the growth of cycles of a graph of {core.nodes} nodes; "
        "contract its long chains, or ask hashimoto_eigenvalues for all, in (2 n)^3 steps"
    )


@dataclass(frozen=True)
class ZetaSummary:
    """What the poles of the Ihara zeta function tell of a graph (weights count 1).

    Args:
        growth: r, the largest eigenvalue of B; the pole nearest to 0 is 1/r.
        cycle_entropy: ln r, at which the number of reduced walks grows; -inf on a forest.
        second: the next largest |mu|, not counting -r on a bipartite graph.
        spectral_gap: 1 - second/r, in [0, 1]; 0 on forests.
        ramanujan_margin: 1 - second/sqrt(r). A graph keeps the Riemann hypothesis of graphs when
            this is not negative: no pole between 1/r and 1/sqrt(r) in modulus. On a
            (q+1)-regular graph it is 0 just when every |lambda| <= 2 sqrt q, and never more.
    """

    growth: float
    cycle_entropy: float
    second: float
    spectral_gap: float
    ramanujan_margin: float

    @property
    def is_ramanujan(self) -> bool:
        """Whether the margin is 0 or more, up to rounding: as good an expander as degrees let."""
        return self.ramanujan_margin >= -1e-7


def zeta_summary(graph: Graph) -> ZetaSummary:
    """The growth of cycles, the gap and the Ramanujan margin of a graph, however its edges weigh.

    Up to 200 nodes from all eigenvalues; beyond, r as in `cycle_growth` and the next one by 80
    steps of Arnoldi's method: from below on regular graphs, where it is Lanczos's on A; on others
    an estimate, too rough to use where cycle_growth had to begin again often.

    Sources: Terras (2011), chapter 7 and definition 8.3 (the weak Riemann hypothesis of graphs).
    """
    core = _core(graph)
    if not len(core.edges):
        return ZetaSummary(0.0, -math.inf, 0.0, 0.0, 0.0)
    growth = cycle_growth(core)
    second = max(_second(core, growth), 0.0)
    return ZetaSummary(
        growth, math.log(growth), second, 1 - second / growth, 1 - second / math.sqrt(growth)
    )


def _second(core: Graph, growth: float) -> float:
    leading = 2 if _is_bipartite(core) else 1
    if _is_regular(core):
        values = _adjacency_eigenvalues(core).abs().sort(descending=True).values
        largest = float(values[leading]) if len(values) > leading else 0.0
        # mu^2 - lambda mu + q = 0
        inside = max(largest**2 / 4 - growth, 0.0)
        return largest / 2 + math.sqrt(inside) if inside else math.sqrt(growth)
    if core.nodes <= _DENSE_NODES:
        return float(hashimoto_eigenvalues(core)[leading].abs())
    values = _ritz_values(lambda x: hashimoto_product(core, x), _any(2 * len(core.edges)))
    return float(values.abs().sort(descending=True).values[leading])


def _adjacency_eigenvalues(graph: Graph) -> Tensor:
    if graph.nodes <= 4 * _DENSE_NODES:
        values: Tensor = torch.linalg.eigvalsh(graph.adjacency())
        return values
    first, second = graph.edges.unbind(1)

    def product(vector: Tensor) -> Tensor:
        there = torch.zeros_like(vector).index_add(0, first, vector[second])
        return there.index_add(0, second, vector[first])

    return _ritz_values(product, _any(graph.nodes))


def _any(size: int) -> Tensor:
    """A vector that is in no eigenspace, the same at every call."""
    return torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _ritz_values(product: Callable[[Tensor], Tensor], vector: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvals(_arnoldi(product, vector)[0])
    return values


def _arnoldi(product: Callable[[Tensor], Tensor], vector: Tensor) -> tuple[Tensor, Tensor]:
    """The operator on its Krylov space, and a basis of that (Saad, Iterative Methods, 6.2)."""
    size = len(vector)
    steps = min(_KRYLOV_STEPS, size - 1)
    basis = torch.zeros(steps + 1, size, dtype=torch.float64)
    inner = torch.zeros(steps + 1, steps, dtype=torch.float64)
    basis[0] = vector / vector.norm()
    for step in range(steps):
        vector = product(basis[step])
        for _ in range(2):
            parts = basis[: step + 1] @ vector
            inner[: step + 1, step] += parts
            vector = vector - parts @ basis[: step + 1]
        inner[step + 1, step] = vector.norm()
        if float(inner[step + 1, step]) < 1e-12:
            steps = step + 1
            break
        basis[step + 1] = vector / vector.norm()
    return inner[:steps, :steps], basis[:steps]


def _core(graph: Graph) -> Graph:
    """The graph less its nodes of degree 0 and 1, again and again; nodes renumbered."""
    edges = graph.edges
    while True:
        degrees = torch.bincount(edges.flatten(), minlength=graph.nodes)
        kept = edges[(degrees[edges] > 1).all(1)]
        if len(kept) == len(edges):
            break
        edges = kept
    nodes, renumbered = edges.unique(return_inverse=True)
    return Graph(len(nodes), renumbered.view(-1, 2))


def _is_regular(graph: Graph) -> bool:
    degrees = graph.degrees()
    return bool((degrees == degrees[0]).all())


def _is_bipartite(graph: Graph) -> bool:
    """Whether the nodes take two colours, asked of the first component's spanning tree."""
    neighbours = graph.neighbours()
    colours = [-1] * graph.nodes
    for start in range(graph.nodes):
        if colours[start] >= 0:
            continue
        colours[start], waiting = 0, [start]
        while waiting:
            node = waiting.pop()
            for other in neighbours[node]:
                if colours[other] < 0:
                    colours[other] = 1 - colours[node]
                    waiting.append(other)
                elif colours[other] == colours[node]:
                    return False
    return True
