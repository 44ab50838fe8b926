"""The symbols of Jacobi and Kronecker: quadratic residues without factoring."""

from __future__ import annotations

from ...errors import ArgumentError


def jacobi_symbol(number: int, modulus: int) -> int:
    """(a/n) = prod (a/p)^e over the factors of an odd n > 0, without factoring.

    Quadratic reciprocity, as in Cohen, A Course in Computational Algebraic Number Theory,
    algorithm 1.4.10.
    """
    if modulus < 1 or modulus % 2 == 0:
        raise ArgumentError("modulus", modulus, "an odd number > 0", "ask kronecker_symbol")
    sign = 1
    number %= modulus
    while number:
        while number % 2 == 0:
            number //= 2
            if modulus % 8 in (3, 5):
                sign = -sign
        if number % 4 == 3 and modulus % 4 == 3:
            sign = -sign
        number, modulus = modulus % number, number
    return sign if modulus == 1 else 0


def kronecker_symbol(number: int, modulus: int) -> int:
    """(a/n) for every integer n: (a/-1) is the sign of a, (a/2) = 0, 1, -1 as a is even,
    +-1 or +-3 mod 8, and (a/0) is 1 for a = +-1 and 0 otherwise (Cohen, section 1.4.2)."""
    if modulus == 0:
        return int(abs(number) == 1)
    sign = -1 if modulus < 0 and number < 0 else 1
    modulus = abs(modulus)
    while modulus % 2 == 0:
        modulus //= 2
        sign *= 0 if number % 2 == 0 else (1 if number % 8 in (1, 7) else -1)
    return sign * jacobi_symbol(number, modulus)
