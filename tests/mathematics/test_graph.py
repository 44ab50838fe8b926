import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.graph import Graph


def test_adjacency_degrees_and_neighbours_of_a_small_graph():
    graph = Graph(4, torch.tensor([[0, 2], [1, 2]]), torch.tensor([0.5, 2.0]))
    expected = torch.tensor([[0, 0, 0.5, 0], [0, 0, 2, 0], [0.5, 2, 0, 0], [0, 0, 0, 0]])
    assert torch.equal(graph.adjacency(), expected)
    assert graph.degrees().tolist() == [1, 1, 2, 0]
    assert graph.neighbours() == [[2], [2], [0, 1], []]


def test_complete_graphs_and_cycles():
    assert Graph.complete(5).degrees().tolist() == [4] * 5
    assert Graph.cycle(3).edges.tolist() == Graph.complete(3).edges[[0, 2, 1]].tolist()
    assert Graph.cycle(6).degrees().tolist() == [2] * 6


def test_gradients_reach_the_weights():
    weights = torch.tensor([0.5, 2.0], requires_grad=True)
    Graph(3, torch.tensor([[0, 2], [1, 2]]), weights).adjacency().square().sum().backward()
    assert weights.grad.tolist() == [2.0, 8.0]


@pytest.mark.parametrize(
    ("nodes", "edges", "weights", "message"),
    [
        (-1, torch.zeros(0, 2, dtype=torch.int64), None, "nodes: got -1"),
        (2, torch.tensor([[0, 2]]), None, "edges: got nodes 0 to 2, expected 0 to 1"),
        (2, torch.tensor([[1, 0]]), None, r"\[1, 0\] at row 0, expected the smaller node first"),
        (2, torch.tensor([[1, 1]]), None, "no node joined to itself"),
        (2, torch.tensor([[0, 1], [0, 1]]), None, "an edge more than once"),
        (2, torch.tensor([[0.0, 1.0]]), None, r"expected int64 \[m, 2\]"),
        (2, torch.tensor([[0, 1]]), torch.ones(2), r"weights: .*expected floating \[1\]"),
        (2, torch.tensor([[0, 1]]), torch.tensor([torch.nan]), "weights: got NaN"),
        (2, [[0, 1]], None, "edges: got list, expected a tensor"),
        (2, torch.tensor([[0, 1]]), [1.0], "weights: got list, expected a tensor"),
    ],
)
def test_what_is_no_graph_is_told(nodes, edges, weights, message):
    with pytest.raises(ArgumentError, match=message):
        Graph(nodes, edges, weights)


def test_a_cycle_has_three_nodes_at_least():
    with pytest.raises(ArgumentError, match="3 or more"):
        Graph.cycle(2)
    with pytest.raises(ArgumentError, match="nodes: got -1"):
        Graph.complete(-1)
