from fractions import Fraction
from math import comb

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    cubic_index,
    dynkin_index,
    gauge_anomalies,
    gravitational_anomaly_polynomial,
    roof_genus,
    young_dimension,
)

FAMILY = [
    (Fraction(1, 6), 3, 2),
    (Fraction(-2, 3), 3, 1),
    (Fraction(1, 3), 3, 1),
    (Fraction(-1, 2), 1, 2),
    (Fraction(1), 1, 1),
]


@pytest.mark.parametrize("colours", [2, 3, 4, 5, 7])
def test_representations_of_special_unitary_groups(colours):
    """Textbook values: Georgi, Lie Algebras in Particle Physics, and Banks and Georgi."""
    n = colours
    adjoint = (2, *[1] * (n - 2))
    conjugate = (1,) * (n - 1)
    table = {
        (): (1, 0, 0),
        (1,): (n, 1, 1),
        (2,): (n * (n + 1) // 2, n + 2, n + 4),
        (1, 1): (n * (n - 1) // 2, n - 2, n - 4),
        adjoint: (n * n - 1, 2 * n, 0),
        (3,): (comb(n + 2, 3), (n + 2) * (n + 3) // 2, (n + 3) * (n + 6) // 2),
        conjugate: (n, 1, -1),
    }
    for diagram, (size, index, cubic) in table.items():
        assert young_dimension(diagram, n) == size, diagram
        assert dynkin_index(diagram, n) == index, diagram
        assert cubic_index(diagram, n) == (cubic if n > 2 else 0), diagram
    # A column of N boxes changes nothing.
    assert cubic_index((2, *[1] * (n - 1)), n) == cubic_index((1,), n)


def test_indices_of_products_add_up():
    """3 x 3 = 6 + 3bar: dimensions, and I(R x S) = I(R) dim S + dim R I(S) for both indices."""
    for n in (3, 4, 6):
        for index in (dynkin_index, cubic_index):
            assert index((2,), n) + index((1, 1), n) == 2 * n * index((1,), n)
            parts = index((3,), n) + 2 * index((2, 1), n) + index((1, 1, 1), n)
            assert parts == 3 * n * n * index((1,), n)


def test_grand_unified_families_have_no_anomaly():
    assert gauge_anomalies([((1, 1, 1, 1), 0, 1), ((1, 1), 0, 1)], 5) == (0, 0, 0, 0, 0)
    assert gauge_anomalies([((1, 1), 0, 1)], 5).cubic == 1
    # SU(5) x U(1) with the charges of flipped SU(5), and its singlet.
    flipped = [((1, 1), 1, 1), ((1, 1, 1, 1), -3, 1), ((), 5, 1)]
    assert gauge_anomalies(flipped, 5) == (0, 0, 0, 0, 0)
    assert gauge_anomalies(flipped[:2], 5) == (0, 0, -125, -5, 0)


def test_golden_standard_model_by_groups():
    """B5: the same four sums, from representations of SU(3) and of SU(2)."""
    conjugate = [False, True, True, False, False]
    strong = [
        (((1, 1) if bar else (1,)) if c == 3 else (), y, w)
        for (y, c, w), bar in zip(FAMILY, conjugate, strict=True)
    ]
    assert gauge_anomalies(strong, 3) == (0, 0, 0, 0, 0)
    weak = [((1,) if w == 2 else (), y, c) for y, c, w in FAMILY]
    assert gauge_anomalies(weak, 2) == (0, 0, 0, 0, 0)
    # One doublet alone has no triangle anomaly but Witten's; isospin 3/2 has ten units.
    assert gauge_anomalies([((1,), 0, 1)], 2) == (0, 0, 0, 0, 1)
    assert gauge_anomalies([((3,), 0, 1)], 2).parity == 0
    assert gauge_anomalies([((1,), 0, 1)], 3).parity == 0
    assert gauge_anomalies(strong[:4], 3) == (0, 0, -1, -1, 0)


def test_golden_genus_of_a_k3_surface():
    """B5: A-roof[K3] = - p_1 / 24 = 48 / 24 = 2, with p_1[K3] = -48."""
    assert -48 * roof_genus(1)[(1,)] == 2
    assert roof_genus(0) == {(): 1}
    assert roof_genus(2) == {(2, 0): Fraction(7, 5760), (0, 1): Fraction(-4, 5760)}
    assert roof_genus(3) == {
        (3, 0, 0): Fraction(-31, 967680),
        (1, 1, 0): Fraction(44, 967680),
        (0, 0, 1): Fraction(-16, 967680),
    }
    # On a product of two K3: p = p_1 + p_1' , so p_1^2 = 2 * 48^2 and p_2 = 48^2.
    assert (
        sum(
            value * {(2, 0): 2 * 48**2, (0, 1): 48**2}[powers]
            for powers, value in roof_genus(2).items()
        )
        == 4
    )


def test_gauge_mixed_and_gravitational_anomalies():
    chiral = [((3,), 1), ((4,), 1), ((5,), -1), ((0,), -1)]
    assert gravitational_anomaly_polynomial(chiral, 2) == {}
    assert gravitational_anomaly_polynomial(chiral[:3], 2) == {((0,), (1,)): Fraction(-1, 24)}
    assert gravitational_anomaly_polynomial([((3, 2), 1)], 4) == {
        ((3, 0), (0,)): Fraction(9, 2),
        ((2, 1), (0,)): 9,
        ((1, 2), (0,)): 6,
        ((0, 3), (0,)): Fraction(4, 3),
        ((1, 0), (1,)): Fraction(-1, 8),
        ((0, 1), (1,)): Fraction(-1, 12),
    }
    assert gravitational_anomaly_polynomial([((2,), 1)], 6) == {
        ((4,), (0, 0)): Fraction(2, 3),
        ((2,), (1, 0)): Fraction(-1, 12),
        ((0,), (2, 0)): Fraction(7, 5760),
        ((0,), (0, 1)): Fraction(-1, 1440),
    }
    family = [((y,), c * w) for y, c, w in FAMILY]
    assert gravitational_anomaly_polynomial(family, 4) == {}
    assert gravitational_anomaly_polynomial([], 2) == {}


MISUSED = {
    "diagram": (lambda: young_dimension((1, 2), 3), r"diagram: got \(1, 2\) for 3 colours"),
    "tall": (lambda: cubic_index((1, 1, 1, 1), 3), "at most as many as colours"),
    "below": (lambda: young_dimension((1, -1), 3), "rows >= 0"),
    "colours": (lambda: dynkin_index((1,), 1), "colours: got 1"),
    "cubic": (lambda: cubic_index((1,), 1), "colours: got 1"),
    "charge": (lambda: gauge_anomalies([((1,), 0.5, 1)], 3), "expected an int or a Fraction"),
    "odd": (lambda: gravitational_anomaly_polynomial([((1,), 1)], 3), "dimension: got 3"),
    "large": (lambda: gravitational_anomaly_polynomial([((1,), 1)], 16), "dimension: got 16"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
