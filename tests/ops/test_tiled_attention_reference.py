"""The vectorised form against the loops: values, errors, plans and every gradient."""

from dataclasses import replace

import pytest
import torch

from adaptive_attention_tiling.ops.tiled_attention import tiled_attention
from adaptive_attention_tiling.testing import assert_bit_equal, assert_close

TOLERANCE, CERTIFIED = {"tolerance": 0.15}, {"tolerance": 0.8, "certified": True}
BUDGET, RESOLUTION = {"budget": 0.3}, {"resolution": 0.25}
# control, shape, padding, layout. Every row changes several things; together they meet every
# control with and without causality, 1, 2 and 4 query heads to a key head, and all paddings.
CASES = {
    "tolerance": (TOLERANCE, {"H": 2, "G": 1}, {}, {}),
    "tolerance, left": (TOLERANCE, {"H": 2, "G": 2}, {"left": 7}, {}),
    "tolerance, both sides": (TOLERANCE, {"H": 2, "G": 1}, {"left": 3, "right": 4}, {}),
    "certified": (CERTIFIED, {"H": 2, "G": 1}, {}, {}),
    "certified, right": (CERTIFIED, {"H": 2, "G": 2}, {"right": 5}, {}),
    "budget": (BUDGET, {"H": 4, "G": 1, "B": 1}, {}, {}),
    "budget, left": (BUDGET, {"H": 2, "G": 1}, {"left": 7}, {}),
    "resolution": (RESOLUTION, {"H": 2, "G": 2, "B": 1}, {"right": 5}, {}),
    "drop": (TOLERANCE, {"H": 2, "G": 1, "B": 1}, {}, {"rest": "drop"}),
    "contiguous": (TOLERANCE, {"H": 2, "G": 1, "B": 1}, {}, {"order": "contiguous"}),
    "no window, no sinks": (TOLERANCE, {"H": 2, "G": 2, "B": 1}, {}, {"window": 0, "sinks": 0}),
}


def weighted(out):
    return (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)).sum()


def both_ways(inputs, **settings):
    """Output, report and gradients of eager and of reference."""
    results = []
    for implementation in ("eager", "reference"):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        out, report = tiled_attention(
            *leaves, implementation=implementation, return_report=True, **settings
        )
        results.append((out, report, torch.autograd.grad(weighted(out), leaves)))
    return results


def assert_same(eager, reference):
    assert_close(eager[0], reference[0], what="output")
    for name in ("error_bound", "resolution", "read_by_block"):
        pair = (getattr(x[1], name) for x in (eager, reference))
        assert_close(*(x.double().nan_to_num(-1) for x in pair), what=name)
    assert_bit_equal(eager[1].tiles, reference[1].tiles, what="tiles")
    assert abs(eager[1].fraction_read - reference[1].fraction_read) < 1e-12
    for name, e, r in zip(("query", "key", "value"), eager[2], reference[2], strict=True):
        assert_close(e, r, gradient=True, what=f"gradient of {name}")


@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
@pytest.mark.parametrize(
    "case",
    CASES,
)
def test_eager_equals_reference(case, is_causal, clustered, padding, tiny):
    control, shape, sides, change = CASES[case]
    T = 53
    inputs = clustered(T, **{"B": 2, "D": 4, "noise": 0.3, "sharp": 1.0, **shape})
    mask = padding(T, B=len(inputs[0]), **sides) if sides else None
    eager, reference = both_ways(
        inputs,
        is_causal=is_causal,
        enable_gqa=True,
        key_padding_mask=mask,
        layout=replace(tiny, **change),
        **control,
    )
    assert_same(eager, reference)
    assert 0 <= eager[1].fraction_read < 1


@pytest.mark.parametrize("control", [TOLERANCE, CERTIFIED, BUDGET], ids=str)
def test_eager_equals_reference_in_cross_attention(control, draw, padding, tiny):
    inputs = draw(21, S=45, H=2, G=1, D=4, E=3)
    mask = padding(45, right=4)
    settings = {"enable_gqa": True, "key_padding_mask": mask, "layout": tiny}
    assert_same(*both_ways(inputs, **settings, **control))


@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
def test_eager_equals_reference_in_float32(is_causal, clustered, tiny):
    inputs = clustered(53, B=1, H=2, G=1, D=4, noise=0.3, dtype=torch.float32)
    settings = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny, "budget": 0.3}
    outs = [tiled_attention(*inputs, implementation=i, **settings) for i in ("eager", "reference")]
    assert_close(*outs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("control", [TOLERANCE, CERTIFIED, BUDGET, {"resolution": 1.0}], ids=str)
@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
def test_half_precision_is_computed_in_float32(is_causal, control, dtype, clustered, tiny):
    inputs = clustered(83, dtype=dtype)
    settings = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny, **control}
    out = tiled_attention(*inputs, **settings)
    assert out.dtype == dtype
    exact = tiled_attention(*(x.float() for x in inputs), **settings)
    assert_close(out, exact.to(dtype))


@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
def test_gradients_of_a_fixed_plan(is_causal, draw, tiny):
    layout = replace(tiny, super_block=8, tile=2, group=2, window=0, order="contiguous")
    inputs = [x.requires_grad_() for x in draw(19, B=1, H=2, G=1, D=2, E=3)]
    # Exactly, through a group's mean, and half dropped; with no causality for block 2 as well.
    plan = torch.tensor([1.0, 0.5, 0.25, 0.25, 0.0, 1.0, 0.5, 0.25])
    plan = plan if is_causal else torch.cat([plan, plan[:4]])

    def attend(query, key, value):
        settings = {"is_causal": is_causal, "enable_gqa": True, "layout": layout}
        return tiled_attention(query, key, value, resolution=plan, **settings)

    assert torch.autograd.gradcheck(attend, inputs)
    assert not torch.allclose(
        attend(*inputs),
        tiled_attention(*inputs, resolution=1.0, enable_gqa=True, is_causal=is_causal),
    )


@pytest.mark.parametrize("sides", [{}, {"left": 5}, {"right": 5}], ids=str)
@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "bidirectional"])
def test_gradients_are_finite_and_padding_has_none(is_causal, sides, clustered, padding, tiny):
    mask = padding(60, **sides)
    leaves = [x.requires_grad_() for x in clustered(60)]
    settings = {"is_causal": is_causal, "enable_gqa": True, "layout": tiny, "tolerance": 0.2}
    out = tiled_attention(*leaves, key_padding_mask=mask, **settings)
    grads = torch.autograd.grad(weighted(out), leaves)
    for grad in grads:
        assert bool(torch.isfinite(grad).all())
        assert bool(grad.any())
    for grad in grads[1:]:
        assert not (grad * ~mask[:, None, :, None]).any()
