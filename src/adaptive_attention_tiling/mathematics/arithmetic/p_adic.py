"""p-adic numbers to a stated precision, with Hensel's lifting of roots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...errors import ArgumentError
from .primes import check_prime, valuation
from .rational import exact_rational


@dataclass(frozen=True)
class PAdic:
    """x = p^v u + O(p^N): a class of Q_p modulo p^N.

    Sums are known to the coarser precision of the two; the product of x + O(p^N) and y + O(p^M)
    to p^min(N + v(y), M + v(x)). Two classes are equal where they are the same class.
    Source: Koblitz, p-adic Numbers, p-adic Analysis, and Zeta-Functions, chapter I.

    Args:
        prime: p.
        valuation: v, or N itself where nothing but O(p^N) is known.
        unit: u, not divisible by p, with 0 < u < p^(N - v); 0 for O(p^N).
        precision: N.
    """

    prime: int
    valuation: int
    unit: int
    precision: int

    def __post_init__(self) -> None:
        check_prime("prime", self.prime)
        known = self.precision - self.valuation
        zero = self.unit == 0 and known == 0
        if not zero and not (
            0 < self.unit < self.prime ** max(known, 0) and self.unit % self.prime
        ):
            raise ArgumentError(
                "unit",
                f"{self.unit} at valuation {self.valuation} and precision {self.precision}",
                f"a unit below {self.prime}^{known}",
                "make numbers with PAdic.of",
            )

    @classmethod
    def of(cls, number: int | Fraction, prime: int, precision: int) -> PAdic:
        """A rational in Q_p, modulo p^precision."""
        check_prime("prime", prime)
        value = exact_rational("number", number)
        order = valuation(value, prime) if value else precision
        if order >= precision:
            return cls(prime, precision, 0, precision)
        unit = value / Fraction(prime) ** order
        modulus = prime ** (precision - order)
        return cls(
            prime, order, unit.numerator * pow(unit.denominator, -1, modulus) % modulus, precision
        )

    @property
    def is_zero(self) -> bool:
        """Whether nothing but O(p^N) is known."""
        return self.unit == 0

    def absolute_value(self) -> Fraction:
        """|x|_p = p^-v; 0 for O(p^N)."""
        return Fraction(0) if self.is_zero else Fraction(self.prime) ** -self.valuation

    def lift(self) -> Fraction:
        """The representative p^v u with 0 <= u < p^(N - v)."""
        return self.unit * Fraction(self.prime) ** self.valuation

    def digits(self) -> list[int]:
        """d_v, d_(v+1), ..., d_(N-1) of x = sum_i d_i p^i, each 0 <= d_i < p."""
        found, rest = [], self.unit
        for _ in range(self.precision - self.valuation):
            rest, digit = divmod(rest, self.prime)
            found.append(digit)
        return found

    def __add__(self, other: PAdic) -> PAdic:
        precision = min(self.precision, self._same(other).precision)
        return PAdic.of(self.lift() + other.lift(), self.prime, precision)

    def __neg__(self) -> PAdic:
        return PAdic.of(-self.lift(), self.prime, self.precision)

    def __sub__(self, other: PAdic) -> PAdic:
        return self + -other

    def __mul__(self, other: PAdic) -> PAdic:
        self._same(other)
        precision = min(self.precision + other.valuation, other.precision + self.valuation)
        return PAdic.of(self.lift() * other.lift(), self.prime, precision)

    def inverse(self) -> PAdic:
        """1/x, known to p^(N - 2v).

        Raises:
            ArgumentError: for O(p^N), which may be 0.
        """
        if self.is_zero:
            raise ArgumentError(
                "number", f"O({self.prime}^{self.precision})", "other than 0", "keep more digits"
            )
        return PAdic.of(1 / self.lift(), self.prime, self.precision - 2 * self.valuation)

    def __truediv__(self, other: PAdic) -> PAdic:
        return self * other.inverse()

    def sqrt(self) -> PAdic:
        """A root r with r^2 = x, the one whose first digit is the smaller (for 2: 1 mod 4).

        Known to p^(N - v/2), and to one digit less for p = 2, where a unit is a square just if
        it is 1 mod 8 (Serre, A Course in Arithmetic, chapter II, section 3.3).

        Raises:
            ArgumentError: where no root exists, or too few digits are known to tell.
        """
        half, odd = divmod(self.valuation, 2)
        known = self.precision - self.valuation
        enough = known >= (3 if self.prime == 2 else 1)
        root = None if odd or not enough else _unit_root(self.unit, self.prime, known)
        if root is None:
            raise ArgumentError(
                "number",
                f"{self}",
                "a square known to enough digits",
                "odd valuations, and units that are no squares mod p (mod 8 for 2), have no root",
            )
        kept = known - (self.prime == 2)
        return PAdic.of(root * Fraction(self.prime) ** half, self.prime, kept + half)

    def _same(self, other: PAdic) -> PAdic:
        if self.prime != other.prime:
            raise ArgumentError(
                "other", f"a {other.prime}-adic number", f"a {self.prime}-adic one", "use one prime"
            )
        return other

    def __str__(self) -> str:
        return f"{self.lift()} + O({self.prime}^{self.precision})"


def hensel_lift(polynomial: Sequence[int], root: int, prime: int, precision: int) -> PAdic:
    """The root r of f in Z_p with r = root modulo p, to p^precision, by Newton's iteration.

    Each step r - f(r)/f'(r) doubles the digits (Hensel; Koblitz, theorem I.3).

    Args:
        polynomial: integers a_0, a_1, ..., the constant one first.
        root: with f(root) = 0 and f'(root) != 0 modulo p.

    Raises:
        ArgumentError: where root is no simple root modulo p.
    """
    check_prime("prime", prime)
    slope = [power * value for power, value in enumerate(polynomial)][1:]
    if _at(polynomial, root) % prime or _at(slope, root) % prime == 0:
        raise ArgumentError(
            "root", root, f"a simple root modulo {prime}", "check f(root) and f'(root) modulo p"
        )
    digits = 1
    while digits < precision:
        digits = min(2 * digits, precision)
        modulus = prime**digits
        root = (root - _at(polynomial, root) * pow(_at(slope, root), -1, modulus)) % modulus
    return PAdic.of(root % prime**precision, prime, precision)


def square_root_modulo(number: int, prime: int) -> int | None:
    """The smaller root of x^2 = a modulo a prime, or None (Tonelli and Shanks; Cohen, 1.5.1)."""
    check_prime("prime", prime)
    number %= prime
    if prime == 2 or number == 0:
        return number
    if pow(number, (prime - 1) // 2, prime) != 1:
        return None
    twos = ((prime - 1) & (1 - prime)).bit_length() - 1
    odd = (prime - 1) >> twos
    other = next(a for a in range(2, prime + 1) if pow(a, (prime - 1) // 2, prime) == prime - 1)
    generator, root, rest = (
        pow(b, e, prime) for b, e in ((other, odd), (number, odd // 2 + 1), (number, odd))
    )
    while rest != 1:
        order, power = 0, rest
        while power != 1:
            order, power = order + 1, power * power % prime
        step = pow(generator, 2 ** (twos - order - 1), prime)
        root, generator, twos = root * step % prime, step * step % prime, order
        rest = rest * generator % prime
    return min(root, prime - root)


def _unit_root(unit: int, prime: int, known: int) -> int | None:
    """A root of a unit modulo p^known, or modulo 2^(known - 1)."""
    if prime == 2:
        if unit % 8 != 1:
            return None
        root = 1
        for digits in range(3, known):
            if (root * root - unit) % 2 ** (digits + 1):
                root += 2 ** (digits - 1)
        return root
    first = square_root_modulo(unit, prime)
    return None if first is None else int(hensel_lift([-unit, 0, 1], first, prime, known).lift())


def _at(polynomial: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = value * x + coefficient
    return value
