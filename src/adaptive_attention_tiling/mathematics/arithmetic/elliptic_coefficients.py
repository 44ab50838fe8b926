"""The Dirichlet coefficients a_n of the L-function of an elliptic curve over Q."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError
from .elliptic_curve import EllipticCurve, Reduction
from .primes import check_prime, primes_up_to
from .shanks_mestre import trace_by_giant_steps

_LARGEST_SIEVED = 10**6
_LARGEST_SUMMED = 10**5
_LARGEST_PRIME = 10**16
_TRACES: dict[Reduction, int] = {
    "split multiplicative": 1,
    "nonsplit multiplicative": -1,
    "additive": 0,
}


def frobenius_trace(curve: EllipticCurve, prime: int) -> int:
    """a_p = p + 1 - #E(F_p) of the minimal model, its singular point counted once.

    So a_p is 1, -1 or 0 where the reduction is split, nonsplit or additive. For odd p it is

        -sum_{x mod p} ((4 x^3 + b2 x^2 + 2 b4 x + b6) / p),

    all x at once, in O(p). Beyond 10^5 it is found by giant steps, in p^(1/4): a second at 10^15.

    Raises:
        ArgumentError: p is composite or above 10^16.

    Source: Cohen, A Course in Computational Algebraic Number Theory, section 7.4.3.
    """
    check_prime("prime", prime)
    if prime > _LARGEST_PRIME:
        raise ArgumentError("prime", prime, f"p <= {_LARGEST_PRIME}", "count at smaller primes")
    model = curve.minimal_model()
    if prime == 2:
        return _trace_at_two(model)
    if prime > _LARGEST_SUMMED:
        if int(model.discriminant) % prime == 0:
            return _TRACES[curve.reduction(prime)]
        c4, c6 = (int(c) for c in model.c_invariants)
        return trace_by_giant_steps(-27 * c4, -54 * c6, prime)
    return _trace(tuple(int(b) % prime for b in model.b_invariants[:3]), prime)


def frobenius_traces(curve: EllipticCurve, bound: int) -> dict[int, int]:
    """{p: a_p} for the primes p <= bound; as `frobenius_trace`, the minimal model found once."""
    if bound > _LARGEST_SIEVED:
        raise ArgumentError("bound", bound, f"at most {_LARGEST_SIEVED}", "ask for fewer primes")
    model = curve.minimal_model()
    b_invariants = [int(b) for b in model.b_invariants[:3]]
    found = {2: _trace_at_two(model)} if bound >= 2 else {}
    for prime in primes_up_to(bound)[1:]:
        found[prime] = _trace(tuple(b % prime for b in b_invariants), prime)
    return found


def l_coefficients(curve: EllipticCurve, count: int) -> Int[Tensor, " n"]:
    """a_1, ..., a_count of L(E, s) = sum a_n n^-s = prod_p 1 / (1 - a_p p^-s + e_p p^(1-2s)).

    e_p is 1 where the reduction is good, else 0.

    Returns:
        int64; entry n - 1 is a_n.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError("count", count, "an integer >= 1", "pass how many a_n are wanted")
    discriminant = int(curve.minimal_model().discriminant)
    found = torch.ones(count + 1, dtype=torch.int64)
    for prime, trace in frobenius_traces(curve, count).items():
        good = int(discriminant % prime != 0)
        before, current, power = 1, trace, prime
        while power <= count:
            multiples = torch.arange(power, count + 1, power)
            multiples = multiples[multiples // power % prime != 0]
            found[multiples] *= current
            before, current = current, trace * current - good * prime * before
            power *= prime
    return found[1:]


def _trace(b_invariants: tuple[int, ...], prime: int) -> int:
    """-sum of Legendre symbols; the squares modulo p are marked in a table."""
    b2, b4, b6 = b_invariants
    x = torch.arange(prime)
    values = (((4 * x + b2) * x % prime + 2 * b4) * x + b6) % prime
    symbols = torch.full((prime,), -1, dtype=torch.int64)
    symbols[x * x % prime] = 1
    symbols[0] = 0
    return -int(symbols[values].sum())


def _trace_at_two(model: EllipticCurve) -> int:
    a1, a2, a3, a4, a6 = (int(a) for a in model.coefficients)
    points = sum(
        (y * y + a1 * x * y + a3 * y - x**3 - a2 * x * x - a4 * x - a6) % 2 == 0
        for x in (0, 1)
        for y in (0, 1)
    )
    return 2 - points
