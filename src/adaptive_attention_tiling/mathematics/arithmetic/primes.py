"""Primes, factors and valuations, in exact integers."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from ...errors import ArgumentError
from ...optional import installed, require
from .rational import exact_rational
from .residue_symbols import jacobi_symbol

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_PROVEN_BELOW = 3317044064679887385961981
_TRIAL_BOUND = 1000
_RHO_BOUND = 2**80


@lru_cache(maxsize=4096)
def is_prime(number: int) -> bool:
    """Whether a number is prime, by strong pseudoprime tests to the first 13 prime bases.

    The answer is the same every time. "False" is always a proof; "True" is one below 3.3e24
    (J. Sorenson and J. Webster, Strong pseudoprimes to twelve prime bases, Math. Comp. 86,
    2017). Above, a strong Lucas test is added (Baillie and Wagstaff, Math. Comp. 35, 1980): no
    composite is known that passes both.
    """
    if number < 2:
        return False
    for prime in _WITNESSES:
        if number % prime == 0:
            return number == prime
    if not all(_is_strong_pseudoprime(number, base) for base in _WITNESSES):
        return False
    return number < _PROVEN_BELOW or _is_strong_lucas_pseudoprime(number)


def check_prime(name: str, number: int) -> None:
    """Raise an ArgumentError unless the number is prime; most composite ones are told a factor.

    Beyond 2^80 factors above 1000 are not looked for, which could take years.
    """
    if isinstance(number, bool) or not isinstance(number, int):
        raise ArgumentError(name, f"{number!r}", "a prime, as an int", "pass a prime such as 2")
    if is_prime(number):
        return
    told = f"{number}"
    if number > 1:
        divisor = _small_factor(number) if number > _RHO_BOUND else _some_factor(number)
        told += f" = {divisor} * {number // divisor}" if divisor else ", a composite number"
    raise ArgumentError(name, told, "a prime", "pass a prime such as 2, 3 or 5")


def primes_up_to(bound: int) -> list[int]:
    """The primes p <= bound in order, by the sieve of Eratosthenes."""
    if bound < 2:
        return []
    candidate = bytearray([1]) * (bound + 1)
    candidate[0] = candidate[1] = 0
    for number in range(2, math.isqrt(bound) + 1):
        if candidate[number]:
            candidate[number * number :: number] = bytes((bound - number * number) // number + 1)
    return [number for number in range(bound + 1) if candidate[number]]


def factor(number: int) -> dict[int, int]:
    """|n| = prod_p p^e as {p: e}, primes in order; factor(1) is {}.

    Trial division, then Pollard's rho in the form of Brent (BIT 20, 1980). Where python-flint is
    installed, it takes over above 2^80, where rho takes seconds and more.

    Raises:
        ArgumentError: for 0, which has no factorisation.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number == 0:
        raise ArgumentError("number", f"{number!r}", "an int other than 0", "leave zeros out")
    found: dict[int, int] = {}
    rest = [abs(number)]
    while rest:
        part = rest.pop()
        if part == 1:
            continue
        if is_prime(part):
            found[part] = found.get(part, 0) + 1
        else:
            rest += _parts(part)
    return dict(sorted(found.items()))


def valuation(number: int | Fraction, prime: int) -> int:
    """v_p(x): x = p^v a/b with p dividing neither a nor b.

    Raises:
        ArgumentError: for x = 0, whose valuation is infinite, and for p that is no prime.
    """
    check_prime("prime", prime)
    value = exact_rational("number", number)
    if value == 0:
        raise ArgumentError("number", 0, "a number other than 0", "v_p(0) is infinite: ask first")
    return _multiplicity(value.numerator, prime) - _multiplicity(value.denominator, prime)


def legendre_symbol(number: int, prime: int) -> int:
    """(a/p) = a^((p-1)/2) mod p as 1, 0 or -1, for odd primes p (Euler's criterion)."""
    check_prime("prime", prime)
    if prime == 2:
        raise ArgumentError("prime", 2, "an odd prime", "ask kronecker_symbol(a, 2)")
    power = pow(number, (prime - 1) // 2, prime)
    return -1 if power == prime - 1 else power


def _multiplicity(number: int, prime: int) -> int:
    """How often p divides n, by powers p^(2^k), so that long numbers take few divisions."""
    if number % prime:
        return 0
    powers = [prime]
    while number % powers[-1] ** 2 == 0:
        powers.append(powers[-1] ** 2)
    count = 0
    for exponent in range(len(powers) - 1, -1, -1):
        quotient, remainder = divmod(number, powers[exponent])
        if remainder == 0:
            number, count = quotient, count + 2**exponent
    return count


def _is_strong_pseudoprime(number: int, base: int) -> bool:
    """Whether base^d = 1 or base^(d 2^i) = -1 mod n, where n - 1 = d 2^s, d odd, i < s."""
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    power = pow(base, (number - 1) >> twos, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _is_strong_lucas_pseudoprime(number: int) -> bool:
    """The strong Lucas test with Selfridge's parameters: P = 1, Q = (1 - D)/4, (D/n) = -1."""
    if math.isqrt(number) ** 2 == number:
        return False
    discriminant = 5
    while (symbol := jacobi_symbol(discriminant, number)) != -1:
        if symbol == 0 and abs(discriminant) != number:
            return False
        discriminant = -(discriminant + 2) if discriminant > 0 else 2 - discriminant
    q = (1 - discriminant) // 4
    twos = ((number + 1) & -(number + 1)).bit_length() - 1
    u, v, power = _lucas(number, discriminant, q, (number + 1) >> twos)
    if u == 0:
        return True
    for _ in range(twos):
        if v == 0:
            return True
        v = (v * v - 2 * power) % number
        power = power * power % number
    return False


def _lucas(number: int, discriminant: int, q: int, index: int) -> tuple[int, int, int]:
    """U_k, V_k and Q^k mod n of the Lucas sequence with P = 1, by binary doubling."""
    u, v, power = 0, 2, 1
    half = (number + 1) // 2
    for bit in bin(index)[2:]:
        u, v, power = u * v % number, (v * v - 2 * power) % number, power * power % number
        if bit == "1":
            u, v = (u + v) * half % number, (discriminant * u + v) * half % number
            power = power * q % number
    return u, v, power


def _parts(composite: int) -> list[int]:
    """Factors whose product is the number, two or more."""
    if composite > _RHO_BOUND and installed("flint"):
        flint = require("flint", "arithmetic", "factor")
        pairs = flint.fmpz(composite).factor()
        return [int(prime) for prime, exponent in pairs for _ in range(int(exponent))]
    divisor = _some_factor(composite)
    return [divisor, composite // divisor]


def _small_factor(composite: int) -> int | None:
    return next(
        (d for d in range(2, min(_TRIAL_BOUND, math.isqrt(composite)) + 1) if composite % d == 0),
        None,
    )


def _some_factor(composite: int) -> int:
    divisor = _small_factor(composite)
    if divisor is not None:
        return divisor
    root = math.isqrt(composite)
    if root * root == composite:
        return root
    increment = 1
    while (found := _rho(composite, increment)) == composite:
        increment += 1
    return found


def _rho(composite: int, increment: int) -> int:
    """A factor from the cycle of x -> x^2 + c mod n; n itself where this c fails."""
    tortoise = hare = saved = 2
    product, length, found = 1, 1, 1
    while found == 1:
        tortoise = hare
        done = 0
        while done < length and found == 1:
            saved = hare
            for _ in range(min(128, length - done)):
                hare = (hare * hare + increment) % composite
                product = product * abs(tortoise - hare) % composite
            found = math.gcd(product, composite)
            done += 128
        length *= 2
    if found < composite:
        return found
    found = 1
    while found == 1:
        saved = (saved * saved + increment) % composite
        found = math.gcd(abs(tortoise - saved), composite)
    return found
