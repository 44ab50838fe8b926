"""Simplicial complexes: simplices of every dimension in a fixed order, and their boundaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from ..graph import Graph


class SimplicialComplex:
    """A finite set of simplices that holds every face of each of its simplices.

    A k-simplex is its k + 1 vertices in increasing order, which is also its orientation; the
    simplices of one dimension are sorted lexicographically, and that order numbers the rows of
    every matrix and the entries of every (co)chain:
    boundary [v_0 ... v_k] = sum_i (-1)^i [v_0 ... v_{i-1} v_{i+1} ... v_k].

    Args:
        simplices: sequences of vertices, which are integers >= 0 in any order; they need not be
            consecutive. Maximal simplices are enough.
        close: whether missing faces are added; if not, a missing face is an error.

    Raises:
        ArgumentError: for a repeated, negative or fractional vertex, or a missing face.

    Source: Hatcher, Algebraic Topology (2002), section 2.1.
    """

    def __init__(self, simplices: Iterable[Sequence[int]], close: bool = True) -> None:
        given = {_checked_simplex(simplex) for simplex in simplices}
        closed = {face for simplex in given for face in _faces_of_all_dimensions(simplex)}
        if not close and len(closed) > len(given):
            missing = min(closed - given)
            raise ArgumentError(
                "simplices",
                f"no simplex {list(missing)}",
                "every face of every simplex",
                "add it, or pass close=True",
            )
        by_dimension: list[list[tuple[int, ...]]] = []
        for simplex in sorted(closed, key=lambda each: (len(each), each)):
            if len(simplex) > len(by_dimension):
                by_dimension.append([])
            by_dimension[-1].append(simplex)
        self._tuples = by_dimension
        self._numbers = [{simplex: i for i, simplex in enumerate(row)} for row in by_dimension]

    @classmethod
    def flag(cls, graph: Graph, dimension: int) -> SimplicialComplex:
        """The cliques of a graph with at most `dimension` + 1 nodes; every node is a vertex."""
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 0:
            raise ArgumentError("dimension", dimension, "an integer >= 0", "pass 1 for the graph")
        later: list[set[int]] = [set() for _ in range(graph.nodes)]
        for first, second in graph.edges.tolist():
            later[first].add(second)
        cliques: list[tuple[tuple[int, ...], set[int]]] = [
            ((node,), later[node]) for node in range(graph.nodes)
        ]
        found = [simplex for simplex, _ in cliques]
        for _ in range(dimension):
            cliques = [
                ((*simplex, node), shared & later[node])
                for simplex, shared in cliques
                for node in sorted(shared)
            ]
            found += [simplex for simplex, _ in cliques]
        return cls(found, close=False)

    @property
    def dimension(self) -> int:
        """The largest dimension of a simplex; -1 for the empty complex."""
        return len(self._tuples) - 1

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of simplices of dimension 0, 1, ..., the f-vector."""
        return tuple(len(row) for row in self._tuples)

    def count(self, dimension: int) -> int:
        """The number of simplices of one dimension; 0 outside of the complex."""
        return self.counts[dimension] if 0 <= dimension <= self.dimension else 0

    def euler_characteristic(self) -> int:
        """chi = sum_k (-1)^k (number of k-simplices)."""
        return sum((-1) ** k * n for k, n in enumerate(self.counts))

    def simplices(self, dimension: int) -> Int[Tensor, "n k"]:
        """The simplices of one dimension, a row of increasing vertices each, [n_k, k + 1]."""
        rows = self._tuples[dimension] if 0 <= dimension <= self.dimension else []
        return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), max(dimension + 1, 0))

    def numbers(self, simplices: Int[Tensor, "*b k"]) -> Int[Tensor, "*b"]:
        """The place of each simplex, a row of increasing vertices, in the order of its dimension.

        Raises:
            ArgumentError: for a row that is no simplex of the complex.
        """
        dimension = simplices.shape[-1] - 1
        known = self._numbers[dimension] if 0 <= dimension <= self.dimension else {}
        rows = [tuple(row) for row in simplices.reshape(-1, dimension + 1).tolist()]
        for row in rows:
            if row not in known:
                raise ArgumentError(
                    "simplices",
                    f"{list(row)}",
                    f"simplices of dimension {dimension} of the complex, vertices increasing",
                    "sort the vertices, or leave it out",
                )
        found = torch.tensor([known[row] for row in rows], dtype=torch.int64)
        return found.reshape(simplices.shape[:-1])

    def faces(self, dimension: int) -> Int[Tensor, "n k"]:
        """The numbers of the faces of each k-simplex, [n_k, k + 1]; face i leaves out vertex i."""
        if not 1 <= dimension <= self.dimension:
            return torch.zeros(self.count(dimension), 0, dtype=torch.int64)
        known = self._numbers[dimension - 1]
        rows = [
            [known[simplex[:i] + simplex[i + 1 :]] for i in range(dimension + 1)]
            for simplex in self._tuples[dimension]
        ]
        return torch.tensor(rows)

    def boundary(self, dimension: int) -> Int[Tensor, "faces simplices"]:
        """The boundary map from k-chains to (k-1)-chains, sparse int64 [n_{k-1}, n_k]."""
        faces = self.faces(dimension)
        columns = torch.arange(len(faces))[:, None].expand_as(faces)
        signs = (1 - 2 * (torch.arange(faces.shape[1]) % 2)).expand_as(faces)
        return torch.sparse_coo_tensor(
            torch.stack([faces.flatten(), columns.flatten()]),
            signs.flatten(),
            (self.count(dimension - 1), self.count(dimension)),
            check_invariants=True,
        ).coalesce()

    def facets(self) -> list[tuple[int, ...]]:
        """The simplices that are no face of another one, by dimension and then in order."""
        found = []
        for k, row in enumerate(self._tuples):
            inner = set(self.faces(k + 1).flatten().tolist()) if k < self.dimension else set()
            found += [simplex for i, simplex in enumerate(row) if i not in inner]
        return found

    def link(self, simplex: Sequence[int]) -> SimplicialComplex:
        """The simplices disjoint from `simplex` that make a simplex together with it."""
        centre = _checked_simplex(simplex)
        self.numbers(torch.tensor(centre))
        stars = (set(row) for rows in self._tuples for row in rows if set(row) >= set(centre))
        rest = [tuple(star - set(centre)) for star in stars if len(star) > len(centre)]
        return SimplicialComplex(rest, close=False)


def _checked_simplex(simplex: Sequence[int]) -> tuple[int, ...]:
    vertices = tuple(simplex)
    if not vertices or not all(type(v) is int and v >= 0 for v in vertices):
        raise ArgumentError(
            "simplices",
            f"{list(vertices)}",
            "one vertex or more, each an integer >= 0",
            "number the vertices from 0",
        )
    if len(set(vertices)) < len(vertices):
        raise ArgumentError(
            "simplices",
            f"{list(vertices)}",
            "each vertex once in a simplex",
            "leave repeated vertices out",
        )
    return tuple(sorted(vertices))


def _faces_of_all_dimensions(simplex: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    for size in range(1, len(simplex) + 1):
        yield from combinations(simplex, size)
