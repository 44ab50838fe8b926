import pytest
import torch

pytest.importorskip("transformers")

from adaptive_attention_tiling.errors import CorrectnessError
from adaptive_attention_tiling.evaluation.error_curve import (
    BUDGETS,
    KINDS,
    Capture,
    error_curves,
    points_per_layer,
    relative_error,
)
from adaptive_attention_tiling.evaluation.variant import observed


@pytest.fixture
def capture(model, ids):
    capture = Capture([1], tokens=560)
    with torch.no_grad(), observed(model, capture.see):
        model(ids)
    return capture


def test_golden_relative_error():
    full = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    out = torch.tensor([[3.0, 3.0], [0.0, 2.0]])
    assert relative_error(out, full) == pytest.approx(0.1)


def test_only_chosen_layers_and_tokens_are_kept(capture):
    assert list(capture.kept) == [1]
    query, key, *_ = capture.kept[1]
    assert (query.shape[2], key.shape[2]) == (560, 560)


def test_every_kind_has_a_curve_whose_error_falls_with_what_is_read(capture):
    steps = []
    curves = error_curves(capture, point_done=lambda: steps.append(1))
    assert [curve.kind for curve in curves] == [kind.name for kind in KINDS]
    assert len(steps) == points_per_layer()
    for curve in curves:
        read = [point.fraction_read for point in curve.points]
        assert read == sorted(read)
        assert curve.points[-1].error < curve.points[0].error
    for curve in curves[:3]:
        for point, budget in zip(curve.points, BUDGETS, strict=True):
            assert 0 <= budget - point.fraction_read < 0.05


def test_means_beat_dropping_what_is_not_read(capture):
    means, _, dropped, _ = error_curves(capture)
    assert means.points[0].error < dropped.points[0].error


def test_without_a_far_field_there_are_no_curves(model):
    capture = Capture([0], tokens=100)
    with torch.no_grad(), observed(model, capture.see):
        model(torch.zeros(1, 100, dtype=torch.long))
    assert error_curves(capture) == ()


def test_what_is_not_finite_is_refused_in_every_layer(model, ids):
    model.model.layers[0].self_attn.k_proj.weight.data.fill_(float("nan"))
    capture = Capture([1], tokens=10)
    with pytest.raises(CorrectnessError, match="key of layer 0"), observed(model, capture.see):
        model(ids)
