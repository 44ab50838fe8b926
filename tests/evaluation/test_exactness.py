import math

import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.errors import CorrectnessError
from adaptive_attention_tiling.evaluation import exactness
from adaptive_attention_tiling.evaluation.exactness import LARGEST_DIFFERENCE, check_exactness


def test_the_op_passes_the_gate(model, ids):
    assert 0 <= check_exactness(model, ids) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("fault", [1e-3, math.nan])
def test_a_broken_op_does_not_pass(model, ids, monkeypatch, fault):
    right = exactness.tiled_attention

    def broken(query, key, value, **options):
        out = right(query, key, value, **options)
        out[0, 0, -1, 0] += fault * value.abs().max()
        return out

    monkeypatch.setattr(exactness, "tiled_attention", broken)
    with pytest.raises(CorrectnessError, match="layer 0: reading every token differs from SDPA"):
        check_exactness(model, ids)


def test_the_gate_does_not_take_the_short_cut(model, ids, monkeypatch):
    def no_short_cut(*_, **__):
        raise AssertionError("answered by SDPA itself")

    monkeypatch.setattr(
        "adaptive_attention_tiling.ops.tiled_attention.interface.exact_attention", no_short_cut
    )
    check_exactness(model, ids)


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_a_model_that_overflows_is_named(model, ids, name):
    layer = model.model.layers[1].self_attn
    getattr(layer, f"{name[0]}_proj").weight.data[0, 0] = math.inf
    with pytest.raises(CorrectnessError, match=rf"{name} of layer 1: \d+ of \d+ entries are NaN"):
        check_exactness(model, ids)


def test_a_text_without_a_far_field_passes(model):
    check_exactness(model, torch.zeros(1, 16, dtype=torch.long))
