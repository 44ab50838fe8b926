import math
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.crystal import (
    anomaly_polynomial,
    fixed_point,
    hypercharge_anomalies,
    ising_decimation,
    migdal_kadanoff,
    renormalization_flow,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def test_golden_decimation_of_the_ising_chain():
    """B5: K' of K = 1; the correlation length halves; the free energy agrees."""
    coupling = real(1.0)
    coarse = ising_decimation(coupling)
    assert float(coarse) == pytest.approx(0.662501373679, abs=5e-13)
    ratio = coupling.tanh().log() / coarse.tanh().log()
    assert float(ratio) == pytest.approx(0.5, abs=1e-15)

    def free_energy(k):
        return (2 * k.cosh()).log()

    assert float(free_energy(coupling)) == pytest.approx(1.12692801104, abs=5e-12)
    flow = free_energy(coarse) / 2 + (4 * (2 * coupling).cosh()).log() / 4
    assert float(flow) == pytest.approx(float(free_energy(coupling)), abs=1e-15)


def test_decimation_sums_out_spins():
    """Two bonds in a row, the spin between summed out, are A exp(K' s s')."""
    bond = (real([[1.0, -1], [-1, 1]]) * 0.7).exp()
    both = bond @ bond
    ratio = (both[0, 0] / both[0, 1]).log() / 2
    torch.testing.assert_close(ising_decimation(real(0.7)), ratio)
    torch.testing.assert_close(ising_decimation(real([0.7, -0.7])), ratio.expand(2))


@pytest.mark.parametrize(
    ("bonds_first", "expected"),
    [(True, 0.304688931718), (False, 0.609377863436)],
    ids=["B5 move then decimate", "B5 decimate then move"],
)
def test_golden_migdal_kadanoff(bonds_first, expected):
    found = fixed_point(lambda k: migdal_kadanoff(k, bonds_first), real([0.5]))
    assert float(found.couplings) == pytest.approx(expected, abs=5e-13)
    assert float(found.exponents) == pytest.approx(0.747235718929, abs=5e-12)
    assert float(found.correlation_exponent) == pytest.approx(1.33826579039, abs=1e-11)
    assert found.relevant == 1
    if bonds_first:
        assert float(found.couplings.tanh()) == pytest.approx(0.295597742522, abs=5e-13)
        slope = 2 * (4 * found.couplings).tanh()
        torch.testing.assert_close(found.eigenvalues.real, slope)


def test_flows_leave_an_unstable_point_on_either_side():
    critical = 0.304688931718
    start = real([[critical - 0.01], [critical + 0.01]])
    flow = renormalization_flow(migdal_kadanoff, start, 16)
    assert flow.shape == (17, 2, 1)
    assert float(flow[-1, 0]) < 1e-3
    assert float(flow[-1, 1]) > 100
    assert bool(flow.isfinite().all())
    each = torch.stack([renormalization_flow(migdal_kadanoff, row, 16) for row in start], 1)
    assert torch.equal(each, flow)


def test_fixed_points_of_two_couplings():
    """One-loop phi^4 in 4 - e dimensions: r' = b^2 (r + 3 u (1 - r)), u' = b^e (u - 9 u^2).

    Linear in e: y_r = 2 - e / 3 and y_u = -e at the fixed point of Wilson and Fisher.
    """
    errors = []
    for epsilon in (0.02, 0.01):

        def coarsen(k, epsilon=epsilon):
            b = math.log(2)
            r, u = k
            return torch.stack(
                [
                    4 * (r + 3 * u * (1 - r) * b),
                    math.exp(epsilon * b) * (u - 9 * u.square() * b),
                ]
            )

        wilson_fisher = fixed_point(coarsen, real([-0.01, epsilon / 9]))
        assert wilson_fisher.relevant == 1
        gauss = fixed_point(coarsen, real([0.0, 0.0]))
        torch.testing.assert_close(gauss.exponents, real([2.0, epsilon]), rtol=0, atol=1e-12)
        wanted = real([2 - epsilon / 3, -epsilon])
        errors.append(float((wilson_fisher.exponents - wanted).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_fixed_points_are_differentiable_in_the_map():
    def critical(bonds):
        found = fixed_point(lambda k: (2 * bonds * k).cosh().log() / 2, real([0.4]))
        return found.couplings, found.exponents

    assert torch.autograd.gradcheck(critical, real(2.1).requires_grad_())
    k = real([0.2, 0.9, -1.4, 1e-9]).requires_grad_()
    assert torch.autograd.gradcheck(ising_decimation, k)
    assert torch.autograd.gradgradcheck(ising_decimation, k)


def test_marginal_direction():
    """K' = K + K^2 keeps 0 with exponent 0: Newton's method is slow there, but comes."""
    found = fixed_point(lambda k: k + k.square(), real([0.1]))
    assert abs(float(found.couplings)) < 1e-6
    assert abs(float(found.exponents)) < 1e-5


def test_decimation_keeps_digits_of_weak_and_strong_couplings():
    found = ising_decimation(real([1e-9, 1e3]))
    torch.testing.assert_close(found, real([1e-18, 1e3 - math.log(2) / 2]), rtol=1e-15, atol=0)
    assert ising_decimation(torch.ones(2)).dtype == torch.float32


FAMILY = [
    (Fraction(1, 6), 3, 2),
    (Fraction(-2, 3), 3, 1),
    (Fraction(1, 3), 3, 1),
    (Fraction(-1, 2), 1, 2),
    (Fraction(1), 1, 1),
]


def test_golden_standard_model_has_no_anomaly():
    """B5: sums of Y^3 and Y, SU(3)^2 U(1), SU(2)^2 U(1)."""
    assert hypercharge_anomalies(FAMILY) == (0, 0, 0, 0)
    assert anomaly_polynomial([((y,), c * w) for y, c, w in FAMILY], 3) == {}
    # Each field counts: without any one of them something is left.
    for left_out in range(5):
        rest = FAMILY[:left_out] + FAMILY[left_out + 1 :]
        assert any(hypercharge_anomalies(rest))
    # B - L as well, once there is a right-handed neutrino; then both together.
    lepton = [Fraction(1, 3), Fraction(-1, 3), Fraction(-1, 3), -1, 1]
    both = [((y, b), c * w) for (y, c, w), b in zip(FAMILY, lepton, strict=True)]
    assert anomaly_polynomial(both, 3) == {(0, 3): Fraction(-1, 6)}
    assert anomaly_polynomial([*both, ((0, 1), 1)], 3) == {}


def test_golden_chiral_3450():
    """B5: 3^2 + 4^2 - 5^2 - 0^2 = 0."""
    assert anomaly_polynomial([((3,), 1), ((4,), 1), ((5,), -1), ((0,), -1)], 2) == {}
    assert anomaly_polynomial([((3,), 1), ((4,), 1), ((6,), -1)], 2) == {(2,): Fraction(-11, 2)}
    mixed = anomaly_polynomial([((1, 2), 1), ((Fraction(1, 2), -1), 3)], 2)
    assert mixed == {(2, 0): Fraction(7, 8), (1, 1): Fraction(1, 2), (0, 2): Fraction(7, 2)}


MISUSED = {
    "scale": (lambda: fixed_point(migdal_kadanoff, real([0.5]), 1.0), "scale: got 1.0"),
    "start": (lambda: fixed_point(migdal_kadanoff, real([[0.5]])), r"start: got shape \[1, 1\]"),
    "NaN": (lambda: fixed_point(migdal_kadanoff, real([math.nan])), "expected finite couplings"),
    "none": (lambda: fixed_point(lambda k: k + 1 + k**2, real([0.3])), "near a fixed point"),
    "space": (
        lambda: renormalization_flow(lambda k: k[..., :1], real([1.0, 2]), 1),
        r"block_map: got couplings \[2\] sent to \[1\]",
    ),
    "steps": (lambda: renormalization_flow(migdal_kadanoff, real([1.0]), -1), "steps: got -1"),
    "float": (lambda: anomaly_polynomial([((0.5,), 1)], 3), "expected an int or a Fraction"),
    "ragged": (lambda: anomaly_polynomial([((1,), 1), ((1, 2), 1)], 3), "unlike numbers"),
    "degree": (lambda: anomaly_polynomial([((1,), 1)], 0), "degree: got 0"),
    "colours": (lambda: hypercharge_anomalies([(1, 4, 1)]), r"fields: got sizes \(4, 1\)"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
