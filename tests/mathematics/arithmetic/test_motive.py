import itertools

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.mathematics.arithmetic.motives import (
    LEFSCHETZ,
    POINT,
    LefschetzPolynomial,
    affine_space,
    blow_up,
    flag_variety,
    general_linear_group,
    grassmannian,
    projective_bundle,
    projective_space,
    quadric,
    special_linear_group,
    symplectic_group,
    torus,
)
from adaptive_attention_tiling.mathematics.arithmetic.motivic_cohomology import (
    CyclicSum,
    milnor_k_group,
    motivic_cohomology_of_finite_field,
    motivic_cohomology_of_projective_space,
    quillen_k_group,
)
from adaptive_attention_tiling.mathematics.arithmetic.point_count import (
    affine_points,
    grassmannian_points,
    projective_points,
)

DETERMINANT = {(1, 0, 0, 1): 1, (0, 1, 1, 0): -1}
PLUECKER = {(1, 0, 0, 0, 0, 1): 1, (0, 1, 0, 0, 1, 0): -1, (0, 0, 1, 1, 0, 0): 1}


def test_golden_grassmannian_of_planes_in_four_space():
    motive = grassmannian(2, 4)
    assert motive == LefschetzPolynomial((1, 1, 2, 1, 1))
    assert str(motive) == "1 + L + 2L^2 + L^3 + L^4"
    assert motive == (1 + LEFSCHETZ**2) * (1 + LEFSCHETZ + LEFSCHETZ**2)
    assert motive.points(3) == 130
    assert grassmannian_points(2, 4, 3) == 130
    assert projective_points([PLUECKER], 3) == 130
    # The Pluecker quadric is split.
    assert motive == quadric(4)


def spans_of_pairs(q):
    vectors = list(itertools.product(range(q), repeat=4))
    spans = set()
    for v, w in itertools.combinations(vectors, 2):
        span = frozenset(
            tuple((a * x + b * y) % q for x, y in zip(v, w, strict=True))
            for a in range(q)
            for b in range(q)
        )
        if len(span) == q * q:
            spans.add(span)
    return len(spans)


def test_planes_are_spans_of_pairs_of_vectors():
    assert spans_of_pairs(2) == grassmannian_points(2, 4, 2) == grassmannian(2, 4).points(2) == 35


@pytest.mark.parametrize(
    ("motive", "equations", "variables", "projective"),
    [
        pytest.param(affine_space(2), [], 2, False, id="A^2"),
        pytest.param(projective_space(2), [], 3, True, id="P^2"),
        pytest.param(torus(1), [{(1, 1): 1, (0, 0): -1}], None, False, id="G_m"),
        pytest.param(
            special_linear_group(2), [{**DETERMINANT, (0, 0, 0, 0): -1}], None, False, id="SL_2"
        ),
        pytest.param(
            general_linear_group(2),
            [{(1, 0, 0, 1, 1): 1, (0, 1, 1, 0, 1): -1, (0, 0, 0, 0, 0): -1}],
            None, False, id="GL_2",
        ),
        pytest.param(quadric(2), [DETERMINANT], None, True, id="split quadric surface"),
        pytest.param(quadric(1), [{(1, 0, 1): 1, (0, 2, 0): -1}], None, True, id="conic"),
        pytest.param(
            projective_space(1) * projective_space(1), [DETERMINANT], None, True, id="P^1 x P^1"
        ),
        # x_0 y_1 = x_1 y_0 in A^2 x P^1, over the chart of y_1 = 1 and the point y_1 = 0.
        pytest.param(
            blow_up(affine_space(2), POINT, 2) - LEFSCHETZ,
            [{(1, 0, 0): 1, (0, 1, 1): -1}], None, False, id="blow-up of a point",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("q", [2, 3, 4, 5])
def test_classes_count_points(motive, equations, variables, projective, q):
    count = projective_points if projective else affine_points
    assert motive.points(q) == count(equations, q, variables)


def test_a_quadric_that_is_not_split():
    # x^2 + x y + y^2 has no zero over F_2 and F_5 but 0.
    form = {(2, 0, 0, 0): 1, (1, 1, 0, 0): 1, (0, 2, 0, 0): 1, (0, 0, 1, 1): 1}
    for q in (2, 5):
        assert quadric(2, split=False).points(q) == projective_points([form], q) == q * q + 1
    assert quadric(2).points(4) == projective_points([form], 4) == 25


def test_grassmannians_and_flags():
    for n, k, q in [(3, 1, 4), (5, 2, 3), (6, 3, 2), (4, 0, 5), (4, 4, 5)]:
        assert grassmannian(k, n).points(q) == grassmannian_points(k, n, q)
    assert grassmannian(1, 5) == projective_space(4)
    assert flag_variety((1, 1, 1)) == grassmannian(1, 3) * projective_space(1)
    # Fibred: lines in planes over planes in space; L = 1 leaves permutations.
    assert flag_variety((1, 1, 2)) == grassmannian(2, 4) * projective_space(1)
    assert flag_variety((1,) * 5).euler_characteristic == 120
    # GL_n acts on full flags; a stabiliser is (L - 1)^n L^(n (n-1)/2).
    for n in range(1, 5):
        borel = torus(n) * affine_space(n * (n - 1) // 2)
        assert general_linear_group(n) == borel * flag_variety((1,) * n)
    assert symplectic_group(1) == special_linear_group(2)


def test_bundles_and_blow_ups():
    # P^2 blown up in a point is a bundle of lines over a line (Hirzebruch's surface F_1).
    blown = blow_up(projective_space(2), POINT, 2)
    assert blown == projective_bundle(projective_space(1), 2)
    assert blown.betti_numbers == (1, 0, 2, 0, 1)
    assert blow_up(projective_space(3), projective_space(1), 2).betti_numbers == (
        1,
        0,
        2,
        0,
        2,
        0,
        1,
    )
    assert projective_space(3).euler_characteristic == 4


def test_the_ring():
    polynomial = 2 - 3 * LEFSCHETZ + LEFSCHETZ**3
    assert str(polynomial) == "2 - 3L + L^3"
    assert str(polynomial - polynomial) == "0"
    assert str(-LEFSCHETZ) == "-L"
    assert (polynomial - polynomial).dimension == -1
    assert polynomial * (LEFSCHETZ + 1) // (LEFSCHETZ + 1) == polynomial
    assert (LEFSCHETZ + 5 - LEFSCHETZ).coefficients == (5,)


def test_hasse_weil_zeta():
    plane = projective_space(2)
    u = torch.tensor([0.01, -0.02 + 0.01j], dtype=torch.cdouble, requires_grad=True)
    direct = 1 / ((1 - u) * (1 - 5 * u) * (1 - 25 * u))
    torch.testing.assert_close(plane.hasse_weil_zeta(5, u), direct)
    assert torch.autograd.gradcheck(lambda x: plane.hasse_weil_zeta(5, x), u)
    series = plane.zeta_series(5, 3)
    assert series[:2] == [1, 31]
    total = sum(float(c) * 0.001**k for k, c in enumerate(plane.zeta_series(5, 8)))
    expected = plane.hasse_weil_zeta(5, torch.tensor(0.001, dtype=torch.float64))
    assert total == pytest.approx(float(expected), rel=1e-13)
    # Z(1/(q^n u)) = +- q^(n chi/2) u^chi Z(u), n = 2 and chi = 3.
    there = plane.hasse_weil_zeta(5, 1 / (25 * u.detach()))
    torch.testing.assert_close(there, -(5**3) * u.detach() ** 3 * direct.detach())


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        pytest.param(quillen_k_group(1, 5), "Z/4", id="K_1(F_5)"),
        pytest.param(quillen_k_group(3, 5), "Z/24", id="K_3(F_5)"),
        (quillen_k_group(0, 5), "Z"),
        (quillen_k_group(2, 9), "0"),
        (quillen_k_group(3, 2), "Z/3"),
        (motivic_cohomology_of_finite_field(1, 1, 5), "Z/4"),
        (motivic_cohomology_of_finite_field(1, 2, 5), "Z/24"),
        (motivic_cohomology_of_finite_field(0, 0, 5), "Z"),
        (motivic_cohomology_of_finite_field(2, 2, 5), "0"),
        (motivic_cohomology_of_finite_field(1, 1, 2), "0"),
        (milnor_k_group(0, 4), "Z"),
        (milnor_k_group(1, 4), "Z/3"),
        (milnor_k_group(2, 4), "0"),
        (motivic_cohomology_of_projective_space(4, 2, 3), "Z"),
        (motivic_cohomology_of_projective_space(8, 4, 3), "0"),
        (motivic_cohomology_of_projective_space(5, 1, 3), "0"),
        # H^1(F_5, Z(2)) and, from the line, H^1(F_5, Z(1)).
        (motivic_cohomology_of_projective_space(1, 2, 1, q=5), "Z/24"),
        (motivic_cohomology_of_projective_space(3, 2, 1, q=5), "Z/4"),
        (motivic_cohomology_of_projective_space(4, 2, 3, q=5), "Z"),
        (CyclicSum(2, (4, 2)) + CyclicSum(1, (3,)), "Z^3 + Z/2 + Z/3 + Z/4"),
    ],
)
def test_listed_groups(group, expected):
    assert str(group) == expected


def test_the_diagonal_is_milnors_and_chow_groups_agree():
    for q in (2, 3, 4, 5):
        for n in range(5):
            assert motivic_cohomology_of_finite_field(n, n, q) == milnor_k_group(n, q)
        for i in range(6):
            named = motivic_cohomology_of_projective_space(2 * i, i, 3, q=q)
            assert named == motivic_cohomology_of_projective_space(2 * i, i, 3)
            cells = projective_space(3).coefficients
            assert named.rank == (cells[i] if i < 4 else 0)


def test_what_depends_on_the_field_is_refused():
    with pytest.raises(UnsupportedError, match=r"H\^1\(P\^2, Z\(1\)\).*pass q"):
        motivic_cohomology_of_projective_space(1, 1, 2)
    with pytest.raises(UnsupportedError, match="depends on the field"):
        motivic_cohomology_of_projective_space(2, 2, 2)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: projective_space(2).points(6), r"q: got 6 = 2 \* 3, expected a power of a prime"),
        (lambda: projective_space(2).points(1), "q: got 1"),
        (lambda: quillen_k_group(1, 12), r"12 = 2\^2 \* 3"),
        (lambda: quillen_k_group(-1, 5), "n: got -1"),
        (lambda: LefschetzPolynomial((0.5,)), "coefficients: .*integers"),
        (lambda: LEFSCHETZ // (LEFSCHETZ - 1), "other: .*a divisor"),
        (lambda: LEFSCHETZ // LefschetzPolynomial(()), "other: got 0, expected a divisor"),
        (lambda: LEFSCHETZ**-1, "exponent: got -1"),
        (lambda: affine_space(1).betti_numbers, "class: .*smooth projective"),
        (lambda: affine_space(-1), "n: got -1"),
        (lambda: grassmannian(5, 4), "k: got 5"),
        (lambda: special_linear_group(0), "n: got 0"),
        (lambda: blow_up(projective_space(2), POINT, 1), "codimension: got 1, expected 2"),
        (lambda: projective_bundle(POINT, 0), "rank: got 0"),
    ],
)
def test_what_is_no_motive_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
