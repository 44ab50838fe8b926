"""Dirichlet characters, exact, and their L-functions for complex arguments."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Complex, Shaped
from torch import Tensor

from ...errors import ArgumentError
from .gamma import as_complex, complex_log_gamma, reciprocal_gamma
from .primes import factor
from .residue_symbols import kronecker_symbol
from .zeta import hurwitz_zeta_less_pole, riemann_zeta


@dataclass(frozen=True)
class DirichletCharacter:
    """chi modulo q: chi(n) = exp(2 pi i t_n), t_n a fraction of a turn; chi(n) = 0 off (n, q) = 1.

    Args:
        modulus: q >= 1.
        turns: t_0, ..., t_{q-1} in [0, 1), None where gcd(n, q) > 1.

    Raises:
        ArgumentError: turns that are not multiplicative, or None at other places.

    Source: Davenport, Multiplicative Number Theory, chapters 4, 5 and 9.
    """

    modulus: int
    turns: tuple[Fraction | None, ...]

    def __post_init__(self) -> None:
        q = self.modulus
        if len(self.turns) != q:
            raise ArgumentError("turns", f"{len(self.turns)} of them", f"{q}", "one a residue")
        units = [n for n in range(q) if math.gcd(n, q) == 1]
        if [n for n in range(q) if self.turns[n] is not None] != units:
            raise ArgumentError(
                "turns", "None at other places", "None just where gcd(n, q) > 1", "check the zeros"
            )
        for generator in _generators(q):
            for n in units:
                if (self.turn(n) + self.turn(generator) - self.turn(n * generator)) % 1:
                    raise ArgumentError(
                        "turns",
                        f"chi({n}) chi({generator}) != chi({n * generator % q})",
                        "a multiplicative function",
                        "take characters from `dirichlet_characters`",
                    )

    def turn(self, n: int) -> Fraction:
        """t_n with chi(n) = exp(2 pi i t_n), for n prime to q."""
        found = self.turns[n % self.modulus]
        if found is None:
            raise ArgumentError("n", n, f"a number prime to {self.modulus}", "there chi is 0")
        return found

    def values(self) -> Complex[Tensor, " q"]:
        """chi(0), ..., chi(q-1), complex128; those of 1, -1, i and -i are exact."""
        return torch.tensor([_root_of_unity(turn) for turn in self.turns], dtype=torch.cdouble)

    def __mul__(self, other: DirichletCharacter) -> DirichletCharacter:
        """(chi psi)(n) = chi(n) psi(n), both of the same modulus."""
        if other.modulus != self.modulus:
            raise ArgumentError(
                "other", f"modulus {other.modulus}", f"modulus {self.modulus}", "induce both first"
            )
        pairs = zip(self.turns, other.turns, strict=True)
        turns = tuple(None if a is None or b is None else (a + b) % 1 for a, b in pairs)
        return DirichletCharacter(self.modulus, turns)

    def conjugate(self) -> DirichletCharacter:
        """The complex conjugate, which is the inverse."""
        turns = tuple(None if turn is None else -turn % 1 for turn in self.turns)
        return DirichletCharacter(self.modulus, turns)

    @property
    def order(self) -> int:
        """The least k >= 1 with chi^k principal."""
        return math.lcm(*(turn.denominator for turn in self.turns if turn is not None))

    @property
    def is_principal(self) -> bool:
        """Whether chi is 1 on all units."""
        return self.order == 1

    @property
    def parity(self) -> int:
        """0 for even characters, chi(-1) = 1; 1 for odd ones, chi(-1) = -1."""
        return int(2 * self.turn(-1))

    @property
    def conductor(self) -> int:
        """The least d | q so that chi(n) = 1 for all units n = 1 mod d."""
        units = [n for n in range(self.modulus) if self.turns[n] is not None]
        return next(
            d
            for d in range(1, self.modulus + 1)
            if self.modulus % d == 0 and not any(self.turns[n] for n in units if (n - 1) % d == 0)
        )

    @property
    def is_primitive(self) -> bool:
        """Whether the conductor is the modulus."""
        return self.conductor == self.modulus

    def primitive(self) -> DirichletCharacter:
        """The character modulo the conductor that agrees on the units modulo q."""
        conductor = self.conductor
        turns: list[Fraction | None] = [None] * conductor
        for n in range(conductor):
            if math.gcd(n, conductor) == 1:
                lifts = (n + k * conductor for k in range(self.modulus))
                turns[n] = self.turn(next(m for m in lifts if math.gcd(m, self.modulus) == 1))
        return DirichletCharacter(conductor, tuple(turns))

    def gauss_sum(self) -> Complex[Tensor, ""]:
        """tau(chi) = sum_{n mod q} chi(n) exp(2 pi i n / q); |tau|^2 = q if chi is primitive."""
        q = self.modulus
        turns = [(t + Fraction(n, q)) % 1 for n, t in enumerate(self.turns) if t is not None]
        return torch.tensor([_root_of_unity(turn) for turn in turns], dtype=torch.cdouble).sum()

    def root_number(self) -> Complex[Tensor, ""]:
        """W = tau(chi) / (i^parity sqrt q), of modulus 1, for primitive characters."""
        if not self.is_primitive:
            raise ArgumentError(
                "character",
                f"conductor {self.conductor}",
                f"conductor {self.modulus}",
                "ask its primitive()",
            )
        return self.gauss_sum() / (1j**self.parity * math.sqrt(self.modulus))


def dirichlet_characters(modulus: int) -> list[DirichletCharacter]:
    """All phi(q) characters modulo q, the principal one first.

    Each is fixed by the turns k / order(g) it gives to generators g of (Z/q)^*.
    """
    if isinstance(modulus, bool) or not isinstance(modulus, int) or modulus < 1:
        raise ArgumentError("modulus", modulus, "an integer >= 1", "pass q")
    generators = _generators(modulus)
    orders = [_order(g, modulus) for g in generators]
    found = []
    for chosen in itertools.product(*(range(order) for order in orders)):
        turns: list[Fraction | None] = [None] * modulus
        for powers in itertools.product(*(range(order) for order in orders)):
            n = math.prod(pow(g, e, modulus) for g, e in zip(generators, powers, strict=True))
            parts = zip(chosen, powers, orders, strict=True)
            turns[n % modulus] = sum((Fraction(c * e, o) for c, e, o in parts), Fraction(0)) % 1
        found.append(DirichletCharacter(modulus, tuple(turns)))
    return found


def kronecker_character(discriminant: int) -> DirichletCharacter:
    """chi_D(n) = (D / n) modulo |D|, for D = 0 or 1 modulo 4 and no square.

    Primitive just when D is the discriminant of a quadratic field: -3, -4, 5, -7, 8, ...
    """
    square = discriminant >= 0 and math.isqrt(discriminant) ** 2 == discriminant
    if discriminant % 4 not in (0, 1) or square:
        raise ArgumentError(
            "discriminant", discriminant, "0 or 1 modulo 4, and no square", "pass -4, 5, ..."
        )
    modulus = abs(discriminant)
    symbols = [kronecker_symbol(discriminant, n) for n in range(modulus)]
    turns = {0: None, 1: Fraction(0), -1: Fraction(1, 2)}
    return DirichletCharacter(modulus, tuple(turns[symbol] for symbol in symbols))


def dirichlet_l(character: DirichletCharacter, s: Shaped[Tensor, "*b"]) -> Complex[Tensor, "*b"]:
    """L(s, chi) = sum_n chi(n) n^-s, continued to the plane; differentiable in s.

    Where Re s >= 0, q^-s sum_a chi(a) (zeta(s, a/q) - 1/(s-1)), which is smooth at s = 1 too;
    elsewhere by the functional equation of the primitive character. An imprimitive one is its
    primitive one's times prod_{p | q} (1 - chi(p) p^-s).

    Args:
        character: chi.
        s: any shape; |Im s| <= 30 for float64's 1e-13 or so; s = 1 is a pole of principal ones.

    Source: Davenport, chapter 9; Apostol, Introduction to Analytic Number Theory, theorem 12.5.
    """
    s = as_complex(s)
    primitive = character.primitive()
    found = _primitive_l(primitive, s)
    for prime in factor(character.modulus):
        turn = primitive.turns[prime % primitive.modulus]
        if turn is not None and character.modulus > primitive.modulus:
            found = found * (1 - _root_of_unity(turn) * torch.exp(-s * math.log(prime)))
    return found


def completed_dirichlet_l(
    character: DirichletCharacter, s: Shaped[Tensor, "*b"]
) -> Complex[Tensor, "*b"]:
    """Lambda(s, chi) = (q/pi)^((s+k)/2) Gamma((s+k)/2) L(s, chi), k the parity, chi primitive.

    Lambda(s, chi) = W Lambda(1 - s, conjugate of chi),    W = `root_number`. So it is read near 0,
    where Gamma(s/2) has a pole and L(s, chi) of even chi a zero.
    """
    s = as_complex(s)
    root = character.root_number().to(s)
    near = s.abs() < 0.25
    if character.is_principal or not bool(near.any()):
        return _gamma_times_l(character, s)
    mirrored = root * _gamma_times_l(character.conjugate(), 1 - torch.where(near, s, 0))
    return torch.where(near, mirrored, _gamma_times_l(character, torch.where(near, 1, s)))


def _gamma_times_l(character: DirichletCharacter, s: Tensor) -> Tensor:
    half = (s + character.parity) / 2
    scale = torch.exp(half * math.log(character.modulus / math.pi))
    return scale / reciprocal_gamma(half) * dirichlet_l(character, s)


def _primitive_l(character: DirichletCharacter, s: Tensor) -> Tensor:
    if character.modulus == 1:
        return riemann_zeta(s)
    left = s.real < 0
    right = torch.where(left, 1 - s, s)
    direct = _hurwitz_sum(character, right)
    if not bool(left.any()):
        return direct
    q, k = character.modulus, character.parity
    mirrored = _hurwitz_sum(character.conjugate(), right)
    safe = torch.where(left, s, torch.zeros_like(s))
    factor = torch.exp((0.5 - safe) * math.log(q / math.pi) + complex_log_gamma((1 - safe + k) / 2))
    factor = character.root_number().to(s) * factor * reciprocal_gamma((safe + k) / 2)
    return torch.where(left, factor * mirrored, direct)


def _hurwitz_sum(character: DirichletCharacter, s: Tensor) -> Tensor:
    q = character.modulus
    units = [n for n in range(q) if character.turns[n] is not None]
    places = torch.tensor(units, dtype=s.real.dtype, device=s.device) / q
    each = hurwitz_zeta_less_pole(s[..., None], places)
    values = character.values()[units].to(s)
    return torch.exp(-s * math.log(q)) * (each * values).sum(-1)


def _root_of_unity(turn: Fraction | None) -> complex:
    if turn is None:
        return 0j
    exact = {Fraction(0): 1, Fraction(1, 4): 1j, Fraction(1, 2): -1, Fraction(3, 4): -1j}
    if turn in exact:
        return complex(exact[turn])
    return complex(math.cos(math.tau * turn), math.sin(math.tau * turn))


def _generators(modulus: int) -> list[int]:
    """Independent generators of (Z/q)^*: one each odd prime power; -1 and 5 for powers of 2."""
    found = []
    for prime, exponent in factor(modulus).items():
        power = prime**exponent
        if prime == 2:
            local = [-1, 5][: exponent - 1]
        else:
            totient = power // prime * (prime - 1)
            local = [next(g for g in range(2, power) if _order(g, power) == totient)]
        rest = modulus // power
        # g modulo the prime power, 1 modulo the rest.
        found += [(1 + rest * pow(rest, -1, power) * (g - 1)) % modulus for g in local]
    return found


def _order(unit: int, modulus: int) -> int:
    """The order of a unit in (Z/q)^*; 0 for what is no unit."""
    if math.gcd(unit, modulus) > 1:
        return 0
    order, power = 1, unit % modulus
    while power != 1 % modulus:
        order, power = order + 1, power * unit % modulus
    return order
