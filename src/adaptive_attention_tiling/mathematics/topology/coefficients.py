"""The coefficients of homology: the integers, the rationals, or a field of p elements."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ...errors import ArgumentError
from .finite_field import check_residue_prime

Number = int | Fraction
Ring = Literal["Z", "Q"] | int


@dataclass(frozen=True)
class Coefficients:
    """Exact arithmetic in Z, Q or F_p, on Python integers and fractions.

    Args:
        ring: "Z", "Q", or a prime p for F_p.

    Raises:
        ArgumentError: for another name or a composite number.
    """

    ring: Ring

    def __post_init__(self) -> None:
        if isinstance(self.ring, int):
            check_residue_prime(self.ring)
        elif self.ring not in ("Z", "Q"):
            raise ArgumentError("ring", repr(self.ring), '"Z", "Q" or a prime', "pass 2 for F_2")

    @property
    def is_field(self) -> bool:
        """Whether every number but 0 can be inverted."""
        return self.ring != "Z"

    def reduced(self, number: Number) -> Number:
        """The number itself, or its residue from 0 to p - 1."""
        return number % self.ring if isinstance(self.ring, int) else number

    def has_inverse(self, number: Number) -> bool:
        """Whether a reduced number can be inverted."""
        return number in (1, -1) if self.ring == "Z" else number != 0

    def inverse(self, number: Number) -> Number:
        """1 / number, for a number that has an inverse."""
        if isinstance(self.ring, int):
            return pow(int(number), -1, self.ring)
        return number if number in (1, -1) else Fraction(1) / number
