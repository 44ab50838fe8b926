"""The exponential of the kernels keeps its accuracy and its limits in every instruction set."""

import math
from decimal import Decimal, localcontext

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.backends import native

pytestmark = pytest.mark.skipif(
    not native.runnable_sets(), reason=f"no native kernels: {native.choice().reason}"
)

SMALLEST_NORMAL = {torch.float32: 2.0**-126, torch.float64: 2.0**-1022}
LARGEST = {torch.float32: torch.finfo(torch.float32).max, torch.float64: 1.7976931348623157e308}


@pytest.fixture(params=native.runnable_sets())
def kernels(request) -> native.Library:
    return native.library(request.param)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request) -> torch.dtype:
    return request.param


def exponential(kernels: native.Library, x: Tensor, threads: int = 1) -> Tensor:
    out = torch.empty_like(x)
    kernels.call("exponential", x.dtype, **{"from": x}, to=out, count=x.numel(), threads=threads)
    return out


def errors_in_last_places(got: Tensor, exact: list[Decimal], digits: int) -> Tensor:
    """|got - exact| in units of the last place of `exact`, whose significand has `digits` bits."""
    units = (Decimal(2.0 ** (math.frexp(float(e))[1] - digits)) for e in exact)
    pairs = zip(got.tolist(), exact, units, strict=True)
    return torch.tensor([float(abs(Decimal(g) - e) / unit) for g, e, unit in pairs])


def exact_exponential(x: Tensor) -> list[Decimal]:
    with localcontext() as context:
        context.prec = 30
        return [Decimal(v).exp() for v in x.tolist()]


def test_within_two_last_places_over_the_whole_range(kernels, dtype):
    lowest, highest = math.log(SMALLEST_NORMAL[dtype]), math.log(LARGEST[dtype])
    wide = torch.rand(3001, dtype=torch.float64) * (highest - lowest) + lowest
    near_zero = torch.randn(1001, dtype=torch.float64) * 10.0 ** torch.randint(-20, 0, (1001,))
    edges = torch.tensor([lowest * (1 - 1e-6), highest * (1 - 1e-6), 0.0, -0.0])
    x = torch.cat([wide, near_zero, edges.double()]).to(dtype)
    got = exponential(kernels, x)
    digits = 24 if dtype is torch.float32 else 53
    assert errors_in_last_places(got, exact_exponential(x), digits).max() <= 2


def test_errors_are_counted_in_last_places():
    one, next_to_one = Decimal(1), torch.tensor([1 + 2.0**-52], dtype=torch.float64)
    assert errors_in_last_places(next_to_one, [one], 53) == 1
    assert errors_in_last_places(next_to_one, [one], 54) == 2


def test_beyond_the_range_lie_zero_and_infinity(kernels, dtype):
    lowest, highest = math.log(SMALLEST_NORMAL[dtype]), math.log(LARGEST[dtype])
    x = torch.tensor([lowest * 1.0001, -1e30, -math.inf, highest * 1.0001, 1e30, math.inf])
    expected = torch.tensor([0.0, 0, 0, math.inf, math.inf, math.inf], dtype=dtype)
    assert torch.equal(exponential(kernels, x.to(dtype)), expected)


def test_not_a_number_stays_so(kernels, dtype):
    x = torch.tensor([0.0, math.nan, 1.0] * 7, dtype=dtype)
    assert torch.equal(exponential(kernels, x).isnan(), x.isnan())


@pytest.mark.parametrize("count", [0, 1, 7, 2047, 2048, 10001])
def test_every_length_is_written_in_full_and_no_further(kernels, dtype, count):
    x = torch.randn(count + 1, dtype=dtype)[1:]  # no alignment is taken for granted
    room = torch.full((count + 2,), 7.0, dtype=dtype)
    kernels.call("exponential", dtype, **{"from": x}, to=room[1:], count=count, threads=2)
    torch.testing.assert_close(room[1:-1], x.exp(), rtol=1e-6, atol=0)
    assert room[0] == room[-1] == 7


def test_threads_change_no_bit(kernels, dtype):
    x = torch.randn(100_003, dtype=dtype)
    once = exponential(kernels, x)
    for threads in (1, 2, 3, 16, 1000):
        assert torch.equal(exponential(kernels, x, threads), once)


def test_a_place_in_the_vector_changes_no_bit(kernels, dtype):
    x = torch.randn(67, dtype=dtype)
    whole = exponential(kernels, x)
    assert torch.equal(torch.cat([exponential(kernels, part) for part in x.split(1)]), whole)
