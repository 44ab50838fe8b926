"""How many bits a head's keys need: heights as bit budgets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...tiling.bit_budget import BitBudget, bit_budget
from .attention_rows import AttentionRows, attention_at
from .head_tensors import check_head

_MOST_BITS = 32


@dataclass(frozen=True)
class KeyBits:
    """The fixed-point keys with which a head still gives its output.

    Args:
        bits: of an entry, sign counted; 0 if 32 do not suffice.
        error: of the output with them, relative.
        budget: what tiles of the rounded keys take, exactly: their integer bits (archimedean
            height) and fraction bits (2-adic height).
    """

    bits: int
    error: float
    budget: BitBudget

    @property
    def integer_bits(self) -> float:
        """Before the point, mean over tiles."""
        return float(self.budget.integer_bits.double().mean())

    @property
    def fraction_bits(self) -> float:
        """Behind the point, mean over tiles."""
        return float(self.budget.fraction_bits.double().mean())


def key_bits(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    rows: AttentionRows,
    *,
    scale: float | None = None,
    tolerance: float = 0.01,
    tile: int = 32,
) -> KeyBits:
    """The fewest bits b of fixed-point keys at which the output errs by no more than `tolerance`.

        error = |A_b V - A V|_F / |A V|_F over the rows

    with A_b from keys rounded by `fixed_point_keys`. b is found by bisection: b bits suffice and
    b - 1 do not. An error that rises with the bits somewhere (it may, by chance) could hide a
    smaller b.

    Args:
        query, key, value: of one head.
        rows: some rows of it.
        scale: of the logits, as the rows had it.
        tolerance: of the error, > 0.
        tile: tokens of a tile, each with its own power of two as scale.

    Source: the heights are those of `bit_budget`.
    """
    if not tolerance > 0:
        raise ArgumentError("tolerance", tolerance, "a number > 0", "pass tolerance=0.01")
    check_head(query, key, value)
    values, wanted = value.detach().double(), query.detach().double()
    exact = rows.weights @ values
    exponents = _exponents(key, tile)

    def error(bits: int) -> float:
        rounded = _rounded(key, bits, exponents)
        read = attention_at(wanted, rounded, rows.queries, is_causal=rows.is_causal, scale=scale)
        missed = (read.weights @ values - exact).norm()
        return float(missed / exact.norm()) if missed > 0 else 0.0

    low, high = 0, _MOST_BITS + 1  # low bits are too few, high are enough
    errors: dict[int, float] = {}
    while high - low > 1:
        middle = (low + high) // 2
        errors[middle] = error(middle)
        low, high = (low, middle) if errors[middle] <= tolerance else (middle, high)
    bits = high if high <= _MOST_BITS else 0
    used = bits or _MOST_BITS
    return KeyBits(bits, errors[used], bit_budget(_rounded(key, used, exponents), tile))


def fixed_point_keys(key: Float[Tensor, "T D"], bits: int, tile: int) -> Float[Tensor, "T D"]:
    """Keys as signed integers of so many bits times a power of two, one for each tile, in float64.

    The power is the least with which the largest entry fits: 2^(e - bits + 1) with
    2^(e - 1) <= max|k| < 2^e. Codes are rounded to nearest and held at the largest positive one.

    Args:
        key: of one head.
        bits: 1 to 32, sign counted.
        tile: tokens of a tile.
    """
    if not 1 <= bits <= _MOST_BITS:
        raise ArgumentError("bits", bits, f"1 to {_MOST_BITS}", "pass bits=8")
    return _rounded(key, bits, _exponents(key, tile))


def _exponents(key: Tensor, tile: int) -> Float[Tensor, "T 1"]:
    """e of every token's tile, 2^(e - 1) <= max|k| < 2^e."""
    largest = key.detach().abs().amax(1, keepdim=True)
    return bit_budget(largest, tile).leading.double().repeat_interleave(tile)[: len(key), None]


def _rounded(key: Tensor, bits: int, exponents: Tensor) -> Float[Tensor, "T D"]:
    step = torch.exp2(exponents - bits + 1)
    most = 2.0 ** (bits - 1)
    return (key.detach().double() / step).round().clamp(-most, most - 1) * step
