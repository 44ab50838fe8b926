"""The truths of the gate, against the references of the operations themselves."""

from functools import partial

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.fidelity_attention import fidelity_attention
from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.testing import assert_close

ROWS = torch.tensor([0, 5, 20])


@pytest.fixture
def rules():
    from benchmarks import rules

    return rules


@pytest.fixture
def tensors():
    return list(torch.randn(3, 1, 2, 21, 6, dtype=torch.float64))


def test_softmax_at_rows(rules, tensors):
    exact = scaled_dot_product_attention(*tensors, is_causal=True)[:, :, ROWS]
    assert_close(rules.softmax_rows(*tensors, ROWS), exact)
    shared = [tensors[0], *(x[:, :1] for x in tensors[1:])]
    exact = scaled_dot_product_attention(*shared, is_causal=True, enable_gqa=True)[:, :, ROWS]
    assert_close(rules.softmax_rows(*shared, ROWS), exact)


def test_softmax_over_a_window(rules, tensors):
    query, key, value = tensors
    last = [x[:, :, 17:21] for x in (key, value)]
    exact = scaled_dot_product_attention(query[:, :, 20:], *last)
    assert_close(rules.softmax_rows(query, key, value, ROWS, window=4)[:, :, 2:], exact)


def test_splats_at_rows(rules, tensors):
    from adaptive_attention_tiling.splats import SplatField

    field = SplatField.random(heads=2, splats=3, width=6).double()
    exact = splat_attention(*tensors, field, is_causal=True, implementation="reference")
    assert_close(rules.splat_rows(*tensors, field, ROWS), exact[:, :, ROWS])


def test_features_at_rows(rules, tensors):
    exact = linear_attention(*tensors, is_causal=True, implementation="parallel")
    assert_close(rules.linear_rows(*tensors, ROWS), exact[:, :, ROWS])
    exact = fidelity_attention(*tensors, is_causal=True, implementation="reference")
    assert_close(rules.fidelity_rows(*tensors, ROWS), exact[:, :, ROWS])


def test_sums_at_rows(rules, tensors):
    query, key, value = tensors
    exact = torch.einsum("bhd,bhtd,bhte->bhe", query[:, :, 5], key[:, :, :6], value[:, :, :6])
    assert_close(rules.sum_rows(query, key, value, ROWS)[:, :, 1], exact)


def test_a_delta_rule_that_writes_over_one_key_returns_the_last_value(rules):
    key = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    key[..., 0] = 1
    value = torch.randn(1, 1, 3, 2, dtype=torch.float64)
    nothing, whole = torch.zeros(1, 1, 3).double(), torch.ones(1, 1, 3).double()
    read = rules.gated_delta_rows(2 * key, key, value, nothing, whole, torch.arange(3))
    assert_close(read, value)


@pytest.mark.parametrize("peer", ["whole rule", "sums only", "cumulative", "gated delta"])
def test_peers_compute_their_rules(rules, peer):
    from benchmarks.contender import Absent, admitted
    from benchmarks.job import random_job
    from benchmarks.linear_attention import gated_delta, onnx, with_delta
    from benchmarks.peers.cumulative import cumulative_linear_attention

    job = with_delta(random_job(70, heads=2, width=8))
    contender = {
        "whole rule": lambda: onnx(job)[0],
        "sums only": lambda: onnx(job)[1],
        "cumulative": lambda: job.contender(peer, cumulative_linear_attention, rules.linear_rows),
        "gated delta": lambda: gated_delta(job),
    }[peer]()
    if isinstance(contender, Absent):
        pytest.skip(contender.reason)
    assert admitted(contender) < 1e-5


def test_a_job_gives_the_gradients_of_the_rows_looked_at(rules):
    from benchmarks.job import random_job

    job = random_job(30, backward=True, heads=1, width=4)
    attend = partial(scaled_dot_product_attention, is_causal=True)
    out, *gradients = job.contender("sdpa", attend, rules.softmax_rows).answer()
    leaves = list(job.tensors.values())
    whole = attend(*leaves)
    few = torch.autograd.grad(
        whole[:, :, job.rows], leaves, job.outer[:, :, job.rows], retain_graph=True
    )
    for actual, expected in zip((out, *gradients), (whole[:, :, job.rows], *few), strict=True):
        assert_close(actual, expected, gradient=True)
    assert job.rows[-1] == 29
