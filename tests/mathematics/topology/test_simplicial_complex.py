import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex


def test_a_triangle_with_a_tail():
    complex_ = SimplicialComplex([(7, 2, 5), (7, 9)])
    assert complex_.counts == (4, 4, 1)
    assert complex_.simplices(0).tolist() == [[2], [5], [7], [9]]
    assert complex_.simplices(1).tolist() == [[2, 5], [2, 7], [5, 7], [7, 9]]
    assert complex_.boundary(2).to_dense().tolist() == [[1], [-1], [1], [0]]
    assert complex_.boundary(1).to_dense().tolist() == [
        [-1, -1, 0, 0],
        [1, 0, -1, 0],
        [0, 1, 1, -1],
        [0, 0, 0, 1],
    ]
    assert complex_.euler_characteristic() == 1
    assert complex_.facets() == [(7, 9), (2, 5, 7)]
    assert complex_.link([7]).simplices(1).tolist() == [[2, 5]]
    assert complex_.link([7]).counts == (3, 1)
    assert complex_.boundary(0).shape == (0, 4)
    assert complex_.boundary(3).shape == (1, 0)


def test_numbers_are_places_in_the_order():
    complex_ = SimplicialComplex([(0, 1, 2, 3), (1, 4)])
    for k in range(4):
        rows = complex_.simplices(k)
        assert torch.equal(complex_.numbers(rows.flip(0)), torch.arange(len(rows)).flip(0))


def test_the_empty_complex():
    empty = SimplicialComplex([])
    assert (empty.dimension, empty.counts, empty.euler_characteristic()) == (-1, (), 0)
    assert empty.simplices(0).shape == (0, 1)


@pytest.mark.parametrize("dimension", [0, 1, 2, 4])
def test_flag_complexes_of_complete_graphs_are_skeleta(dimension):
    flag = SimplicialComplex.flag(Graph.complete(5), dimension)
    assert flag.counts == (5, 10, 10, 5, 1)[: dimension + 1]


def test_a_flag_complex_fills_triangles_and_keeps_lone_nodes():
    edges = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3]])
    flag = SimplicialComplex.flag(Graph(5, edges), 3)
    assert flag.counts == (5, 4, 1)
    assert flag.simplices(2).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("simplices", "close", "message"),
    [
        ([(0, 1, 1)], True, r"got \[0, 1, 1\], expected each vertex once"),
        ([(0, -1)], True, r"got \[0, -1\], expected one vertex or more, each an integer >= 0"),
        ([(0, 1.0)], True, r"got \[0, 1.0\]"),
        ([()], True, r"got \[\]"),
        ([(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)], False, r"got no simplex \[1, 2\]"),
    ],
)
def test_what_is_no_complex_is_told(simplices, close, message):
    with pytest.raises(ArgumentError, match=message):
        SimplicialComplex(simplices, close=close)


def test_strangers_are_told():
    complex_ = SimplicialComplex([(0, 1, 2)])
    with pytest.raises(ArgumentError, match=r"got \[1, 0\], expected simplices of dimension 1"):
        complex_.numbers(torch.tensor([[1, 0]]))
    with pytest.raises(ArgumentError, match=r"got \[3\]"):
        complex_.link([3])
    with pytest.raises(ArgumentError, match="dimension: got -1"):
        SimplicialComplex.flag(Graph.complete(3), -1)
