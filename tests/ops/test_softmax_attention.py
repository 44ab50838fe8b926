import math
from itertools import pairwise

import pytest
import torch

from adaptive_attention_tiling.ops.softmax_attention import (
    EMPTY,
    Partial,
    fused_part_available,
    partial_attention,
)
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

fused = pytest.mark.skipif(
    not fused_part_available(), reason="this torch has no fused CPU kernel that returns lse"
)


def inputs(T=5, S=7, D=4, E=4, *, dtype=torch.float64):
    source = torch.Generator().manual_seed(1)
    shapes = (2, 3, T, D), (2, 3, S, D), (2, 3, S, E)
    return [torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes]


def plain(query, key, value, bias=None):
    """A query that requires a gradient takes the plain path."""
    part = partial_attention(query.clone().requires_grad_(), key, value, bias=bias)
    assert part.lse.grad_fn is not None
    return Partial(part.out.detach(), part.lse.detach())


def assert_same_part(actual, expected):
    assert_close(actual.lse, expected.lse, what="lse")
    assert_close(actual.out, expected.out, what="out")


def test_golden():
    # Weights 1 and 3 of values 2 and 6: lse = log 4, out = (2 + 18) / 4 = 5.
    query = torch.tensor([[[[2.0]]]], dtype=torch.float64)
    key = torch.tensor([[[[0.0], [math.log(3) / 2]]]], dtype=torch.float64)
    value = torch.tensor([[[[2.0], [6.0]]]], dtype=torch.float64)
    for part in (partial_attention(query, key, value), plain(query, key, value)):
        assert part.lse.item() == pytest.approx(math.log(4), rel=1e-14)
        assert part.out.item() == pytest.approx(5.0, rel=1e-14)


@fused
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("T", "S"), [(1, 1), (5, 7), (33, 65), (2, 513)])
def test_fused_equals_plain(T, S, dtype):
    query, key, value = inputs(T, S, dtype=dtype)
    assert_same_part(partial_attention(query, key, value), plain(query, key, value))


@fused
def test_fused_equals_plain_with_hidden_keys_and_rows_without_any():
    query, key, value = inputs()
    bias = torch.zeros(2, 1, 5, 7, dtype=torch.float64)
    bias[:, :, :, 4:] = EMPTY
    bias[0, :, 2] = EMPTY
    bias[1, :, 0, 0] = 1.5
    part = partial_attention(query, key, value, bias=bias)
    assert_same_part(part, plain(query, key, value, bias))
    assert bool((part.lse[0, :, 2] == EMPTY).all())
    assert bool((part.out[0, :, 2] == 0).all())


@fused
def test_fused_equals_plain_with_key_heads_shared_by_zero_strides():
    query, key, value = inputs()
    key, value = (x[:, :1].expand(-1, 3, -1, -1) for x in (key, value))
    assert key.stride(1) == 0
    expected = plain(query, key.contiguous(), value.contiguous())
    assert_same_part(partial_attention(query, key, value), expected)


def test_values_of_another_width():
    query, key, value = inputs(E=6)
    part = partial_attention(query, key, value)
    assert part.out.shape == (2, 3, 5, 6)
    logits = query @ key.mT
    assert_close(part.out, logits.softmax(-1) @ value)
    assert_close(part.lse, logits.logsumexp(-1))


@pytest.mark.parametrize("E", [4, 6])
def test_without_keys_there_is_nothing(E):
    query, key, value = inputs(S=0, E=E)
    part = partial_attention(query, key, value)
    assert_bit_equal(part.out, torch.zeros(2, 3, 5, E, dtype=torch.float64))
    assert bool((part.lse == EMPTY).all())


def test_without_queries_there_is_nothing():
    part = partial_attention(*inputs(T=0))
    assert part.out.shape == (2, 3, 0, 4)
    assert part.lse.shape == (2, 3, 0)


def merge(parts: list[Partial]) -> Partial:
    """One Partial over the union of disjoint parts, as the module states it."""
    lse = torch.stack([part.lse for part in parts]).logsumexp(0)
    # A query without any key keeps lse = EMPTY; its weights exp(-inf - 0) are zero.
    base = torch.where(lse == EMPTY, 0.0, lse)
    out = sum((part.lse - base).exp()[..., None] * part.out for part in parts)
    return Partial(out, lse)


@pytest.mark.parametrize("cuts", [[1], [3], [2, 5], [0, 7], [1, 2, 3, 4, 5, 6]])
def test_merge_of_parts_is_the_whole(cuts):
    query, key, value = inputs()
    edges = [0, *cuts, 7]
    parts = [partial_attention(query, key[:, :, a:b], value[:, :, a:b]) for a, b in pairwise(edges)]
    assert_same_part(merge(parts), partial_attention(query, key, value))


def test_merge_of_empty_parts_is_empty():
    query, key, value = inputs()
    empty = partial_attention(query, key[:, :, :0], value[:, :, :0])
    merged = merge([empty, empty])
    assert bool((merged.lse == EMPTY).all())
    assert_bit_equal(merged.out, torch.zeros_like(merged.out))


def test_merge_survives_logits_far_apart():
    query, key, value = inputs()
    parts = [partial_attention(query * s, key, value) for s in (1e3, 1.0)]
    assert_same_part(merge(parts), merge(parts[::-1]))
    assert bool(torch.isfinite(merge(parts).out).all())


def test_gradients_through_parts():
    query, key, value = (x[:1, :1].requires_grad_() for x in inputs(T=3, S=4, D=2, E=3))

    def both(query, key, value):
        cut = (slice(None), slice(None), slice(0, 2)), (slice(None), slice(None), slice(2, 4))
        return merge([partial_attention(query, key[at], value[at]) for at in cut])

    assert torch.autograd.gradcheck(both, (query, key, value))
