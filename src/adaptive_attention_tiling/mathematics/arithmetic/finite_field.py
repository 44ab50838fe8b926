"""Finite fields F_q, vectorised: elements are int64 numbers, multiplied by tables of logarithms."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .primes import check_prime, factor

_LARGEST_ORDER = 2**16


@dataclass(frozen=True, eq=False)
class FiniteField:
    """F_q, q = p^k, x a generator of F_q^*; c_0 + c_1 p + ... stands for c_0 + c_1 x + ...

    Args:
        prime: p.
        degree: k >= 1; q up to 65536.

    Raises:
        ArgumentError: p composite, k < 1, or q too large for tables.

    Source: Lidl and Niederreiter, Finite Fields (1997), chapters 2 and 10.
    """

    prime: int
    degree: int
    logarithms: Int[Tensor, " q"]
    powers: Int[Tensor, " r"]

    def __init__(self, prime: int, degree: int = 1) -> None:
        check_prime("prime", prime)
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise ArgumentError("degree", degree, "an integer >= 1", "pass k of q = p^k")
        if prime**degree > _LARGEST_ORDER:
            raise ArgumentError(
                "degree", f"q = {prime}^{degree}", f"q <= {_LARGEST_ORDER}", "count over less"
            )
        powers = torch.tensor(_powers_of_a_generator(prime, degree))
        logarithms = torch.zeros(prime**degree, dtype=torch.int64)
        logarithms[powers] = torch.arange(len(powers))
        object.__setattr__(self, "prime", prime)
        object.__setattr__(self, "degree", degree)
        object.__setattr__(self, "logarithms", logarithms)
        object.__setattr__(self, "powers", powers)

    @property
    def order(self) -> int:
        """q."""
        return int(self.prime**self.degree)

    def add(self, first: Int[Tensor, "*b"], second: Int[Tensor, "*b"]) -> Int[Tensor, "*b"]:
        """a + b, digit by digit in base p."""
        total = torch.zeros_like(first + second)
        for place in range(self.degree):
            unit = self.prime**place
            total += (first // unit + second // unit) % self.prime * unit
        return total

    def multiply(self, first: Int[Tensor, "*b"], second: Int[Tensor, "*b"]) -> Int[Tensor, "*b"]:
        """a b = x^(log a + log b)."""
        exponent = (self.logarithms[first] + self.logarithms[second]) % (self.order - 1)
        return torch.where((first == 0) | (second == 0), 0, self.powers[exponent])

    def power(self, base: Int[Tensor, "*b"], exponent: int) -> Int[Tensor, "*b"]:
        """a^e for e >= 0; 0^0 = 1."""
        if exponent == 0:
            return torch.ones_like(base)
        found = self.powers[self.logarithms[base] * exponent % (self.order - 1)]
        return torch.where(base == 0, 0, found)

    def from_integer(self, number: int) -> int:
        """The image of an integer, which lies in F_p."""
        return number % self.prime


def prime_power(name: str, number: int) -> tuple[int, int]:
    """(p, k) with q = p^k; raises ArgumentError for anything else."""
    if isinstance(number, bool) or not isinstance(number, int) or number < 2:
        raise ArgumentError(name, f"{number!r}", "a power of a prime", "pass q such as 9")
    found = factor(number)
    if len(found) > 1:
        told = " * ".join(f"{p}^{e}" if e > 1 else f"{p}" for p, e in found.items())
        raise ArgumentError(
            name, f"{number} = {told}", "a power of a prime", "no field has so many elements"
        )
    return next(iter(found.items()))


def _powers_of_a_generator(prime: int, degree: int) -> list[int]:
    """x^0, ..., x^(q-2) modulo the first monic polynomial of which x is a generator."""
    order = prime**degree
    for tail in itertools.product(range(prime), repeat=degree):
        if tail[0] == 0:
            continue
        found, digits = [1], (1, *[0] * (degree - 1))
        for _ in range(order - 2):
            top = digits[-1]
            shifted = (0, *digits[:-1])
            digits = tuple((s - top * t) % prime for s, t in zip(shifted, tail, strict=True))
            number = sum(d * prime**place for place, d in enumerate(digits))
            if number in (0, 1):
                break
            found.append(number)
        if len(found) == order - 1:
            return found
    raise AssertionError("every finite field has a generator")
