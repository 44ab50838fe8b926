"""Fields change while their model is trained, and nothing else does that should not."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from adaptive_attention_tiling.data.synthetic import TokenBatch
from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import (
    GaussianSplatAttentionConfig,
    ProjectionConfig,
    SoftmaxAttentionConfig,
    SplatFieldConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.splats import (
    AdaptationConfig,
    AdaptationPolicy,
    apply_edit,
    death,
)
from adaptive_attention_tiling.testing import assert_bit_equal
from adaptive_attention_tiling.training import FieldAdaptation, TrainingConfig, train
from adaptive_attention_tiling.training.loop import token_loss

V, K, D = 16, 6, 4
OFF = AdaptationConfig(every=None)
# Splats that reach a tenth of a deviation leave gaps for any token, as long as a slot is empty.
OFTEN = AdaptationConfig(
    every=2, growth=1.0, start=3, window=3, sample=64, radius=0.1, support=0.0, on_shift=False
)
TRAINING = TrainingConfig(steps=12, learning_rate=1e-2)


def batches(seed=0):
    generator = torch.Generator().manual_seed(seed)
    while True:
        text = torch.randint(V, (4, 10), generator=generator)
        yield TokenBatch(inputs=text[:, :-1], targets=text[:, 1:])


def model(*, groups=2, dead=0):
    torch.manual_seed(0)
    part = ProjectionConfig(width=16, heads=2, key_value_heads=groups, query_width=D)
    splats = GaussianSplatAttentionConfig(projection=part, field=SplatFieldConfig(splats=K))
    mixers = (splats, SoftmaxAttentionConfig(projection=part), splats)
    gpt = GPT(GPTConfig(vocabulary=V, width=16, depth=3, mixers=mixers))
    for field in fields(gpt):
        apply_edit(field, death(field.splats(), (torch.arange(K) >= K - dead).expand(groups, K)))
    return gpt


def fields(gpt):
    return [gpt.blocks[number].mixer.field for number in (0, 2)]


def assert_same_state(one: nn.Module, other: nn.Module):
    for name, value in one.state_dict().items():
        assert_bit_equal(other.state_dict()[name], value)


def test_splats_are_born_while_a_model_is_trained():
    gpt = model(dead=3)
    adaptation, births = FieldAdaptation(gpt, OFTEN), dict.fromkeys(("0", "2"), 0)

    def after_step(step, trained, optimizer):
        adaptation(step, trained, optimizer)
        for name, report in adaptation.reports.items():
            assert report.step == step
            births[name.split(".")[1]] += report.births

    result = train(gpt, batches(), TRAINING, after_step=after_step)
    assert all(number > 0 for number in births.values())
    assert all(field.alive.sum() > 2 * (K - 3) for field in fields(gpt))
    assert len(result.losses) == TRAINING.steps
    assert all(value.isfinite().all() for value in gpt.state_dict().values())


def taught(gpt, optimizer, stream, attn_mask=None):
    batch = next(stream)
    loss = token_loss(gpt(batch.inputs, attn_mask=attn_mask), batch.targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


BUSY = replace(OFTEN, radius=None, split=1.05, death=0.9, merge=0.5)


@pytest.mark.parametrize("config", [OFTEN, BUSY])
def test_it_is_what_a_policy_for_each_field_does_by_hand(config):
    """Parameters and optimizer moments alike, with two heads of queries for each of keys."""
    one, other = model(groups=1, dead=2), model(groups=1, dead=2)
    by_hook, by_hand = (AdamW(gpt.parameters(), lr=1e-2) for gpt in (one, other))
    adaptation = FieldAdaptation(one, config)
    policies = [AdaptationPolicy(config, field, by_hand) for field in fields(other)]
    edits, streams = 0, (batches(), batches())
    for step in range(10):
        seen = []
        handles = [
            other.blocks[n].mixer.projections.register_forward_hook(
                lambda _, args, out, seen=seen: seen.append(out[0])
            )
            for n in (0, 2)
        ]
        taught(one, by_hook, streams[0])
        taught(other, by_hand, streams[1])
        for handle in handles:
            handle.remove()
        adaptation(step, one, by_hook)
        for policy, (query, key, _) in zip(policies, seen, strict=True):
            policy.observe(torch.cat([*query.split(1, 1), key], 2))
            edits += policy.step(step).edits
    assert edits >= 4
    assert_same_state(one, other)
    for field, twin in zip(fields(one), fields(other), strict=True):
        for name in ("exp_avg", "exp_avg_sq"):
            moments = by_hook.state[field.raw_mean][name]
            assert_bit_equal(moments, by_hand.state[twin.raw_mean][name])
            assert moments.any()


def test_interrupted_training_goes_on_bit_for_bit():
    def fresh():
        gpt = model(dead=2)
        return gpt, AdamW(gpt.parameters(), lr=1e-2), FieldAdaptation(gpt, BUSY)

    def go_on(parts, stream, steps):
        gpt, optimizer, adaptation = parts
        edits = 0
        for step in steps:
            taught(gpt, optimizer, stream)
            adaptation(step, gpt, optimizer)
            edits += sum(report.edits for report in adaptation.reports.values())
        return edits

    whole, first, second = fresh(), fresh(), fresh()
    assert go_on(whole, batches(), range(16)) > 4
    stream = batches()
    go_on(first, stream, range(7))
    for old, new in zip(first, second, strict=True):
        new.load_state_dict(copy.deepcopy(old.state_dict()))
    assert go_on(second, stream, range(7, 16)) > 0
    assert_same_state(whole[0], second[0])


def test_switched_off_it_is_not_there():
    without, off = model(), model()
    losses = train(without, batches(), TRAINING).losses
    adaptation = FieldAdaptation(off, OFF)
    assert train(off, batches(), TRAINING, after_step=adaptation).losses == losses
    assert_same_state(without, off)
    assert not any(module._forward_hooks for module in off.modules())


def test_watching_alone_changes_nothing_and_draws_nothing_from_training():
    without, watched = model(), model()
    losses = train(without, batches(), TRAINING).losses
    adaptation = FieldAdaptation(watched, replace(OFTEN, most=0))
    assert train(watched, batches(), TRAINING, after_step=adaptation).losses == losses
    assert_same_state(without, watched)
    assert all(policy.sampled for policy in adaptation.policies.values())


def test_padding_and_evaluation_are_not_observed():
    gpt, stream = model(), batches()
    adaptation = FieldAdaptation(gpt, replace(OFTEN, sample=216))
    optimizer = AdamW(gpt.parameters())
    padding = torch.arange(9) < torch.tensor([[9], [1], [0], [2]])
    taught(gpt, optimizer, stream, attn_mask=padding)
    gpt.eval()
    gpt(next(stream).inputs)
    adaptation(0, gpt, optimizer)
    policy = adaptation.policies["blocks.0.mixer"]
    # 12 tokens as queries and as keys, though there is room for 72.
    assert policy.sampled == 24
    adaptation(1, gpt, optimizer)
    assert policy.sampled == 24, "a step without a forward pass"


def test_removed_it_sees_nothing_any_more():
    gpt, optimizer = model(), None
    adaptation = FieldAdaptation(gpt, OFTEN)
    gpt(next(batches()).inputs)
    adaptation.remove()
    adaptation(0, gpt, optimizer)
    gpt(next(batches()).inputs)
    adaptation(1, gpt, optimizer)
    assert not any(policy.sampled for policy in adaptation.policies.values())
    assert not any(module._forward_hooks for module in gpt.modules())


def test_models_without_fields_and_foreign_states_are_refused():
    with pytest.raises(ArgumentError) as caught:
        FieldAdaptation(nn.Linear(2, 2), OFTEN)
    assert caught.value.name == "model"
    adaptation = FieldAdaptation(model(), OFTEN)
    state = adaptation.state_dict()
    with pytest.raises(ArgumentError) as caught:
        adaptation.load_state_dict({"blocks.0.mixer": state["blocks.0.mixer"]})
    assert caught.value.name == "state"
