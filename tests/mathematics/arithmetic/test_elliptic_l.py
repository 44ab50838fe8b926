import math

import mpmath
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_coefficients import (
    frobenius_trace,
    frobenius_traces,
    l_coefficients,
)
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_curve import EllipticCurve
from adaptive_attention_tiling.mathematics.arithmetic.elliptic_l_function import (
    EllipticLFunction,
    birch_swinnerton_dyer,
    real_period,
)
from adaptive_attention_tiling.mathematics.arithmetic.heights.elliptic import regulator
from adaptive_attention_tiling.mathematics.arithmetic.local_reduction import (
    conductor,
    local_reduction,
    tamagawa_product,
)
from adaptive_attention_tiling.mathematics.arithmetic.point_count import elliptic_points
from adaptive_attention_tiling.mathematics.arithmetic.shanks_mestre import trace_by_giant_steps

E11 = EllipticCurve(0, -1, 1, -10, -20)
E37 = EllipticCurve(0, 0, 1, -1, 0)
E389 = EllipticCurve(0, 1, 1, -2, 0)
E5077 = EllipticCurve(0, 0, 1, -7, 6)
CURVES = [
    E11, E37, E389, EllipticCurve(0, 0, 0, 0, 1), EllipticCurve(0, 0, 0, -1, 0),
    EllipticCurve(1, -1, 0, -4, 4), EllipticCurve(0, 0, 0, 7, 0), EllipticCurve(1, 0, 1, 4, -6),
    # 11a1 written with a common factor: what it tells must not depend on the model.
    EllipticCurve(0, -4, 8, -160, -1280),
]  # fmt: skip


@pytest.fixture(scope="module")
def l_functions():
    return {curve: EllipticLFunction(curve) for curve in (E11, E37, E389, E5077)}


@pytest.fixture(scope="module")
def pari():
    module = pytest.importorskip("cypari", reason="cypari, of the oracles extra, is not installed")
    return module.pari


def of_pari(pari, curve):
    return pari.ellinit([int(a) for a in curve.coefficients])


@pytest.mark.parametrize(
    ("curve", "traces"),
    [
        pytest.param(E37, [-2, -3, -2, -1, -5, -2, 0, 0, 2, 6], id="37a1 a_p p=2..29"),
        pytest.param(E11, [-2, -1, 1, -2, 1, 4, -2, 0, -1, 0], id="11a1 a_p p=2..29"),
    ],
)
def test_golden_traces_of_frobenius(curve, traces):
    assert list(frobenius_traces(curve, 30).values()) == traces
    assert [frobenius_trace(curve, p) for p in (2, 3, 5, 29)] == [*traces[:3], traces[-1]]


@pytest.mark.parametrize("curve", CURVES[:6])
def test_traces_count_every_point(curve):
    model = [int(a) for a in curve.minimal_model().coefficients]
    for p, trace in frobenius_traces(curve, 17).items():
        assert p + 1 - trace == elliptic_points(model, p)
        if curve.reduction(p) == "good":
            assert trace**2 <= 4 * p
        else:
            named = {"split multiplicative": 1, "nonsplit multiplicative": -1, "additive": 0}
            assert trace == named[curve.reduction(p)]


@pytest.mark.parametrize("prime", [461, 463, 10007, 99991])
@pytest.mark.parametrize(
    "curve", [E37, EllipticCurve(0, 0, 0, 0, 1), EllipticCurve(0, 0, 0, -1, 0)]
)
def test_giant_steps_and_the_sum_over_all_x_agree(curve, prime):
    c4, c6 = (int(c) for c in curve.c_invariants)
    assert trace_by_giant_steps(-27 * c4, -54 * c6, prime) == frobenius_trace(curve, prime)


def test_traces_at_large_primes(pari):
    for prime in (100003, 10**9 + 7, 10**12 + 39):
        assert frobenius_trace(E389, prime) == int(pari.ellap(of_pari(pari, E389), prime))
    # y^2 = x^3 + x^2 + p has a node modulo p, where T^2 = 1; y^2 = x^3 + p a cusp.
    prime = 1000003
    assert frobenius_trace(EllipticCurve(0, 1, 0, 0, prime), prime) == 1
    assert frobenius_trace(EllipticCurve(0, -1, 0, 0, prime), prime) == -1
    assert frobenius_trace(EllipticCurve(0, 0, 0, 0, prime), prime) == 0


def test_golden_l_values_by_their_series(l_functions):
    n = range(1, 101)
    a11, a37 = (l_coefficients(curve, 100).tolist() for curve in (E11, E37))
    series = 2 * sum(
        a / k * math.exp(-2 * math.pi * k / math.sqrt(11)) for a, k in zip(a11, n, strict=True)
    )
    assert l_functions[E11].derivative(0) == pytest.approx(series, abs=2e-14)
    assert l_functions[E11].derivative(0) == pytest.approx(0.253841860856, abs=1e-12)
    series = 2 * sum(
        a / k * float(mpmath.e1(2 * math.pi * k / math.sqrt(37)))
        for a, k in zip(a37, n, strict=True)
    )
    assert l_functions[E37].derivative(1) == pytest.approx(series, abs=2e-14)
    assert l_functions[E37].derivative(1) == pytest.approx(0.305999773834, abs=1e-12)


def test_golden_l_over_omega_of_11a1(l_functions):
    omega = real_period(E11)
    assert omega == pytest.approx(1.269209304279553, abs=1e-14)
    assert l_functions[E11].derivative(0) / omega == pytest.approx(1 / 5, abs=1e-14)
    assert birch_swinnerton_dyer(l_functions[E11], 5).sha == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("curve", "generators", "golden"),
    [
        pytest.param(E37, [(0, 0)], 0.0511114082399688, id="37a1 BSD"),
        # Heights in the normalisation lim h(x(2^n P)) / 4^n; regulators as PARI tells them.
        pytest.param(E389, [(-1, 1), (0, 0)], 0.152460177943144, id="389a1"),
        pytest.param(E5077, [(-2, 3), (-1, 3), (0, 2)], 0.417143558758384, id="5077a1"),
    ],
)
def test_golden_birch_and_swinnerton_dyer(l_functions, curve, generators, golden):
    heights = regulator(curve, [curve.point(*xy) for xy in generators])
    assert heights == pytest.approx(golden, rel=1e-12)
    numbers = birch_swinnerton_dyer(l_functions[curve], 1, heights)
    assert numbers.rank == len(generators)
    assert numbers.tamagawa == 1
    assert numbers.sha == pytest.approx(1, abs=1e-11)
    assert numbers.period * heights == pytest.approx(numbers.leading, rel=1e-11)


def test_conductors_and_root_numbers(l_functions):
    assert [found.conductor for found in l_functions.values()] == [11, 37, 389, 5077]
    assert [found.root_number for found in l_functions.values()] == [1, -1, 1, -1]


def test_l_is_its_euler_product_far_to_the_right(l_functions):
    s = torch.tensor([4.0, 3.5 + 2j], dtype=torch.cdouble)
    product = torch.ones_like(s)
    for p, trace in frobenius_traces(E37, 3000).items():
        scale = torch.exp(-s * math.log(p))
        product = product / (1 - trace * scale + (p != 37) * p * scale * scale)
    torch.testing.assert_close(l_functions[E37](s), product, rtol=1e-6, atol=0)


def test_the_functional_equation_of_theta_is_checked():
    with pytest.raises(CorrectnessError, match="no functional equation with conductor 38"):
        EllipticLFunction(E37, 38)
    assert EllipticLFunction(E37, 37).root_number == -1


def test_gradients_and_batches(l_functions):
    l_function = l_functions[E389]
    s = torch.tensor([1.2 + 0.5j, 0.5 - 1j], dtype=torch.cdouble, requires_grad=True)
    assert torch.autograd.gradcheck(l_function, s)
    assert torch.autograd.gradgradcheck(l_function, s)
    singly = torch.stack([l_function(one) for one in s.detach()])
    torch.testing.assert_close(l_function(s.detach().view(1, 2)), singly.view(1, 2))
    # The second derivative of L and that of Lambda differ by their factor alone.
    scale = 2 * math.pi / math.sqrt(389)
    assert l_function.derivative(2) == pytest.approx(
        scale * l_function.completed_derivative(2), rel=1e-12
    )


@pytest.mark.parametrize("index", range(len(CURVES)))
def test_coefficients_and_local_data_against_pari(pari, index):
    curve = CURVES[index]
    oracle = of_pari(pari, curve)
    assert l_coefficients(curve, 400).tolist() == [int(a) for a in pari.ellan(oracle, 400)]
    expected, _, tamagawa, *_ = pari.ellglobalred(oracle)
    assert conductor(curve) == int(expected)
    assert tamagawa_product(curve) == int(tamagawa)
    components = 2 if curve.discriminant > 0 else 1
    minimal = of_pari(pari, curve.minimal_model())
    assert real_period(curve) == pytest.approx(components * float(minimal.omega()[0]), rel=1e-13)


# Curves with I_n* at p and c components, as PARI's elllocalred tells: p, n, c, (a1, ..., a6).
STARRED = [
    (2, 1, 2, (0, 0, -12, -12, 0)),
    (2, 1, 4, (0, 10, -4, 0, 0)),
    (2, 2, 2, (-10, 8, 4, -4, 0)),
    (2, 2, 4, (-2, 2, 0, 0, 16)),
    (2, 3, 2, (-6, -2, -8, 8, 16)),
    (2, 3, 4, (0, -6, -8, 0, 0)),
    (2, 4, 2, (10, 0, -4, 20, 16)),
    (2, 4, 4, (-2, -2, 0, 16, 0)),
    (2, 5, 2, (0, -10, -8, 0, 16)),
    (2, 6, 2, (2, 2, 0, 16, -64)),
    (2, 6, 4, (0, -8, 8, -12, 0)),
    (3, 1, 2, (3, -12, -27, 9, 0)),
    (3, 1, 4, (-3, 6, -9, 0, 0)),
    (3, 2, 2, (-3, -6, 0, -18, 0)),
    (3, 2, 4, (12, -3, 0, 9, 0)),
    (3, 3, 2, (-6, -12, -45, -27, 162)),
    (3, 4, 4, (-6, 3, 0, 81, 0)),
    (3, 6, 4, (0, 3, -54, 54, 243)),
    (5, 1, 2, (25, -5, 0, -25, 0)),
    (5, 1, 4, (-5, 20, 25, 0, 0)),
    (5, 2, 2, (-20, -15, -100, 0, -125)),
    (5, 2, 4, (30, -15, -50, 25, 0)),
    (5, 3, 2, (-25, -20, 25, 125, 625)),
    (5, 6, 4, (-10, 30, -250, 1875, -15625)),
    # x^3 - x, x^3 + x and x^3 + 2 have 3, 1 and 0 roots modulo 7.
    (7, 0, 4, (0, 0, 0, -49, 0)),
    (7, 0, 2, (0, 0, 0, 49, 0)),
    (7, 0, 1, (0, 0, 0, 0, 686)),
]


@pytest.mark.parametrize(("prime", "number", "tamagawa", "coefficients"), STARRED)
def test_starred_fibres(prime, number, tamagawa, coefficients):
    found = local_reduction(EllipticCurve(*coefficients), prime)
    assert (found.kodaira, found.tamagawa) == (f"I{number}*", tamagawa)


KODAIRA = {1: "I0", 2: "II", 3: "III", 4: "IV", -1: "I0*", -2: "II*", -3: "III*", -4: "IV*"}


def kodaira_of_pari(number):
    if number in KODAIRA:
        return KODAIRA[number]
    return f"I{number - 4}" if number > 0 else f"I{-number - 4}*"


def test_tates_algorithm_against_pari(pari):
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for prime in (2, 3, 5, 7):
        for _ in range(45):
            powers = torch.tensor([prime**k for k in range(5)])
            spread = torch.tensor([2, 3, 4, 5, 6])
            exponents = (torch.rand(5, generator=generator) * spread).long().clamp(max=4)
            numbers = torch.randint(-6, 7, (5,), generator=generator) * powers[exponents]
            try:
                curve = EllipticCurve(*numbers.tolist())
            except ArgumentError:
                continue
            found = local_reduction(curve, prime)
            exponent, kodaira, _, tamagawa = pari.elllocalred(of_pari(pari, curve), prime)
            kodaira = kodaira_of_pari(int(kodaira))
            assert (found.conductor_exponent, found.kodaira) == (int(exponent), kodaira)
            assert found.tamagawa == int(tamagawa)
            seen.add(found.kodaira.rstrip("0123456789*") + "*" * found.kodaira.endswith("*"))
    assert seen >= {"I", "II", "III", "IV", "I*", "II*", "III*", "IV*"}


def test_l_against_pari(pari, l_functions):
    s = [0.5 + 1j, 1.5 - 2j, 2 + 5j, 3.7 + 0j, -0.5 + 1j]
    for curve, l_function in l_functions.items():
        oracle = of_pari(pari, curve)
        found = l_function(torch.tensor(s, dtype=torch.cdouble)).tolist()
        for point, value in zip(s, found, strict=True):
            expected = complex(pari.lfun(oracle, pari(f"{point.real}+{point.imag}*I")))
            assert value == pytest.approx(expected, abs=1e-11)
        rank, leading = pari.ellanalyticrank(oracle)
        assert l_function.analytic_rank() == int(rank)
        assert l_function.derivative(int(rank)) == pytest.approx(float(leading), rel=1e-11)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: frobenius_trace(E11, 15), r"prime: got 15 = 3 \* 5, expected a prime"),
        (lambda: frobenius_trace(E11, 10**16 + 61), "p <= 10000000000000000"),
        (lambda: frobenius_traces(E11, 10**7), "bound: got 10000000"),
        (lambda: l_coefficients(E11, 0), "count: got 0"),
        (lambda: local_reduction(E11, 9), r"prime: got 9 = 3 \* 3"),
        (lambda: EllipticLFunction(E11, 10), "conductor: got 10"),
        (lambda: EllipticLFunction(E11).derivative(-1), "order: got -1"),
        (lambda: EllipticCurve(0, 0, 0, 0, 0), "discriminant 0"),
    ],
)
def test_what_has_no_l_function_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
