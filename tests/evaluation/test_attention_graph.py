"""The graph of a head's strongest links."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_graph


def dense_links(query, key, top_k, is_causal, skip):
    """{(smaller, larger): weight} from the full matrix, one row and link at a time."""
    logits = query @ key.T / query.shape[1] ** 0.5
    if is_causal:
        logits = logits.masked_fill(torch.ones_like(logits).triu(1).bool(), -torch.inf)
    attention = logits.softmax(-1).tolist()
    links = {}
    for i in range(skip, len(query)):
        others = [j for j in range(skip, i if is_causal else len(query)) if j != i]
        for j in sorted(others, key=lambda j: -attention[i][j])[:top_k]:
            pair = (min(i, j), max(i, j))
            links[pair] = max(links.get(pair, 0), attention[i][j])
    return links


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize(("top_k", "skip"), [(3, 1), (200, 0), (1, 5)])
def test_links_are_those_of_the_full_matrix(is_causal, top_k, skip):
    query, key = torch.randn(2, 150, 8, dtype=torch.float64)
    graph = attention_graph(query, key, top_k=top_k, is_causal=is_causal, skip=skip)
    links = dense_links(query, key, top_k, is_causal, skip)
    assert [tuple(edge) for edge in graph.edges.tolist()] == sorted(links)
    expected = torch.tensor([links[edge] for edge in sorted(links)], dtype=torch.float64)
    torch.testing.assert_close(graph.weights, expected, rtol=1e-12, atol=1e-15)


def test_sampled_rows_give_a_part_of_the_graph():
    query, key = torch.randn(2, 150, 8)
    whole = attention_graph(query, key, top_k=2)
    part = attention_graph(query, key, top_k=2, rows=10)
    assert len(part.edges) <= 20
    assert set(map(tuple, part.edges.tolist())) < set(map(tuple, whole.edges.tolist()))
    looked_at = part.edges.max(1).values.tolist()
    assert (looked_at[-1], min(looked_at)) == (149, 17)  # row 1 has no other key to link to


@pytest.mark.parametrize("skip", [0, 1, 2])
def test_one_token_has_no_links(skip):
    graph = attention_graph(torch.ones(1, 4), torch.ones(1, 4), skip=skip)
    assert (graph.nodes, len(graph.edges)) == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.ones(1, 3, 4)}, r"query: got query \[1, 3, 4\] and key \[3, 4\]"),
        ({"query": torch.ones(2, 4)}, "of one head, both alike"),
        ({"query": torch.full((3, 4), torch.nan)}, "query: got NaN or infinity"),
        ({"key": torch.full((3, 4), torch.inf)}, "key: got NaN or infinity"),
        ({"top_k": 0}, "top_k: got 0, expected an integer >= 1"),
        ({"skip": -1}, "skip: got -1"),
        ({"rows": 0}, "rows: got 0"),
    ],
)
def test_bad_input_is_told(change, message):
    arguments = {"query": torch.ones(3, 4), "key": torch.ones(3, 4)} | change
    with pytest.raises(ArgumentError, match=message):
        attention_graph(**arguments)
