"""Ihara and Bartholdi zeta functions of graphs: how fast cycles grow, how well a graph mixes.

A closed walk is reduced when it never turns back on the edge it came by, its end included. With
N_l the number of reduced closed walks of length l (starts told apart),

    zeta(u) = exp(sum_l N_l u^l / l) = prod over prime cycles C of (1 - u^|C|)^-1
            = 1 / det(I - u B),

B the Hashimoto matrix over the 2m directed edges: B_ef = 1 when f begins where e ends and f is
not e turned round. Weights w_e make B_ef = w_e, so that a cycle counts with the product of its
weights. Sources: Terras, Zeta Functions of Graphs (2011), chapters 2 and 11; Hashimoto (1989).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ...errors import ArgumentError
from ..graph import Graph
from .artin_mazur import orbits
from .integer_matrix import power_traces, reverse_characteristic_polynomial


def directed_edges(graph: Graph) -> Int[Tensor, "e 2"]:
    """Every edge in both directions, e = 2 m: the edges as given, then the same turned round."""
    return torch.cat([graph.edges, graph.edges.flip(1)])


def hashimoto_matrix(graph: Graph) -> Float[Tensor, "e e"]:
    """B_ef = w_e [head(e) = tail(f)] [f is not e turned round]; dense, with gradients."""
    edges = directed_edges(graph)
    follows = edges[:, None, 1] == edges[None, :, 0]
    turns = (edges[:, None] == edges[None].flip(2)).all(2)
    weights = graph.weights.repeat(2)
    return torch.where(follows & ~turns, weights[:, None], weights.new_zeros(()))


def hashimoto_product(graph: Graph, vectors: Shaped[Tensor, "*b e"]) -> Shaped[Tensor, "*b e"]:
    """B x in O(m) and without B: what leaves the head of each edge, less the edge turned round.

        (B x)_e = w_e (sum_{f: tail(f) = head(e)} x_f - x_{e turned round})

    Args:
        graph: m edges.
        vectors: x over directed edges, in the order of `directed_edges`.
    """
    edges = directed_edges(graph)
    if vectors.shape[-1:] != edges.shape[:1]:
        raise ArgumentError(
            "vectors", f"shape {list(vectors.shape)}", f"[..., {len(edges)}]", "one entry an edge"
        )
    leaving = vectors.new_zeros(*vectors.shape[:-1], graph.nodes)
    leaving = leaving.index_add(-1, edges[:, 0], vectors)
    turned = vectors.roll(len(graph.edges), -1)
    return graph.weights.repeat(2).to(vectors) * (leaving[..., edges[:, 1]] - turned)


def ihara_determinant(
    graph: Graph, points: Shaped[Tensor, "*b"], *, by: str = "nodes"
) -> Shaped[Tensor, "*b"]:
    """1 / zeta(u) = det(I - u B), by a determinant over the nodes or over directed edges.

    Over nodes, with A_ij = u w / (1 - u^2 w^2) on edges and D_ii = sum_j u^2 w^2 / (1 - u^2 w^2),

        1 / zeta(u) = prod_edges (1 - u^2 w^2) det(I - A + D),

    which for weights 1 is Bass's (1 - u^2)^(m - n) det(I - u A + u^2 (D - I)).

    Args:
        graph: n nodes, m edges; differentiable in its weights.
        points: u, real or complex, any shape.
        by: "nodes" costs n^3 a point, "edges" (2 m)^3 and has no gaps.

    Raises:
        ArgumentError: over nodes where u w = 1 or -1 on some edge, and the formula reads 0 / 0.

    Source: Bass (1992); Watanabe and Fukumizu, NIPS 2009, theorem 3 for weights.
    """
    points = _as_points(points, graph)
    if by == "edges":
        return _resolvent_determinant(hashimoto_matrix(graph), points)
    if by != "nodes":
        raise ArgumentError("by", repr(by), '"nodes" or "edges"', 'pass by="nodes"')
    step = points[..., None] * graph.weights.to(points)
    rest = 1 - step.square()
    if bool((rest == 0).any()):
        raise ArgumentError(
            "points", "u w = 1 or -1 on an edge", "a determinant over nodes", 'pass by="edges"'
        )
    first, second = graph.edges.unbind(1)
    shape = (*points.shape, graph.nodes, graph.nodes)
    across = step / rest
    matrix = torch.eye(graph.nodes, dtype=points.dtype, device=points.device).expand(shape)
    matrix = _added(matrix, first, second, -across)
    matrix = _added(matrix, second, first, -across)
    for end in (first, second):
        matrix = _added(matrix, end, end, across * step)
    across_nodes: Tensor = torch.linalg.det(matrix)
    return rest.prod(-1) * across_nodes


def bartholdi_determinant(
    graph: Graph, points: Shaped[Tensor, "*b"], turning: float
) -> Shaped[Tensor, "*b"]:
    """1 / zeta(u, t), in which each turn back counts with t: t = 0 is Ihara's, t = 1 all walks.

        (1 - (1-t)^2 u^2)^(m - n) det(I - u A + (1-t) u^2 (D - (1-t) I))

    Args:
        graph: its weights do not count.
        points: u, real or complex, any shape.
        turning: t.

    Source: Bartholdi, Enseign. Math. 45 (1999), theorem 1.1.
    """
    points = _as_points(points, graph)
    ones = Graph(graph.nodes, graph.edges)
    kept = 1 - turning
    u = points[..., None, None]
    eye = torch.eye(graph.nodes, dtype=torch.float64).to(points)
    degrees = torch.diag(graph.degrees()).to(points)
    matrix = eye - u * ones.adjacency().to(points) + kept * u * u * (degrees - kept * eye)
    outside = (1 - (kept * points).square()) ** (len(graph.edges) - graph.nodes)
    walks: Tensor = torch.linalg.det(matrix)
    return outside * walks


def ihara_polynomial(graph: Graph) -> list[int]:
    """The integer coefficients of 1 / zeta(u), constant term first, degree 2 m; weights count 1.

    Exact, in n^4 steps. Each is read from (1 - u^2)^(m - n) and the characteristic polynomial
    of [[A, I - D], [I, 0]], which has the eigenvalues of B but for m - n times +1 and -1.
    """
    polynomial = reverse_characteristic_polynomial(_companion(graph))
    extra = len(graph.edges) - graph.nodes
    for _ in range(extra):
        polynomial = [a - b for a, b in zip([*polynomial, 0, 0], [0, 0, *polynomial], strict=True)]
    for _ in range(-extra):
        polynomial = _without_ends(polynomial)
    return polynomial


def reduced_closed_walks(graph: Graph, length: int) -> list[int]:
    """N_1, ..., N_length: reduced closed walks, N_l = tr B^l; exact."""
    extra = len(graph.edges) - graph.nodes
    traces = power_traces(_companion(graph), length)
    return [trace + 2 * extra * (order % 2 == 0) for order, trace in enumerate(traces, 1)]


def prime_cycles(graph: Graph, length: int) -> list[int]:
    """Prime cycles of lengths 1, ..., length: (1/l) sum_{d | l} mu(l/d) N_d; exact.

    Neither powers of others nor told apart by where they start; both directions count.
    """
    return orbits(reduced_closed_walks(graph, length))


def hashimoto_eigenvalues(graph: Graph) -> Shaped[Tensor, " k"]:
    """Eigenvalues of B but for m - n times +1 and -1, largest modulus first; 1/pole each.

    For weights 1, in (2 n)^3 steps.
    """
    values: Tensor = torch.linalg.eigvals(torch.from_numpy(_companion(graph).astype(np.float64)))
    return values[values.abs().argsort(descending=True)]


def _companion(graph: Graph) -> np.ndarray:
    """[[A, I - D], [I, 0]] of Python integers: det(I - u C) = det(I - u A + u^2 (D - I))."""
    nodes = graph.nodes
    matrix = np.zeros((2 * nodes, 2 * nodes), dtype=object)
    first, second = graph.edges.T.numpy(force=True)
    matrix[first, second] = matrix[second, first] = 1
    for node, degree in enumerate(graph.degrees().tolist()):
        matrix[node, nodes + node] = 1 - degree
        matrix[nodes + node, node] = 1
    return matrix


def _without_ends(polynomial: list[int]) -> list[int]:
    """The polynomial divided by 1 - u^2, which divides it."""
    quotient = list(polynomial)
    for order in range(2, len(quotient)):
        quotient[order] += quotient[order - 2]
    return quotient[:-2]


def _as_points(points: Tensor, graph: Graph) -> Tensor:
    if not (points.is_floating_point() or points.is_complex()):
        raise ArgumentError("points", points.dtype, "real or complex numbers", "pass floats")
    return points.to(torch.promote_types(points.dtype, graph.weights.dtype))


def _added(matrix: Tensor, rows: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    size = matrix.shape[-1]
    flat = matrix.reshape(*matrix.shape[:-2], size * size)
    return flat.index_add(-1, rows * size + columns, values).view(matrix.shape)


def _resolvent_determinant(matrix: Tensor, points: Tensor) -> Tensor:
    eye = torch.eye(len(matrix), dtype=points.dtype, device=points.device)
    found: Tensor = torch.linalg.det(eye - points[..., None, None] * matrix.to(points))
    return found
