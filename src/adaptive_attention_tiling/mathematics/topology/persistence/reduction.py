"""Persistence pairs of a flag filtration, by cohomology over a field of p elements.

The coboundary of each clique is reduced, the latest clique first, until its earliest coface is the
earliest of no other; the two are then a pair. Three things spare most of that work: a clique that
ended a class one dimension below begins none (clearing); a clique and its earliest coface are a
pair at once if it is that coface's latest facet, which is told for all cliques together (apparent
pairs); and a coboundary whose earliest coface is free needs no reduction (emergent pairs). Sources:
de Silva, Morozov and Vejdemo-Johansson, Dualities in persistent (co)homology, Inverse Problems 27
(2011); Chen and Kerber, Persistent homology computation with a twist (2011); Bauer, Ripser, Journal
of Applied and Computational Topology 5 (2021), sections 3 and 4.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from .filtration import Cliques, FlagFiltration

Integers = NDArray[np.int64]
Column = dict[int, int]


def pairs(filtration: FlagFiltration, dimension: int, nodes: int, prime: int) -> list[Integers]:
    """For each dimension, [c, 2]: the edges with which its classes come and go.

    Edges are told by their places in the order of edges; -1 is a node's coming, or never.
    """
    cliques = filtration.cliques
    ends = spanning_forest(cliques[0].facets, nodes)
    births = np.full(nodes, -1)
    found = [_padded(births, ends)]
    for k in range(1, dimension + 1):
        begins = np.ones(len(cliques[k - 1].last), bool)
        begins[ends] = False
        classes, ends = reduced(begins, cliques[k], prime)
        born = cliques[k - 1].last[classes]
        found.append(_padded(born, cliques[k].last[ends]))
    return found


def spanning_forest(edges: Integers, nodes: int) -> Integers:
    """The places of edges [m, 2] that join two components, edges coming in their order.

    Boruvka's rounds: each component takes its first edge that leaves it, all at once.
    """
    component = np.arange(nodes)
    places = np.arange(len(edges))
    taken = []
    while len(places):
        ends = component[edges[places]]
        leaves = ends[:, 0] != ends[:, 1]
        places, ends = places[leaves], ends[leaves]
        if not len(places):
            break
        first = np.full(nodes, len(places))
        np.minimum.at(first, ends.ravel(), np.repeat(np.arange(len(places)), 2))
        chosen = np.unique(first[first < len(places)])
        taken.append(places[chosen])
        component = _joined(component, ends[chosen])
    return np.sort(np.concatenate(taken)) if taken else np.zeros(0, np.int64)


def _joined(component: Integers, ends: Integers) -> Integers:
    """Components after edges between them, each named by its smallest member."""
    name = np.arange(len(component))
    while True:
        low = name[ends].min(1)
        before = name.copy()
        np.minimum.at(name, ends.ravel(), np.repeat(low, 2))
        name = name[name]
        if np.array_equal(before, name):
            return name[component]


def reduced(begins: NDArray[np.bool_], cofaces: Cliques, prime: int) -> tuple[Integers, Integers]:
    """Cliques that begin a class, those with an end first; and the cofaces that end these.

    begins: for each clique whether it begins a class at all.
    """
    facets = cofaces.facets
    coboundary = _Coboundary(facets, len(begins), prime)
    latest = facets.max(1)
    apparent = np.flatnonzero(coboundary.first[latest] == np.arange(len(facets)))
    owner = np.full(len(facets), -1)
    owner[apparent] = latest[apparent]
    unpaired = begins & (coboundary.first >= 0)
    unpaired[latest[apparent]] = False
    owner = _reduced_owners(np.flatnonzero(unpaired)[::-1], owner, coboundary)
    ends = np.flatnonzero(owner >= 0)
    endless = begins.copy()
    endless[owner[ends]] = False
    return np.concatenate([owner[ends], np.flatnonzero(endless)]), ends


def _reduced_owners(columns: Integers, owner: Integers, coboundary: _Coboundary) -> Integers:
    """For each coface the clique that it ends, or -1; those of `columns`, in their order, added."""
    owners: list[int] = owner.tolist()
    kept: dict[int, Column] = {}
    starts = coboundary.first[columns].tolist()
    for column, start in zip(columns.tolist(), starts, strict=True):
        if owners[start] < 0:
            owners[start] = column
            continue
        working = coboundary(column)
        row = _reduce(working, owners, kept, coboundary)
        if row is not None:
            owners[row] = column
            kept[column] = working
    return np.array(owners, np.int64)


def _reduce(
    working: Column, owners: list[int], kept: dict[int, Column], coboundary: _Coboundary
) -> int | None:
    """Add columns to `working` until its earliest row has no owner, and tell it; None if empty."""
    prime = coboundary.prime
    queue = list(working)
    heapify(queue)
    while queue:
        row = queue[0]
        value = working.get(row)
        if value is None:
            heappop(queue)
            continue
        other = owners[row]
        if other < 0:
            return row
        entries = kept.get(other) or coboundary(other)
        factor = -value * pow(entries[row], -1, prime)
        for place, entry in entries.items():
            old = working.get(place)
            if old is None:
                working[place] = factor * entry % prime
                heappush(queue, place)
                continue
            new = (old + factor * entry) % prime
            if new:
                working[place] = new
            else:
                del working[place]
    return None


class _Coboundary:
    """The columns of the coboundary matrix mod p."""

    def __init__(self, facets: Integers, count: int, prime: int) -> None:
        width = facets.shape[1]
        order = np.argsort(facets.ravel(), kind="stable")
        signs = np.where(np.arange(width) % 2 == 0, 1, prime - 1)
        starts = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(facets.ravel(), minlength=count), out=starts[1:])
        rows = order // width
        self.prime = prime
        self.first = np.full(count, -1)
        filled = starts[1:] > starts[:-1]
        self.first[filled] = rows[starts[:-1][filled]]
        # Lists, since Python reads single numbers from arrays slowly.
        self._rows, self._entries = rows.tolist(), signs[order % width].tolist()
        self._starts = starts.tolist()

    def __call__(self, column: int) -> Column:
        part = slice(self._starts[column], self._starts[column + 1])
        return dict(zip(self._rows[part], self._entries[part], strict=True))


def _padded(births: Integers, deaths: Integers) -> Integers:
    """Births with their deaths, -1 for those that are left."""
    endless = np.full(len(births) - len(deaths), -1)
    return np.stack([births, np.concatenate([deaths, endless])], 1)
