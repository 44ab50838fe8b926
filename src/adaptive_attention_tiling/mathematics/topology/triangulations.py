"""Standard triangulated manifolds with few vertices."""

from __future__ import annotations

from itertools import permutations
from math import gcd

from ...errors import ArgumentError
from .simplicial_complex import SimplicialComplex


def sphere(dimension: int) -> SimplicialComplex:
    """S^n as the boundary of the (n + 1)-simplex, with n + 2 vertices."""
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 0:
        raise ArgumentError("dimension", dimension, "an integer >= 0", "pass 2 for the sphere")
    vertices = range(dimension + 2)
    return SimplicialComplex([[v for v in vertices if v != left_out] for left_out in vertices])


def torus() -> SimplicialComplex:
    """S^1 x S^1 with 7 vertices, every two joined: [i, i+1, i+3] and [i, i+2, i+3] modulo 7.

    Source: Möbius (1861); Lutz, Triangulated Manifolds with Few Vertices (2005).
    """
    triangles = [(i, (i + step) % 7, (i + 3) % 7) for i in range(7) for step in (1, 2)]
    return SimplicialComplex(triangles)


def projective_plane() -> SimplicialComplex:
    """RP^2 with 6 vertices: the icosahedron with opposite points identified."""
    rim = range(5)
    cone = [(i, (i + 1) % 5, 5) for i in rim]
    return SimplicialComplex(cone + [(i, (i + 1) % 5, (i + 3) % 5) for i in rim])


def klein_bottle(length: int = 4, width: int = 4) -> SimplicialComplex:
    """The Klein bottle as a grid of squares cut along a diagonal, (i + length, j) = (i, -j).

    Args:
        length, width: squares along and across; 3 or more, and 4 or more across a width of 4.

    Raises:
        ArgumentError: for a grid so small that triangles would be identified.
    """

    def vertex(i: int, j: int) -> int:
        return i % length * width + (j if i // length % 2 == 0 else -j) % width

    squares = [(i, j) for i in range(length) for j in range(width)]
    triangles = [(vertex(i, j), vertex(i + 1, j), vertex(i + 1, j + 1)) for i, j in squares]
    triangles += [(vertex(i, j), vertex(i, j + 1), vertex(i + 1, j + 1)) for i, j in squares]
    if len({frozenset(t) for t in triangles}) < 2 * length * width or length < 3 or width < 3:
        raise ArgumentError(
            "length", f"{length} by {width}", "a grid with room for its triangles", "pass 4 by 4"
        )
    return SimplicialComplex(triangles)


def complex_projective_plane() -> SimplicialComplex:
    """CP^2 with 9 vertices, every three of them in a triangle, and 36 facets.

    The vertices are 3 blocks of 3; turning the blocks, and turning inside of all blocks, makes 9
    facets of each of four.

    Source: Kühnel and Banchoff, The 9-vertex complex projective plane, Math. Intelligencer 5
    (1983), 11-22.
    """
    starts = [(0, 1, 3, 4, 5), (0, 1, 3, 4, 8), (1, 2, 3, 5, 8), (0, 2, 4, 5, 8)]
    return SimplicialComplex(
        [
            [(v // 3 + block) % 3 * 3 + (v + inside) % 3 for v in start]
            for start in starts
            for block in range(3)
            for inside in range(3)
        ]
    )


def barycentric_subdivision(complex_: SimplicialComplex) -> SimplicialComplex:
    """The simplices as vertices, numbered by dimension and then in order; chains as simplices."""
    rows = [tuple(row) for k in range(complex_.dimension + 1) for row in _rows(complex_, k)]
    numbers = {simplex: number for number, simplex in enumerate(rows)}
    return SimplicialComplex(_full_flags(complex_, numbers))


def lens_space(order: int, twist: int) -> SimplicialComplex:
    """L(p, q): the 3-sphere modulo (z, w) -> (exp(2 pi i / p) z, exp(2 pi i q / p) w).

    The sphere is the join of two cycles of 2 p vertices, which the group turns by 2 and by 2 q;
    its barycentric subdivision is divided. H_1 = Z/p. L(2, 1) is RP^3.

    Args:
        order: p >= 2.
        twist: q, prime to p.

    Raises:
        ArgumentError: if p < 2 or q is not prime to p.

    Source: Hatcher, Algebraic Topology (2002), example 2.43.
    """
    if order < 2 or gcd(order, twist) != 1:
        raise ArgumentError(
            "twist", f"{twist} with order {order}", "q prime to p >= 2", "pass order=3, twist=1"
        )
    size = 2 * order

    def edge(start: int, offset: int) -> list[int]:
        return [offset + start % size, offset + (start + 1) % size]

    join = SimplicialComplex([edge(i, 0) + edge(j, size) for i in range(size) for j in range(size)])
    orbit: dict[tuple[int, ...], int] = {}
    for dimension in range(4):
        for simplex in _rows(join, dimension):
            number = len(orbit) // order
            for power in range(order if simplex not in orbit else 0):
                orbit[_turned(simplex, power, twist, size)] = number
    return SimplicialComplex(_full_flags(join, orbit))


def _rows(complex_: SimplicialComplex, dimension: int) -> list[tuple[int, ...]]:
    return [tuple(row) for row in complex_.simplices(dimension).tolist()]


def _full_flags(
    complex_: SimplicialComplex, numbers: dict[tuple[int, ...], int]
) -> set[tuple[int, ...]]:
    """The numbers of vertex < edge < ... < facet, for every such chain of faces."""
    orders = (order for facet in complex_.facets() for order in permutations(facet))
    return {
        tuple(numbers[tuple(sorted(order[: k + 1]))] for k in range(len(order))) for order in orders
    }


def _turned(simplex: tuple[int, ...], power: int, twist: int, size: int) -> tuple[int, ...]:
    first = [(v + 2 * power) % size for v in simplex if v < size]
    second = [size + (v + 2 * power * twist) % size for v in simplex if v >= size]
    return tuple(sorted(first + second))
