"""How many bits the numbers of a tile take, exactly: heights as budgets.

A float is a dyadic rational, x = M 2^v with M odd, so that two of its local heights say all: the
archimedean one, log max|x|, how many bits stand before the point, and the 2-adic one, log of the
denominator, how many stand behind it. All is read off exponents and lowest set bits, in O(n).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from ..errors import ArgumentError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = {8: torch.int8, 16: torch.int16, 32: torch.int32, 64: torch.int64}
_FIXED_WIDTHS = (4, 8, 16, 32, 64)
# Of float64: mantissas m of frexp, 1/2 <= |m| < 1, are multiples of 2^-53.
_MANTISSA_BITS = 53
# Below every valuation and every exponent of a float64.
_LOWEST, _HIGHEST = -(2**20), 2**20


@dataclass(frozen=True)
class BitBudget:
    """What the entries of each tile take; a tile of zeros takes nothing, and all is 0.

    Args:
        leading: e with 2^(e-1) <= max|x| < 2^e.
        trailing: min v_2(x): every entry is a multiple of 2^trailing, and one an odd multiple.
        signed_width: bits of the two's complement integers x / 2^trailing, their sign counted.
        significant: the most bits between the first and the last set bit of one entry.
    """

    leading: Int[Tensor, "*b n"]
    trailing: Int[Tensor, "*b n"]
    signed_width: Int[Tensor, "*b n"]
    significant: Int[Tensor, "*b n"]

    @property
    def integer_bits(self) -> Int[Tensor, "*b n"]:
        """Bits before the point: the archimedean height of [x_1 : ... : x_m : 1], in whole bits."""
        return self.leading.clamp(min=0)

    @property
    def fraction_bits(self) -> Int[Tensor, "*b n"]:
        """Bits behind the point: the 2-adic height, log2 of the common denominator."""
        return (-self.trailing).clamp(min=0)

    def fits_fixed_point(self, bits: int) -> Bool[Tensor, "*b n"]:
        """Whether signed integers of so many bits, with a power of two as scale, hold the tile."""
        return self.signed_width <= bits

    def fixed_point_bits(self) -> Int[Tensor, "*b n"]:
        """The least of 4, 8, 16, 32 and 64 bits that holds the tile; 0 where none does."""
        least = torch.zeros_like(self.signed_width)
        for bits in reversed(_FIXED_WIDTHS):
            least = torch.where(self.fits_fixed_point(bits), bits, least)
        return least

    def fits_float(self, dtype: torch.dtype) -> Bool[Tensor, "*b n"]:
        """Whether a float type holds every entry: enough digits, no overflow, no bit below its
        least subnormal number."""
        if dtype not in _FLOATS:
            raise ArgumentError("dtype", dtype, f"one of {_FLOATS}", "pass torch.bfloat16")
        info = torch.finfo(dtype)
        digits = 1 - _exponent(info.eps)
        least = _exponent(info.smallest_normal) + 1 - digits
        fits = (self.significant <= digits) & (self.leading <= _exponent(info.max) + 1)
        return fits & (self.trailing >= least)

    def float_dtypes(self) -> list[torch.dtype | None]:
        """The smallest of float16, bfloat16, float32 and float64 for each tile, in order of the
        flattened tiles; None where none holds it (long integers)."""
        columns = [self.fits_float(dtype).flatten().tolist() for dtype in _FLOATS]
        return [
            next((d for d, fits in zip(_FLOATS, row, strict=True) if fits), None)
            for row in zip(*columns, strict=True)
        ]


@dataclass(frozen=True)
class FixedPointFormat:
    """x = codes 2^exponent, exactly, with one exponent a tile.

    Args:
        codes: signed integers of the shape of x; 4 bits are kept in an int8.
        exponents: [*b, tiles].
        tile: tokens a tile.
    """

    codes: Int[Tensor, "*b s d"]
    exponents: Int[Tensor, "*b n"]
    tile: int

    def restored(self, dtype: torch.dtype) -> Shaped[Tensor, "*b s d"]:
        """The tensor in the type it had."""
        exponents = _spread(self.exponents, self.tile, self.codes)
        if not dtype.is_floating_point:
            return (self.codes.long() << exponents).to(dtype)
        return (self.codes.double() * torch.exp2(exponents.double())).to(dtype)


def bit_budget(tensor: Shaped[Tensor, "*b s d"], tile: int) -> BitBudget:
    """The bits that each run of `tile` tokens takes, all D entries of a token together.

    The last tile may be shorter.

    Args:
        tensor: float16, bfloat16, float32, float64 or an integer type, tokens on the last axis
            but one.
        tile: tokens a tile, >= 1.

    Raises:
        ArgumentError: for NaN and infinities, which have no height, and other types.
    """
    _check(tensor, tile)
    leading, trailing, magnitude = _bits_of_entries(tensor)
    zero = tensor == 0
    low = _tiles(trailing.masked_fill(zero, _HIGHEST), tile, _HIGHEST).amin(-1)
    high = _tiles(leading.masked_fill(zero, _LOWEST), tile, _LOWEST).amax(-1)
    signed = _tiles(magnitude.masked_fill(zero, _LOWEST), tile, _LOWEST).amax(-1)
    own = _tiles((leading - trailing).masked_fill(zero, 0), tile, 0).amax(-1)
    empty = high == _LOWEST
    low, high = low.masked_fill(empty, 0), high.masked_fill(empty, 0)
    # A tile of -2^k alone: the code is -1, of one bit.
    signed = (signed - low).clamp(min=0) + 1
    return BitBudget(high, low, signed.masked_fill(empty, 0), own)


def to_fixed_point(tensor: Shaped[Tensor, "*b s d"], tile: int, bits: int) -> FixedPointFormat:
    """Each tile as signed integers and the power of two that loses nothing.

    Args:
        tensor: as `bit_budget` takes it.
        tile: tokens a tile.
        bits: 4, 8, 16, 32 or 64.

    Raises:
        ArgumentError: where a tile does not fit, telling the bits that would hold it.
    """
    if bits not in _FIXED_WIDTHS:
        raise ArgumentError("bits", bits, f"one of {_FIXED_WIDTHS}", "pass bits=8")
    budget = bit_budget(tensor, tile)
    if not bool(budget.fits_fixed_point(bits).all()):
        raise ArgumentError(
            "bits",
            f"{bits}, where a tile takes {int(budget.signed_width.max())}",
            "bits that hold every tile",
            "keep the tensor as it is, or round it to a grid first",
        )
    exponents = _spread(budget.trailing, tile, tensor)
    if tensor.is_floating_point():
        mantissa, exponent = torch.frexp(tensor.double())
        codes = _shifted(
            (mantissa * 2.0**_MANTISSA_BITS).long(), exponent - _MANTISSA_BITS - exponents
        )
    else:
        codes = tensor.long() >> exponents
    return FixedPointFormat(codes.to(_INTEGERS[max(8, bits)]), budget.trailing, tile)


def lossless_share(tensor: Shaped[Tensor, "*b s d"], tile: int, bits: int) -> float:
    """The share of tiles that a grid of signed integers with a power-of-two scale holds exactly."""
    return float(bit_budget(tensor, tile).fits_fixed_point(bits).double().mean())


def _bits_of_entries(tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """e with 2^(e-1) <= |x| < 2^e, v_2(x), and the e of which two's complement has need.

    The last is e but for x = -2^k, which takes a bit less than 2^k does. Zeros give anything.
    """
    if tensor.is_floating_point():
        mantissa, exponent = torch.frexp(tensor.double())
        integer = (mantissa * 2.0**_MANTISSA_BITS).long()
        leading = exponent.long()
        trailing = leading - _MANTISSA_BITS + _lowest_bit(integer)
        return leading, trailing, leading - (mantissa == -0.5).long()
    integer = tensor.long()
    magnitude = _length(torch.where(integer < 0, ~integer, integer))
    lowest = _lowest_bit(integer)
    negative_power = (integer < 0) & (lowest == magnitude)
    return magnitude + negative_power.long(), lowest, magnitude


def _lowest_bit(integer: Tensor) -> Tensor:
    """v_2 of nonzero integers: x & -x is a power of two, which a float holds exactly."""
    return torch.frexp((integer & -integer).double().abs()).exponent.long() - 1


def _length(natural: Tensor) -> Tensor:
    """Bits of integers >= 0; low bits that could round a float64 up are left out first."""
    cut = torch.where(natural >= 2**_MANTISSA_BITS, natural & ~0x3FF, natural)
    return torch.frexp(cut.double()).exponent.long()


def _shifted(integer: Tensor, places: Tensor) -> Tensor:
    """x 2^places, exact where the result is an integer; negative x too."""
    left = integer << places.clamp(min=0)
    return left >> (-places).clamp(min=0, max=63)


def _tiles(values: Tensor, tile: int, fill: int) -> Tensor:
    """[*b, s, d] as [*b, tiles, tile d], the last tile filled up."""
    *batch, tokens, width = values.shape
    missing = -tokens % tile
    padded = torch.nn.functional.pad(values, (0, 0, 0, missing), value=fill)
    return padded.reshape(*batch, (tokens + missing) // tile, tile * width)


def _spread(tiles: Tensor, tile: int, like: Tensor) -> Tensor:
    """One number a tile as one a token, [*b, s, 1]."""
    return tiles.repeat_interleave(tile, -1)[..., : like.shape[-2], None]


def _exponent(number: float) -> int:
    """floor(log2 x)."""
    return int(torch.frexp(torch.tensor(number, dtype=torch.float64)).exponent) - 1


def _check(tensor: Tensor, tile: int) -> None:
    if isinstance(tile, bool) or not isinstance(tile, int) or tile < 1:
        raise ArgumentError("tile", tile, "an integer >= 1", "pass the tokens of a tile")
    known = tensor.dtype in _FLOATS or tensor.dtype in (*_INTEGERS.values(), torch.uint8)
    if tensor.dim() < 2 or 0 in tensor.shape[-2:] or not known:
        raise ArgumentError(
            "tensor",
            f"{tensor.dtype} {list(tensor.shape)}",
            "floats or integers [*b, S, D]",
            "put tokens on the last axis but one",
        )
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise ArgumentError(
            "tensor", "NaN or infinity", "finite numbers", "mask such entries before"
        )
