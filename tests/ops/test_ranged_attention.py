"""Attention over a range of keys, in torch and in kernels, against one mask over all pairs."""

import pytest
import torch

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.ops.softmax_attention import (
    EMPTY,
    Partial,
    ranged_attention,
    window_attention,
)
from adaptive_attention_tiling.testing import assert_close


@pytest.fixture(autouse=True, params=("off", *native.runnable_sets()[:1]))
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, request.param)


def inputs(T, S, *, B=2, H=2, R=2, D=4, E=3, dtype=torch.float64):
    source = torch.Generator().manual_seed(T * 1000 + S)
    shapes = (B, H, R, T, D), (B, H, S, D), (B, H, S, E)
    return [torch.randn(s, generator=source, dtype=torch.float64).to(dtype) for s in shapes]


def masked(query, key, value, shown, *, scale):
    """The same by one mask [B, H, T, S] and softmax over everything."""
    logits = scale * query @ key[:, :, None].mT
    logits = logits.masked_fill(~shown[:, :, None], EMPTY)
    lse = logits.logsumexp(-1)
    weights = (logits - torch.where(lse == EMPTY, 0.0, lse)[..., None]).exp()
    return Partial(weights @ value[:, :, None], lse)


def mask(T, S, *, offset, window, is_causal):
    i, j = torch.arange(T)[:, None] + offset, torch.arange(S)
    window = T + S + abs(offset) if window is None else window
    shown = (j > i - window) & (j <= i) if is_causal else (i - j).abs() < window
    return shown.expand(2, 2, T, S)


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 5, 64, 1000])
@pytest.mark.parametrize(("T", "S", "offset"), [(1, 1, 0), (7, 7, 0), (300, 300, 0), (140, 9, -3)])
def test_equals_one_mask(T, S, offset, window, is_causal):
    query, key, value = inputs(T, S)
    rule = {"offset": offset, "window": window, "is_causal": is_causal}
    part = ranged_attention(query, key, value, scale=0.5, **rule)
    expected = masked(query, key, value, mask(T, S, **rule), scale=0.5)
    assert_close(part.out, expected.out)
    assert_close(part.lse, expected.lse)


def test_bias_of_a_key():
    query, key, value = inputs(200, 200)
    bias = torch.randn(2, 200, dtype=torch.float64)
    bias[0, 3:150] = EMPTY
    part = ranged_attention(query, key, value, scale=0.5, window=9, bias=bias)
    wider = torch.cat([key, bias[:, None, :, None].expand(2, 2, -1, 1).clamp_min(-1e9)], -1)
    asking = torch.cat([query, torch.full_like(query[..., :1], 2.0)], -1)
    shown = mask(200, 200, offset=0, window=9, is_causal=True) & (bias > EMPTY)[:, None, None]
    expected = masked(asking, wider, value, shown, scale=0.5)
    assert_close(part.out, expected.out)
    assert_close(part.lse, expected.lse)
    assert bool((part.lse[0, :, :, 20:140] == EMPTY).all())


def test_window_reads_the_slots_before_the_first_query():
    window, length = 5, 12
    query, key, value = inputs(length, window + length)
    visible = torch.rand(2, 2, window + length) < 0.7
    part = window_attention(query, key, value, visible, window=window, scale=0.3)
    shown = torch.zeros(2, 2, length, window + length, dtype=torch.bool)
    for i in range(length):
        shown[:, :, i, i + 1 : i + window + 1] = visible[:, :, i + 1 : i + window + 1]
    expected = masked(query, key, value, shown, scale=0.3)
    assert_close(part.out, expected.out)
    assert_close(part.lse, expected.lse)


def test_gradients():
    query, key, value = (x.requires_grad_() for x in inputs(150, 150))
    rule = {"offset": 0, "window": 6, "is_causal": False}
    weights = torch.randn(2, 2, 2, 150, 4, dtype=torch.float64)

    def gradients(part):
        total = (part.out * weights[..., :3]).sum() + (part.lse * weights[..., 3]).sum()
        return torch.autograd.grad(total, (query, key, value))

    actual = gradients(ranged_attention(query, key, value, scale=0.5, **rule))
    expected = gradients(masked(query, key, value, mask(150, 150, **rule), scale=0.5))
    for name, got, wanted in zip(("query", "key", "value"), actual, expected, strict=True):
        assert_close(got, wanted, gradient=True, what=name)
