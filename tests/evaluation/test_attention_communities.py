"""Communities and bridges of a head's graph, against graphs without a plan."""

import itertools

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    attention_graph,
    find_bridges,
    find_communities,
    link_loads,
    shuffled_graphs,
)
from adaptive_attention_tiling.mathematics.graph import Graph

T = 80
NONE = torch.zeros(0, 2, dtype=torch.int64)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def head(seed, groups, strength, length=1e9):
    """Graph of a head in which tokens prefer their own group, drawn at random."""
    place = torch.arange(T)
    name = torch.randint(groups, (T,), generator=seeded(seed + 99))
    logits = 1.5 * torch.randn(T, T, generator=seeded(seed)).double()
    logits = logits - (place[:, None] - place).abs() / length + strength * (name[:, None] == name)
    eye = torch.eye(T, dtype=torch.float64)
    return name, logits, attention_graph(logits, eye, scale=1.0, top_k=6, skip=0)


def beyond_distance(graph, parts):
    weights = (graph.adjacency() > 0).double()
    total = weights.sum(0)
    pairs = list(itertools.product(range(graph.nodes), repeat=2))
    bins = [abs(i - j).bit_length() for i, j in pairs]
    here, due = [0.0] * 20, [0.0] * 20
    for (i, j), b in zip(pairs, bins, strict=True):
        here[b] += float(weights[i, j])
        due[b] += float(total[i] * total[j])
    return sum(
        float(weights[i, j] - total[i] * total[j] * here[b] / due[b])
        for (i, j), b in zip(pairs, bins, strict=True)
        if parts[i] == parts[j]
    ) / float(weights.sum())


@pytest.mark.parametrize(("groups", "length"), [(2, 1e9), (2, 10.0), (3, 1e9)])
def test_planted_communities_are_found_in_place(groups, length):
    for seed in range(2):
        name, _, graph = head(seed, groups, 6, length)
        found = find_communities(graph, shuffles=19)
        assert found.p_value == 0.05
        assert found.z > 5
        agree = (found.parts[:, None] == found.parts) == (name[:, None] == name)
        assert float(agree.double().mean()) > 0.9
        assert found.modularity == pytest.approx(beyond_distance(graph, found.parts.tolist()))


@pytest.mark.parametrize("length", [1e9, 5.0])
def test_neither_noise_nor_decay_makes_communities(length):
    chances = [find_communities(head(s, 1, 0, length)[2], shuffles=19).p_value for s in range(16)]
    # Shuffles make degrees differ more than chance does, so that this null errs to caution.
    assert sum(p <= 0.05 for p in chances) <= 2


def test_tokens_without_links_belong_nowhere():
    found = find_communities(Graph(5, torch.tensor([[0, 1], [2, 3]])), shuffles=9)
    assert found.parts[4] == -1
    assert bool((found.parts[:4] >= 0).all())
    alone = find_communities(Graph(2, NONE), shuffles=3)
    assert alone.parts.tolist() == [-1, -1]
    assert (alone.modularity, alone.z, alone.p_value) == (0, 0, 1)


def test_two_cliques_hang_by_a_bridge():
    cliques = [[i, j] for s in (0, 20) for i, j in itertools.combinations(range(s, s + 20), 2)]
    graph = Graph(40, torch.tensor([*cliques, [3, 30]]))
    first, *others = find_bridges(graph)
    assert first.link == (3, 30)
    assert first.load == pytest.approx(20 * 20 / (40 * 39 / 2))
    assert first.p_value == 0.01
    assert first.z > 3
    assert all(other.load < first.load / 2 for other in others)


@pytest.mark.parametrize("length", [1e9, 5.0])
def test_neither_noise_nor_decay_makes_bridges(length):
    chances = [
        min(b.p_value for b in find_bridges(head(s, 1, 0, length)[2], shuffles=19))
        for s in range(10)
    ]
    assert sum(p <= 0.05 for p in chances) <= 3


def test_a_planted_bridge_between_groups_is_found():
    for seed in range(3):
        name, logits, _ = head(seed, 2, 14)
        i, j = (name == 0).nonzero()[-1], (name == 1).nonzero()[3]
        logits[max(i, j), min(i, j)] += 30
        eye = torch.eye(T, dtype=torch.float64)
        graph = attention_graph(logits, eye, scale=1.0, top_k=6, skip=0, is_causal=False)
        best = min(find_bridges(graph, shuffles=19), key=lambda bridge: bridge.p_value)
        assert best.link == (int(min(i, j)), int(max(i, j)))
        assert best.p_value == 0.05


def test_loads_are_currents():
    edges = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3], [4, 5], [5, 6], [4, 6], [4, 7]])
    graph = Graph(9, edges, torch.rand(8, generator=seeded(0)))
    loads = dict.fromkeys(map(tuple, edges.tolist()), 0.0)
    adjacency = (graph.adjacency() > 0).double()
    inverse = torch.linalg.pinv(adjacency.sum(1).diag() - adjacency)
    for s, t in itertools.combinations(range(9), 2):
        if (s < 4) != (t < 4) or 8 in (s, t):
            continue
        volt = inverse[:, s] - inverse[:, t]
        for i, j in loads:
            loads[i, j] += float((volt[i] - volt[j]).abs()) / 36
    assert link_loads(graph).tolist() == pytest.approx(list(loads.values()))
    assert loads[4, 7] == pytest.approx(3 / 36)


def test_shuffles_keep_distances_queries_and_weights():
    graph = head(0, 1, 0, 10.0)[2]
    shuffled, other = shuffled_graphs(graph, 2, seeded(0))
    assert not torch.equal(shuffled.edges, other.edges)
    octaves = [
        torch.bincount((g.edges[:, 1] - g.edges[:, 0]).double().log2().long(), minlength=7)
        for g in (graph, shuffled)
    ]
    # Edges that become alike are one.
    assert bool((octaves[1] <= octaves[0]).all())
    assert int(octaves[1].sum()) > 0.7 * int(octaves[0].sum())
    same = {tuple(e) for e in graph.edges.tolist()} & {tuple(e) for e in shuffled.edges.tolist()}
    assert len(same) < len(graph.edges) / 2
    assert set(shuffled.weights.tolist()) <= set(graph.weights.tolist())


def test_hubs_stay_hubs():
    place = torch.arange(1, T)
    spokes = torch.stack([torch.zeros_like(place), place], 1)
    ring = torch.stack([place[:-1], place[1:]], 1)
    drawn = shuffled_graphs(Graph(T, torch.cat([spokes, ring])), 10, seeded(0))
    degrees = torch.stack([shuffled.degrees() for shuffled in drawn]).double().mean(0)
    # Half of its links stay at the hub anyway.
    assert float(degrees[0]) > 0.56 * (T - 1)
    assert float(degrees[0]) > 4 * float(degrees[1:].max())


@pytest.mark.parametrize("ask", [find_communities, find_bridges])
def test_bad_input_is_told(ask):
    with pytest.raises(ArgumentError, match="graph: got 2049 nodes"):
        ask(Graph(2049, NONE))
    with pytest.raises(ArgumentError, match="shuffles: got 0"):
        ask(Graph(4, NONE), shuffles=0)
    with pytest.raises(ArgumentError, match="candidates: got 0"):
        find_bridges(Graph(4, NONE), candidates=0)
    assert find_bridges(Graph(4, NONE)) == []
