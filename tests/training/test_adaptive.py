"""A step that learns and holds a compute budget."""

import pytest
import torch

from adaptive_attention_tiling.data.synthetic import TokenBatch
from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.layers import (
    AdaptiveAttentionConfig,
    ProjectionConfig,
    SoftmaxAttentionConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.training import AdaptiveOptimizer

V, T, C = 32, 129, 16
PROJECTION = ProjectionConfig(width=C, heads=2)


def model_of(depth=1, **settings):
    mixers = AdaptiveAttentionConfig(
        sequence_length=128,
        projection=PROJECTION,
        min_tile_size=4,
        max_tile_size=16,
        d_state=4,
        **settings,
    )
    torch.manual_seed(0)
    return GPT(GPTConfig(vocabulary=V, width=C, depth=depth, mixers=mixers))


def batches(B=16, seed=0):
    """Stretches of 8 tokens that are drawn from few or from all of the vocabulary."""
    source = torch.Generator().manual_seed(seed)
    while True:
        wide = torch.rand(B, T // 8 + 1, generator=source) < 0.5
        most = torch.where(wide, V, 2).repeat_interleave(8, 1)[:, :T]
        tokens = (torch.rand(B, T, generator=source) * most).long()
        yield TokenBatch(inputs=tokens[:, :-1], targets=tokens[:, 1:])


@pytest.mark.parametrize("estimator", ["straight_through", "none"])
def test_the_mean_resolution_converges_to_the_budget(estimator):
    optimizer = AdaptiveOptimizer(model_of(estimator=estimator), base_lr=1e-3)
    stream = batches()
    for budget in (0.5, 0.3):
        found = [optimizer.optimize_step(next(stream), budget).mean_resolution for _ in range(40)]
        settled = torch.tensor(found[20:])
        assert abs(settled.mean() - budget) < 0.02 * budget


def test_it_learns():
    optimizer = AdaptiveOptimizer(model_of(), base_lr=1e-2)
    stream = batches()
    losses = [optimizer.optimize_step(next(stream), 0.5).task_loss for _ in range(20)]
    assert losses[-1] < losses[0] - 0.5


def test_a_report_tells_what_the_step_read():
    optimizer = AdaptiveOptimizer(model_of(depth=2, rule="uniform", compute_budget=0.5))
    batch = next(batches())
    report = optimizer.optimize_step(batch)
    assert report.mean_resolution == 0.5
    assert report.adaptation_efficiency == 0.0
    assert 0 < report.compute_share < 1
    assert len(report.prices) == 2
    assert optimizer.optimize_step(batch, 0.25).mean_resolution == 0.5  # adapts for the next step
    third = optimizer.optimize_step(batch, 0.25)
    assert third.mean_resolution == 0.25
    assert third.compute_share < report.compute_share
    assert third.adaptation_efficiency == pytest.approx(-0.25 * 0.5)  # loads are even


def test_checkpointed_steps_are_the_same_to_the_last_figure():
    """Prices move after the backward pass, which computes the same tiles again."""
    reports = []
    for checkpoint in (False, True):
        optimizer = AdaptiveOptimizer(model_of(checkpoint=checkpoint), base_lr=1e-2)
        stream = batches()
        steps = [optimizer.optimize_step(next(stream), 0.5) for _ in range(4)]
        reports.append([(s.task_loss, s.mean_resolution, s.prices) for s in steps])
    for plain, again in zip(*reports, strict=True):
        assert again[0] == pytest.approx(plain[0], abs=1e-5)
        assert again[1:] == plain[1:]


def test_another_optimizer_may_step():
    model = model_of()
    optimizer = AdaptiveOptimizer(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.optimize_step(next(batches()), 0.5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_loss_that_is_not_finite_changes_nothing():
    model = model_of()
    optimizer = AdaptiveOptimizer(model)
    batch = next(batches())
    asked_nothing = TokenBatch(inputs=batch.inputs, targets=torch.full_like(batch.targets, -100))
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(CorrectnessError, match="loss"):
        optimizer.optimize_step(asked_nothing, 0.5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_model_without_a_system_is_refused():
    plain = GPTConfig(
        vocabulary=V, width=C, depth=1, mixers=SoftmaxAttentionConfig(projection=PROJECTION)
    )
    with pytest.raises(ArgumentError, match="AdaptiveAttentionSystem"):
        AdaptiveOptimizer(GPT(plain))


@pytest.mark.parametrize("rate", [0.0, 1.5])
def test_a_rate_is_a_part(rate):
    with pytest.raises(ArgumentError, match="rate"):
        AdaptiveOptimizer(model_of(), rate=rate)
