import math
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.heights import local_heights
from adaptive_attention_tiling.tiling.bit_budget import (
    bit_budget,
    lossless_share,
    to_fixed_point,
)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def grid(shape, step, largest, seed=0, dtype=torch.float32):
    """Random multiples of `step` with one entry of the largest size in each tile of 4 tokens."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(-largest, largest + 1, shape, generator=generator)
    codes[..., ::4, 0] = largest
    return (codes.double() * step).to(dtype)


def test_a_grid_of_sixteenths_takes_four_and_four_bits():
    tensor = grid((3, 16, 8), 1 / 16, 255)
    budget = bit_budget(tensor, 4)
    assert budget.integer_bits.shape == (3, 4)
    assert budget.integer_bits.unique().tolist() == [4]
    assert budget.fraction_bits.unique().tolist() == [4]
    assert budget.signed_width.unique().tolist() == [9]
    codes = to_fixed_point(tensor, 4, 16)
    assert codes.codes.dtype == torch.int16
    assert torch.equal(codes.restored(torch.float32), tensor)


def awkward(dtype):
    """Entries at the ends of a type: subnormal, largest, powers of two of both signs, zeros."""
    generator = torch.Generator().manual_seed(1)
    if not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        random_part = torch.randint(info.min // 2, info.max // 2, (24,), generator=generator)
        ends = [info.min, info.max, 0, 0, 1, info.max // 2, info.max // 2 + 1, info.min // 2]
        ends = [*ends, info.max - 1, -(info.max - 1), 4, 3]
        random_part = (random_part >> torch.randint(0, 7, (24,), generator=generator)).to(dtype)
        return torch.cat([torch.tensor(ends, dtype=dtype), random_part]).view(12, 3)
    info = torch.finfo(dtype)
    ends = [info.max, -info.max, info.smallest_normal, -info.smallest_normal * info.eps, 0, 0]
    ends += [1.0, -1.0, -0.5, 1 + info.eps, -0.0, 3.0]
    scale = torch.exp2(torch.randint(-9, 9, (24,), generator=generator).double())
    spread = (torch.randn(24, generator=generator, dtype=torch.float64) * scale).to(dtype)
    return torch.cat([torch.tensor(ends, dtype=torch.float64).to(dtype), spread]).view(12, 3)


def slow_budget(entries):
    """leading, trailing, signed width and significant bits by Fractions."""
    values = [Fraction(x) for x in entries if x]
    if not values:
        return 0, 0, 0, 0
    leading = max(
        abs(x).numerator.bit_length() - abs(x).denominator.bit_length() + 1 for x in values
    )
    trailing = min(_order(x) for x in values)
    codes = [x / Fraction(2) ** trailing for x in values]
    assert all(code.denominator == 1 for code in codes)
    width = next(
        b for b in range(1, 5000) if all(-(2 ** (b - 1)) <= int(c) < 2 ** (b - 1) for c in codes)
    )
    return (
        leading,
        trailing,
        width,
        max((int(x / Fraction(2) ** _order(x))).bit_length() for x in values),
    )


def _order(x):
    low = x.numerator & -x.numerator
    return low.bit_length() - x.denominator.bit_length()


@pytest.mark.parametrize("tile", [1, 2, 5, 12])
@pytest.mark.parametrize(
    "dtype", [*FLOATS, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]
)
def test_budgets_are_those_of_exact_fractions(dtype, tile):
    tensor = awkward(dtype)
    budget = bit_budget(tensor, tile)
    for place, part in enumerate(tensor.split(tile)):
        expected = slow_budget(part.flatten().tolist())
        fields = (budget.leading, budget.trailing, budget.signed_width, budget.significant)
        assert tuple(int(field[place]) for field in fields) == expected


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_are_the_local_heights_of_the_tile(dtype):
    tensor = awkward(dtype)[2:]
    budget = bit_budget(tensor, 2)
    for place, part in enumerate(tensor.split(2)):
        heights = local_heights([*map(Fraction, part.flatten().tolist()), 1])
        archimedean, dyadic = heights["infinity"] / math.log(2), heights.get(2, 0.0) / math.log(2)
        assert int(budget.fraction_bits[place]) == round(dyadic)
        leading = int(budget.leading[place])
        assert int(budget.integer_bits[place]) == (
            math.floor(archimedean) + 1 if leading > 0 else 0
        )


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", FLOATS)
def test_a_float_type_fits_just_if_the_round_trip_loses_nothing(source, target):
    tensor = awkward(source)
    fits = bit_budget(tensor, 1).fits_float(target)
    kept = (tensor.to(target).to(source) == tensor).all(-1)
    assert fits.tolist() == kept.tolist()


def test_the_smallest_float_type_of_each_tile():
    tiles = torch.tensor(
        [[1.5, 65504.0], [1.0, 2.0**100], [1 + 2.0**-20, 0.0], [1 + 2.0**-40, 3.0], [0.0, 0.0]],
        dtype=torch.float64,
    )
    assert bit_budget(tiles, 1).float_dtypes() == [*FLOATS, torch.float16]
    long_integer = torch.tensor([[2**62 + 1]])
    assert bit_budget(long_integer, 1).float_dtypes() == [None]


@pytest.mark.parametrize(("bits", "step"), [(4, 0.25), (8, 2.0**-30), (8, 32.0), (16, 1e-300)])
def test_a_grid_with_a_power_of_two_as_scale_comes_back_exactly(bits, step):
    step = 2.0 ** math.floor(math.log2(step))
    largest = 2 ** (bits - 1) - 1
    tensor = grid((2, 10, 5), step, largest, dtype=torch.float64)
    tensor[0, 1, 1] = -(largest + 1) * step
    assert lossless_share(tensor, 4, bits) == 1.0
    assert lossless_share(tensor, 4, bits // 2) == 0.0
    fixed = to_fixed_point(tensor, 4, bits)
    assert torch.equal(fixed.restored(torch.float64), tensor)
    # One unit more at the top, or half a unit below, is one bit too many.
    for value, where in (((largest + 1) * step, (0, 0, 1)), (step / 2, (1, 5, 2))):
        spoilt = tensor.clone()
        spoilt[where] = value
        assert lossless_share(spoilt, 4, bits) == 5 / 6
        with pytest.raises(
            ArgumentError, match=rf"bits: got {bits}, where a tile takes {bits + 1}"
        ):
            to_fixed_point(spoilt, 4, bits)


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int8, torch.int32, torch.int64])
def test_round_trips_of_every_type(dtype):
    tensor = awkward(dtype)
    budget = bit_budget(tensor, 1)
    bits = budget.fixed_point_bits()
    assert bool(((bits >= budget.signed_width) | (bits == 0)).all())
    kept = tensor[(bits > 0) & (bits <= 64)]
    assert len(kept) >= 7
    assert torch.equal(to_fixed_point(kept, 1, 64).restored(dtype), kept)
    for width in (4, 8, 16, 32):
        narrow = tensor[(bits > 0) & (bits <= width)]
        if len(narrow):
            assert torch.equal(to_fixed_point(narrow, 1, width).restored(dtype), narrow)


def test_random_bfloat16_keys_fit_no_eight_bit_grid():
    # An honest finding: rounding to 8 significant bits leaves exponents that a grid cannot hold.
    generator = torch.Generator().manual_seed(2)
    keys = torch.randn(1, 3, 256, 64, generator=generator).bfloat16()
    assert [lossless_share(keys, 16, bits) for bits in (4, 8, 16)] == [0.0, 0.0, 0.0]
    assert set(bit_budget(keys, 16).float_dtypes()) <= {torch.float16, torch.bfloat16}


def test_zeros_take_nothing():
    budget = bit_budget(torch.zeros(5, 3), 2)
    assert budget.signed_width.tolist() == budget.leading.tolist() == [0, 0, 0]
    assert budget.fixed_point_bits().tolist() == [4, 4, 4]
    assert torch.equal(
        to_fixed_point(torch.zeros(5, 3), 2, 4).restored(torch.float32), torch.zeros(5, 3)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bit_budget(torch.tensor([[torch.nan]]), 1), "tensor: got NaN or infinity"),
        (lambda: bit_budget(torch.tensor([[torch.inf]]), 1), "tensor: got NaN or infinity"),
        (lambda: bit_budget(torch.ones(3), 1), r"tensor: got torch.float32 \[3\]"),
        (lambda: bit_budget(torch.ones(2, 2, dtype=torch.bool), 1), "tensor: got torch.bool"),
        (lambda: bit_budget(torch.ones(2, 2), 0), "tile: got 0"),
        (lambda: to_fixed_point(torch.ones(2, 2), 1, 5), "bits: got 5"),
        (lambda: bit_budget(torch.ones(2, 2), 1).fits_float(torch.int8), "dtype: got torch.int8"),
    ],
)
def test_what_has_no_budget_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
