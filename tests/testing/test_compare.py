"""Each comparison is shown to fail; a comparison that cannot fail would hide every other bug."""

import pytest
import torch

from adaptive_attention_tiling.testing import (
    assert_bit_equal,
    assert_causal,
    assert_close,
    assert_monotone,
)

NAN, INF = float("nan"), float("inf")


def rejects(text, check, *args, **kwargs):
    with pytest.raises(AssertionError, match=text):
        check(*args, **kwargs)


@pytest.mark.parametrize("row", ["special_case", "contract"])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str
)
def test_close_accepts_equal_and_rejects_zeros_for_ones(row, dtype):
    ones = torch.ones(3, 4, dtype=dtype)
    assert_close(ones.clone(), ones, row=row)
    rejects("differs by 1", assert_close, torch.zeros_like(ones), ones, row=row)
    rejects("differs by 1", assert_close, ones, torch.zeros_like(ones), row=row)


@pytest.mark.parametrize(("excess", "passes"), [(0.9, True), (1.1, False)])
def test_close_is_as_strict_as_its_row(excess, passes):
    expected = torch.full((5,), 100.0, dtype=torch.float64)
    actual = expected.clone()
    actual[3] += excess * 1e-12 * 100.0
    if passes:
        assert_close(actual, expected, row="special_case")
    else:
        rejects(r"at \(3,\)", assert_close, actual, expected, row="special_case")


def test_close_does_not_loosen_below_one():
    small = torch.full((5,), 1e-7, dtype=torch.float64)
    rejects("differs", assert_close, torch.zeros_like(small), small)


def test_close_has_its_own_tolerance_for_gradients():
    expected = torch.ones(2)
    actual = expected + 5e-6
    assert_close(actual, expected, row="special_case", gradient=True)
    rejects("special_case", assert_close, actual, expected, row="special_case")


@pytest.mark.parametrize(
    ("actual", "expected"), [([1.0, NAN], [1.0, 2.0]), ([1.0, 2.0], [1.0, NAN]), ([NAN], [NAN])]
)
def test_close_rejects_nan_on_either_side(actual, expected):
    rejects("NaN", assert_close, torch.tensor(actual), torch.tensor(expected))


@pytest.mark.parametrize(
    ("actual", "expected"), [([INF], [-INF]), ([1.0], [INF]), ([INF], [1.0]), ([0.0], [-INF])]
)
def test_close_matches_infinities_by_sign(actual, expected):
    assert_close(torch.tensor(expected), torch.tensor(expected))
    rejects("differs", assert_close, torch.tensor(actual), torch.tensor(expected))


@pytest.mark.parametrize("check", [assert_close, assert_bit_equal])
def test_shape_and_dtype_must_match(check):
    rejects("shape", check, torch.ones(2, 1), torch.ones(2))
    rejects("shape", check, torch.ones(1), torch.ones(2))
    rejects("dtype", check, torch.ones(2), torch.ones(2).double())


@pytest.mark.parametrize("check", [assert_close, assert_bit_equal])
def test_empty_tensors_agree_by_shape(check):
    check(torch.ones(0, 3), torch.ones(0, 3))
    rejects("shape", check, torch.ones(0, 3), torch.ones(3, 0))


@pytest.mark.parametrize("check", [assert_close, assert_bit_equal])
def test_scalars_and_integers_are_compared(check):
    check(torch.tensor(1.0), torch.tensor(1.0))
    rejects("differ", check, torch.tensor(1.0), torch.tensor(0.0))
    rejects("differ", check, torch.tensor([1, 2]), torch.tensor([1, 3]))
    rejects("differ", check, torch.tensor([True]), torch.tensor([False]))


def test_bit_equal_rejects_the_smallest_difference():
    ones = torch.ones(2, 3)
    assert_bit_equal(ones.clone(), ones)
    off = ones.clone()
    off[1, 2] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    rejects(r"1 of 6 elements differ, first at \(1, 2\)", assert_bit_equal, off, ones)
    rejects("differ", assert_bit_equal, torch.tensor([NAN]), torch.tensor([NAN]))


def running_mean(x):
    return x.cumsum(-2) / torch.arange(1, x.shape[-2] + 1).unsqueeze(-1)


def test_causal_accepts_a_running_mean():
    assert_causal(running_mean, [torch.randn(2, 7, 3)], 4)


@pytest.mark.parametrize(
    ("leaky", "text"),
    [
        (lambda x: running_mean(x) + 1e-6 * x.mean(-2, keepdim=True), "elements differ"),
        (lambda x: x.roll(-1, dims=-2), "elements differ"),
        (lambda x: x * NAN, "elements differ"),
        (torch.zeros_like, "ignores the change"),
    ],
    ids=["mean of all", "next token", "nan", "constant"],
)
def test_causal_rejects(leaky, text):
    rejects(text, assert_causal, leaky, [torch.randn(2, 7, 3)], 4)


def test_causal_changes_every_tensor_it_is_given():
    def leaks_the_second(x, y):
        return running_mean(x) + y.sum(-2, keepdim=True)

    rejects("elements differ", assert_causal, leaks_the_second, torch.randn(2, 1, 7, 3), 4)


@pytest.mark.parametrize("position", [0, 7, -1])
def test_causal_refuses_a_position_that_tests_nothing(position):
    with pytest.raises(ValueError, match="expected 1 to 6"):
        assert_causal(running_mean, [torch.randn(7, 3)], position)


def test_monotone():
    assert_monotone([1, 1, 2])
    assert_monotone(torch.tensor([2.0, 1.0, 1.0]), decreasing=True)
    assert_monotone([1.0, 0.95, 2.0], slack=0.1)
    rejects("errors: falls from 3.0 at 1 to 2.0 at 2", assert_monotone, [1, 3, 2], what="errors")
    rejects("rises", assert_monotone, [1, 2], decreasing=True)
    rejects("falls", assert_monotone, [1.0, NAN, 2.0])
    rejects("falls", assert_monotone, [1.0, 0.8], slack=0.1)
    rejects("cannot show an order", assert_monotone, [1.0])
