import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import attention_at, attention_rows


def head(tokens=50, width=8):
    return torch.randn(2, tokens, width).unbind(0)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_rows_are_those_of_the_full_matrix(is_causal, scale):
    query, key = head()
    logits = query.double() @ key.double().mT * (8**-0.5 if scale is None else scale)
    if is_causal:
        logits = logits.masked_fill(torch.ones(50, 50).triu(1).bool(), -torch.inf)
    full = logits.softmax(-1)
    found = attention_rows(query, key, rows=13, is_causal=is_causal, scale=scale)
    torch.testing.assert_close(found.weights, full[found.queries])
    assert found.seen.tolist() == (full[found.queries] > 0).sum(1).tolist()
    assert found.tokens == 50


def test_one_query_is_drawn_from_each_stretch():
    query, key = head(100)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        found = attention_rows(query, key, rows=10, first=20, generator=generator).queries
        assert ((found - 20) // 8).tolist() == list(range(10))


def test_draws_repeat_and_differ_by_generator():
    query, key = head(400)
    first, again = (attention_rows(query, key, rows=20).queries for _ in range(2))
    other = attention_rows(query, key, rows=20, generator=torch.Generator().manual_seed(1)).queries
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_all_rows_of_a_short_text():
    assert attention_rows(*head(5), rows=64).queries.tolist() == [0, 1, 2, 3, 4]
    assert attention_rows(*head(5), rows=64, first=3).queries.tolist() == [3, 4]


def test_huge_logits_stay_finite_and_no_gradient_is_kept():
    query, key = head()
    query = (query * 1e4).requires_grad_()
    found = attention_rows(query, key)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(50).double())
    assert not found.weights.requires_grad


@pytest.mark.parametrize(
    ("given", "name"), [({"rows": 0}, "rows"), ({"first": 50}, "first"), ({"first": -1}, "first")]
)
def test_bad_arguments_are_named(given, name):
    with pytest.raises(ArgumentError, match=rf"^{name}"):
        attention_rows(*head(), **given)


def test_rows_of_named_queries_come_in_their_order():
    query, key = head()
    full = attention_rows(query, key, is_causal=False).weights
    found = attention_at(query, key, torch.tensor([7, 3, 7]), is_causal=False)
    torch.testing.assert_close(found.weights, full[[7, 3, 7]])
    assert found.queries.tolist() == [7, 3, 7]
    for queries in (torch.tensor([50]), torch.tensor([-1]), torch.tensor([1.0]), torch.ones(1, 1)):
        with pytest.raises(ArgumentError, match=r"^queries"):
            attention_at(query, key, queries)
