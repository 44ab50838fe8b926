import math

import pytest
import torch
from torch.nn.functional import cross_entropy

pytest.importorskip("transformers")

from adaptive_attention_tiling.backends import memory
from adaptive_attention_tiling.errors import CorrectnessError
from adaptive_attention_tiling.evaluation.prefill import (
    prefill,
    second_half_loss,
    settled_bytes,
    watch,
)
from adaptive_attention_tiling.ops.tiled_attention import TiledAttentionConfig


@torch.no_grad()
def test_loss_in_chunks_is_the_loss_on_the_second_half(model, ids):
    logits = model(ids).logits[0]
    expected = cross_entropy(logits[299:-1], ids[0, 300:]).item()
    measured = prefill(model, ids, None, loaded_bytes=None)
    assert measured.loss == pytest.approx(expected, rel=1e-5)


def test_golden_loss_of_a_head_that_knows_nothing():
    hidden, ids = torch.zeros(1, 9, 4), torch.arange(9)[None]
    assert second_half_loss(lambda x: x.new_zeros(len(x), 10), hidden, ids) == pytest.approx(
        math.log(10)
    )


def test_a_loss_that_is_not_finite_is_refused():
    hidden, ids = torch.zeros(1, 8, 4), torch.zeros(1, 8, dtype=torch.long)
    with pytest.raises(CorrectnessError, match="loss: got nan over 4 tokens"):
        second_half_loss(lambda x: x.new_full((len(x), 2), math.nan), hidden, ids)


def test_attention_is_a_part_of_the_model(model, ids):
    for config in (None, TiledAttentionConfig()):
        steps = []
        measured = prefill(
            model, ids, config, loaded_bytes=None, layer_done=lambda seen=steps: seen.append(1)
        )
        assert 0 < measured.attention.wall_s < measured.model.wall_s
        assert 0 < measured.attention.cpu_s < measured.model.cpu_s
        assert measured.peak_bytes is None
        assert len(steps) == 2


@pytest.mark.skipif(not memory.reset_peak(), reason="the peak of memory cannot be reset here")
def test_the_peak_holds_what_attention_must_form(model, ids):
    loaded = settled_bytes()
    ballast = torch.ones(2**25)  # 128 MiB that were not there when the model was loaded
    measured = prefill(model, ids, None, loaded_bytes=loaded)
    assert 2**27 <= measured.peak_bytes < 2**29
    del ballast


def test_exact_tolerance_gives_the_exact_loss(model, ids):
    exact = prefill(model, ids, None, loaded_bytes=None)
    tiled = prefill(model, ids, TiledAttentionConfig(tolerance=0.0), loaded_bytes=None)
    assert tiled.loss == pytest.approx(exact.loss, abs=1e-6)


def test_what_was_read_of_a_text_with_a_far_field(model, ids):
    read = watch(model, ids, TiledAttentionConfig(budget=0.25))
    assert 0.1 < read.fraction_read <= 0.25
    heads = [x for row in read.by_head for x in row]
    assert [len(row) for row in read.by_head] == [2, 2]
    assert sum(heads) / len(heads) == pytest.approx(read.fraction_read, abs=1e-6)
    # Only the first of three blocks is far from anyone, and its sinks never are.
    far = [not math.isnan(x) for x in read.by_token]
    assert far == [False] * 4 + [True] * 252 + [False] * 344
    assert all(0 < x <= 1 for x in read.by_token[4:256])


def test_reading_everything_is_seen_as_such(model, ids):
    read = watch(model, ids, TiledAttentionConfig(tolerance=0.0))
    assert read.fraction_read == 1.0
    assert set(read.by_token[4:256]) == {1.0}


def test_a_text_without_a_far_field_has_nothing_to_show(model):
    read = watch(model, torch.zeros(1, 20, dtype=torch.long), TiledAttentionConfig())
    assert read.fraction_read == 1.0
    assert all(math.isnan(x) for x in read.by_token)
    assert len(read.by_token) == 20
    assert all(math.isnan(x) for row in read.by_head for x in row)
