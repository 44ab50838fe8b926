"""Tate's algorithm: how an elliptic curve over Q reduces at a prime.

Sources: Tate, Antwerp IV (1975); Silverman, Advanced Topics, section IV.9; Cremona, Algorithms for
Modular Elliptic Curves, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from .elliptic_curve import EllipticCurve, Reduction
from .minimal_model import Substitution
from .primes import check_prime, factor, valuation
from .residue_symbols import jacobi_symbol


@dataclass(frozen=True)
class LocalReduction:
    """What Tate's algorithm finds at one prime, of the minimal model.

    Args:
        prime: p.
        kodaira: Kodaira's symbol: "I0", "I5", "II", "III", "IV", "I0*", "I2*", "IV*", ...
        conductor_exponent: f_p, by Ogg's formula v(discriminant) - m + 1, m components.
        tamagawa: c_p = [E(Q_p) : E_0(Q_p)].
        reduction: "good", "split multiplicative", "nonsplit multiplicative" or "additive".
    """

    prime: int
    kodaira: str
    conductor_exponent: int
    tamagawa: int
    reduction: Reduction


def local_reduction(curve: EllipticCurve, prime: int) -> LocalReduction:
    """Tate's algorithm at a prime; ArgumentError for a composite one."""
    check_prime("prime", prime)
    model = curve.minimal_model()
    order = valuation(model.discriminant, prime)
    reduction = curve.reduction(prime)
    if reduction == "good":
        return LocalReduction(prime, "I0", 0, 1, reduction)
    if reduction != "additive":
        even = 2 if order % 2 == 0 else 1
        tamagawa = order if reduction == "split multiplicative" else even
        return LocalReduction(prime, f"I{order}", 1, tamagawa, reduction)
    kodaira, components, tamagawa = _additive(model, prime)
    return LocalReduction(prime, kodaira, order - components + 1, tamagawa, reduction)


def conductor(curve: EllipticCurve) -> int:
    """N = prod p^(f_p) over the primes of the minimal discriminant."""
    bad = factor(int(curve.minimal_model().discriminant))
    return math.prod(p ** local_reduction(curve, p).conductor_exponent for p in bad)


def tamagawa_product(curve: EllipticCurve) -> int:
    """prod c_p over the primes of the minimal discriminant."""
    bad = factor(int(curve.minimal_model().discriminant))
    return math.prod(local_reduction(curve, p).tamagawa for p in bad)


def _additive(model: EllipticCurve, p: int) -> tuple[str, int, int]:
    """Kodaira's symbol, the number m of components, and c_p, where the reduction has a cusp."""
    model = _cusp_at_zero(model, p)
    _, _, b6, b8 = model.b_invariants
    if model.a6 % p**2:
        return "II", 1, 1
    if b8 % p**3:
        return "III", 2, 2
    if b6 % p**3:
        return "IV", 3, 3 if _splits(1, model.a3 / p, -model.a6 / p**2, p) else 1
    model = _cubic_form(model, p)
    # The components meet where T^3 + b T^2 + c T + d vanishes modulo p.
    b, c, d = (int(a) for a in (model.a2 / p, model.a4 / p**2, model.a6 / p**3))
    if (27 * d * d - b * b * c * c + 4 * b**3 * d - 18 * b * c * d + 4 * c**3) % p:
        return "I0*", 5, 1 + _cubic_roots(b, c, d, p)
    if (3 * c - b * b) % p:
        return _starred(_moved(model, r=p * _double_root(b, c, d, p)), p)
    triple = -d if p == 3 else -b * _inverse(3, p)
    return _triple(_moved(model, r=p * (triple % p)), p)


def _starred(model: EllipticCurve, p: int) -> tuple[str, int, int]:
    """I_n*, n >= 1: quadrics in y and x in turn, until the roots of one are distinct."""
    along_x, along_y, n = p * p, p * p, 1
    while True:
        a3, a6 = int(model.a3 / along_y), int(model.a6 / (along_x * along_y))
        if (a3 * a3 + 4 * a6) % p:
            return f"I{n}*", n + 5, 4 if _splits(1, a3, -a6, p) else 2
        root = a6 if p == 2 else -a3 * _inverse(2, p)
        model = _moved(model, t=along_y * (root % p))
        along_y, n = along_y * p, n + 1
        a2, a4 = int(model.a2 / p), int(model.a4 / (p * along_x))
        a6 = int(model.a6 / (along_x * along_y))
        if (a4 * a4 - 4 * a2 * a6) % p:
            return f"I{n}*", n + 5, 4 if _splits(a2, a4, a6, p) else 2
        root = a6 if p == 2 else -a4 * _inverse(2 * a2, p)  # a2 is prime to p
        model = _moved(model, r=along_x * (root % p))
        along_x, n = along_x * p, n + 1


def _triple(model: EllipticCurve, p: int) -> tuple[str, int, int]:
    """IV*, III* and II*, the triple root at 0."""
    a3, a6 = int(model.a3 / p**2), int(model.a6 / p**4)
    if (a3 * a3 + 4 * a6) % p:
        return "IV*", 7, 3 if _splits(1, a3, -a6, p) else 1
    root = -a6 if p == 2 else -a3 * _inverse(2, p)
    model = _moved(model, t=p**2 * (root % p))
    if model.a4 % p**4:
        return "III*", 8, 2
    assert model.a6 % p**6, "the model was not minimal"
    return "II*", 9, 1


def _cusp_at_zero(model: EllipticCurve, p: int) -> EllipticCurve:
    """The singular point moved to (0, 0) modulo p: p divides a3, a4 and a6."""
    b2, _, b6, _ = (int(b) for b in model.b_invariants)
    if p == 2:
        x = int(model.a4) % 2
        y = (x * (1 + int(model.a2) + int(model.a4)) + int(model.a6)) % 2
    elif p == 3:
        x = -b6 % 3
        y = int(model.a1 * x + model.a3) % 3
    else:
        x = -b2 * _inverse(12, p) % p
        y = -int(model.a1 * x + model.a3) * _inverse(2, p) % p
    return _moved(model, r=x, t=y)


def _cubic_form(model: EllipticCurve, p: int) -> EllipticCurve:
    """p divides a1 and a2, p^2 divides a3 and a4, p^3 divides a6."""
    if p == 2:
        return _moved(model, s=int(model.a2) % 2, t=2 * (int(model.a6 / 4) % 2))
    half = _inverse(2, p**2)
    return _moved(model, s=-int(model.a1) * half % p, t=-int(model.a3) * half % p**2)


def _moved(model: EllipticCurve, r: int = 0, s: int = 0, t: int = 0) -> EllipticCurve:
    return model.substitute(Substitution(Fraction(1), Fraction(r), Fraction(s), Fraction(t)))


def _inverse(number: int, modulus: int) -> int:
    return pow(number, -1, modulus)


def _splits(a: Fraction | int, b: Fraction | int, c: Fraction | int, p: int) -> bool:
    """Whether a T^2 + b T + c, of distinct roots modulo p, has them in F_p."""
    a, b, c = int(a), int(b), int(c)
    if p == 2:
        return c % 2 == 0 or (a + b + c) % 2 == 0
    return jacobi_symbol(b * b - 4 * a * c, p) == 1


def _cubic_roots(b: int, c: int, d: int, p: int) -> int:
    """The number of roots in F_p of T^3 + b T^2 + c T + d, whose roots are distinct."""
    if p <= 3:
        return sum((((x + b) * x + c) * x + d) % p == 0 for x in range(p))
    # Stickelberger: an odd number of factors just when the discriminant is a square.
    discriminant = b * b * c * c - 4 * c**3 - 4 * b**3 * d - 27 * d * d + 18 * b * c * d
    if jacobi_symbol(discriminant, p) == -1:
        return 1
    return 3 if _power_of_t((b, c, d), p) == (0, 1, 0) else 0


def _double_root(b: int, c: int, d: int, p: int) -> int:
    """The double root modulo p of T^3 + b T^2 + c T + d, whose third root is another."""
    if p <= 3:
        return (c if p == 2 else b * c) % p
    return (b * c - 9 * d) * _inverse(2 * (3 * c - b * b), p) % p


def _power_of_t(cubic: tuple[int, int, int], p: int) -> tuple[int, int, int]:
    """T^p modulo T^3 + b T^2 + c T + d and p, as coefficients of 1, T and T^2."""
    b, c, d = cubic

    def multiplied(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, int, int]:
        found = [0] * 5
        for i, x in enumerate(first):
            for j, y in enumerate(second):
                found[i + j] += x * y
        for place in (4, 3):
            top = found[place]
            for below, coefficient in enumerate((b, c, d), 1):
                found[place - below] -= top * coefficient
        return found[0] % p, found[1] % p, found[2] % p

    power: tuple[int, int, int] = (1, 0, 0)
    for bit in bin(p)[2:]:
        power = multiplied(power, power)
        if bit == "1":
            power = multiplied(power, (0, 1, 0))
    return power
