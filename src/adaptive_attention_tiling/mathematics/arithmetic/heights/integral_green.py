"""The archimedean Green function at integers of any size, to the last digit of a float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

# d^-steps < 2^-64: below the last digit of a float64.
_DIGITS = 64


def integral_green(numerator: Sequence[int], denominator: Sequence[int], x: int, z: int) -> float:
    """G(X, Z) = lim d^-n log max |F^n(X, Z)| of integral forms without a common root.

    F is iterated in integers of which the leading bits are kept, so that G is the sum of the
    shifts d^-n s_n log 2, exact, and d^-n log of what is left. Bits are doubled until two results
    agree. At the latest that is where a step may lose 2d (log2 of the largest coefficient +
    log2 2d + 1) bits of value, and twice that of direction, as near a common root of both forms.
    `green_function` does the same in floats, with gradients, and loses digits there.

    Args:
        numerator: p_0, ..., p_d of F_0 = sum_i p_i X^i Z^(d-i).
        denominator: q_0, ..., q_d of F_1.
        x: X.
        z: Z, not both 0.
    """
    degree = len(numerator) - 1
    steps = math.ceil(_DIGITS / math.log2(degree))
    largest = max(abs(value) for value in (*numerator, *denominator))
    lost = 2 * degree * (largest.bit_length() + (2 * degree).bit_length() + 1)
    enough = _DIGITS + 2 * lost * steps
    kept, before = 2 * _DIGITS, math.inf
    while True:
        value = _with_bits(numerator, denominator, (x, z), steps, kept)
        if abs(value - before) <= 4e-16 * max(1.0, abs(value)) or kept >= enough:
            return value
        kept, before = 2 * kept, value


def _with_bits(
    numerator: Sequence[int],
    denominator: Sequence[int],
    point: tuple[int, int],
    steps: int,
    kept: int,
) -> float:
    degree = len(numerator) - 1
    x, z = point
    # sum_n d^(steps - n) s_n: the shifts in units of d^-steps.
    shifts = 0
    for _ in range(steps):
        shift = max(0, max(abs(x), abs(z)).bit_length() - kept)
        x, z = x >> shift, z >> shift
        shifts = degree * (shifts + shift)
        x, z = _form(numerator, x, z), _form(denominator, x, z)
    scale: int = degree**steps
    return float(Fraction(shifts, scale)) * math.log(2) + math.log(max(abs(x), abs(z))) / scale


def _form(coefficients: Sequence[int], x: int, z: int) -> int:
    value, power = 0, 1
    for coefficient in reversed(coefficients):
        value = value * x + coefficient * power
        power *= z
    return value
