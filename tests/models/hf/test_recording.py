"""What is recorded, for which model, and that nothing stays behind."""

import time

import pytest
import torch

from adaptive_attention_tiling import TiledAttentionConfig, UnsupportedError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: E402

from adaptive_attention_tiling.models import hf  # noqa: E402

LAYOUT = TileLayout(super_block=16, tile=4, group=2, window=16, scouts=6, sinks=2)
IDS = torch.arange(3, 78)[None]


@pytest.mark.parametrize("implementation", ["sdpa", "adaptive_tiled"])
@torch.no_grad()
def test_each_call_of_each_layer_is_recorded(tiny, implementation):
    model, other = tiny("llama", implementation), tiny("llama", implementation)
    with hf.recording(model) as calls:
        model(input_ids=IDS)
        other(input_ids=IDS)
    model(input_ids=IDS)
    assert [(c.layer_idx, c.queries, c.keys) for c in calls] == [(0, 75, 75), (1, 75, 75)]
    assert all(c.seconds > 0 and c.cpu_seconds >= 0 and c.report is None for c in calls)


def test_it_is_the_call_that_is_timed(tiny):
    def slow(module, query, key, value, *args, **kwargs):
        time.sleep(0.02)
        return query.transpose(1, 2), None

    model = tiny("llama")
    before = dict(ALL_ATTENTION_FUNCTIONS)
    ALL_ATTENTION_FUNCTIONS["sdpa"] = slow
    try:
        with torch.no_grad(), hf.recording(model) as calls:
            model(input_ids=IDS)
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is slow
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]
    assert dict(ALL_ATTENTION_FUNCTIONS) == before
    assert all(0.02 <= c.seconds < 1 for c in calls)
    assert all(c.cpu_seconds < c.seconds for c in calls)


@torch.no_grad()
def test_reports_are_kept_if_asked_for(tiny):
    model = tiny("llama", "adaptive_tiled")
    hf.configure(model, TiledAttentionConfig(budget=0.25, layout=LAYOUT))
    with hf.recording(model, reports=True) as calls:
        model(input_ids=IDS)
    assert [c.layer_idx for c in calls] == [0, 1]
    assert all(0 < c.report.fraction_read < 1 for c in calls)


@torch.no_grad()
def test_results_do_not_depend_on_recording(tiny):
    model = tiny("llama", "adaptive_tiled")
    hf.configure(model, TiledAttentionConfig(budget=0.25, layout=LAYOUT))
    expected = model(input_ids=IDS).logits
    with hf.recording(model, reports=True):
        assert torch.equal(model(input_ids=IDS).logits, expected)


def test_nothing_stays_behind(tiny):
    model, other = tiny("llama"), tiny("gpt2")
    before = dict(ALL_ATTENTION_FUNCTIONS)
    attributes = [set(vars(m)) for m in model.modules()]
    with pytest.raises(RuntimeError, match="stop"), hf.recording(model), hf.recording(other):
        raise RuntimeError("stop")
    assert dict(ALL_ATTENTION_FUNCTIONS) == before
    assert [set(vars(m)) for m in model.modules()] == attributes


def test_a_model_is_recorded_once(tiny):
    model = tiny("llama")
    with (
        hf.recording(model),
        pytest.raises(UnsupportedError, match="recorded already"),
        hf.recording(model),
    ):
        pass
    with hf.recording(model):
        pass


def test_eager_is_refused(tiny):
    with pytest.raises(UnsupportedError, match="eager"), hf.recording(tiny("llama", "eager")):
        pass


@torch.no_grad()
def test_layers_without_an_index_count_from_zero(tiny):
    model = tiny("bert", "adaptive_tiled")
    with hf.recording(model) as calls:
        model(input_ids=IDS)
    assert [c.layer_idx for c in calls] == [0, 1]
