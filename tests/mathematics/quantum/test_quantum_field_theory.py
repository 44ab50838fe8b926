import math

import mpmath
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.quantum import (
    bessel_ratio,
    free_fermion_entropy,
    hopping_chain_correlations,
    lattice_propagator,
    line_propagator,
    plane_propagator_at_zero,
    plaquette,
    zero_dimensional_partition_function,
)


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def quartic(strength):
    return zero_dimensional_partition_function(lambda x: x.square() / 2 + strength * x**4 / 24)


def central_charge():
    entropies = [free_fermion_entropy(hopping_chain_correlations(n)) for n in (200, 400)]
    return 3 * (entropies[1] - entropies[0]) / math.log(2)


ONE = real(1.0)
GOLDEN = {
    "B4 line": (lambda: line_propagator(ONE, real(0.0)), 0.4472135955, 1e-11),
    "B4 plane": (lambda: plane_propagator_at_zero(ONE), 0.254049840024, 1e-12),
    "B4 U(1) plaquette": (lambda: plaquette(ONE, "U(1)"), 0.446389965897, 1e-12),
    "B4 SU(2) plaquette": (lambda: plaquette(2 * ONE, "SU(2)"), 0.433127426722, 1e-12),
    "B4 Z2 plaquette": (lambda: plaquette(ONE / 2, "Z2"), 0.46211715726, 1e-11),
    "B4 quartic 1": (lambda: quartic(1.0), 0.918918905923, 1e-12),
    "B4 quartic 0.1": (lambda: quartic(0.1), 0.988306398148, 1e-12),
    "B4 XX chain": (central_charge, 1.00000135263, 1e-9),
}


@pytest.mark.parametrize(("found", "value", "error"), GOLDEN.values(), ids=GOLDEN)
def test_golden(found, value, error):
    assert abs(float(found()) - value) < error


def test_lattice_propagators():
    mass = real([0.7, 1.3])
    for shape in ((7,), (4, 6), (3, 4, 5)):
        found = lattice_propagator(mass, shape)
        assert found.shape == (2, *shape)
        applied = mass.square().reshape(2, *(1,) * len(shape)) * found
        for axis in range(1, len(shape) + 1):
            applied = applied + 2 * found - found.roll(1, axis) - found.roll(-1, axis)
        delta = torch.zeros(2, *shape, dtype=torch.float64)
        delta.reshape(2, -1)[:, 0] = 1
        torch.testing.assert_close(applied, delta)
        assert float(found.min()) > 0
    x = torch.arange(10, dtype=torch.float64)
    line = line_propagator(mass[:, None], x)
    torch.testing.assert_close(line, lattice_propagator(mass, (80,))[:, :10])
    plane = lattice_propagator(mass, (60, 60))[:, 0, 0]
    torch.testing.assert_close(plane_propagator_at_zero(mass), plane)
    light = plane_propagator_at_zero(real([1e-6, 1e-5]))
    slope = (light[0] - light[1]) / math.log(10)
    assert abs(float(slope) - 1 / (2 * math.pi)) < 1e-9


@pytest.mark.parametrize("order", [0, 1, 4])
def test_bessel_ratios_against_mpmath(order):
    x = [1e-8, 0.01, 1.0, 7.5, 60.0, 3000.0]
    with mpmath.workdps(30):
        exact = [
            float(mpmath.besseli(order + 1, mpmath.mpf(a)) / mpmath.besseli(order, mpmath.mpf(a)))
            for a in x
        ]
    torch.testing.assert_close(bessel_ratio(real(x), order), real(exact), rtol=1e-14, atol=0)
    single = bessel_ratio(real(x).float(), order)
    torch.testing.assert_close(single.double(), real(exact), rtol=1e-6, atol=0)


@pytest.mark.parametrize("beta", [0.4, 3.0])
def test_plaquettes_are_means_over_the_group(beta):
    angle = torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64)[:-1]
    b = real(beta)
    for group, measure in (("U(1)", 1.0), ("SU(2)", angle.sin().square())):
        weight = measure * torch.exp(beta * angle.cos())
        mean = (weight * angle.cos()).sum() / weight.sum()
        torch.testing.assert_close(plaquette(b, group), mean)
    signs = real([1.0, -1.0])
    mean = (signs * (beta * signs).exp()).sum() / (beta * signs).exp().sum()
    torch.testing.assert_close(plaquette(b, "Z2"), mean)


def test_quartic_integral_is_its_closed_form_and_near_its_series():
    for strength in (0.1, 1.0, 10.0):
        with mpmath.workdps(30):
            a = mpmath.mpf(3) / (4 * mpmath.mpf(strength))
            exact = float(mpmath.sqrt(2 * a / mpmath.pi) * mpmath.exp(a) * mpmath.besselk(0.25, a))
        assert abs(float(quartic(strength)) - exact) < 1e-13
    errors = [abs(float(quartic(s)) - (1 - s / 8 + 35 * s**2 / 384)) for s in (0.02, 0.01)]
    assert abs(math.log2(errors[0] / errors[1]) - 3) < 0.1


def test_entropy_of_free_fermions():
    site = hopping_chain_correlations(1, filling=0.3)
    expected = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    assert abs(float(free_fermion_entropy(site)) - expected) < 1e-15
    pair = hopping_chain_correlations(2)
    # Two sites as an ordinary density matrix, from Wick's theorem.
    c = float(pair[0, 1])
    both = 0.25 - c**2
    spectrum = real([both, both, 0.5 - both + c, 0.5 - both - c])
    torch.testing.assert_close(free_fermion_entropy(pair), -torch.xlogy(spectrum, spectrum).sum())
    filled = torch.diag(real([1.0, 0.0, 1.0]))
    assert float(free_fermion_entropy(filled)) == 0
    batch = torch.stack([hopping_chain_correlations(6, filling=f) for f in (0.2, 0.5, 0.8)])
    found = free_fermion_entropy(batch)
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found, torch.stack([free_fermion_entropy(x) for x in batch]))


def test_gradcheck():
    mass = real([0.4, 1.5]).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: lattice_propagator(m, (3, 4)), mass)
    assert torch.autograd.gradcheck(lambda m: line_propagator(m, m.detach() * 0 + 2), mass)
    assert torch.autograd.gradcheck(plane_propagator_at_zero, mass)
    for group in ("Z2", "U(1)", "SU(2)"):
        assert torch.autograd.gradcheck(lambda b, g=group: plaquette(b, g), mass)
    assert torch.autograd.gradcheck(lambda s: torch.stack([quartic(x) for x in s]), mass)
    block = hopping_chain_correlations(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: free_fermion_entropy((c + c.mT) / 2), block)
    assert torch.autograd.gradgradcheck(lambda b: plaquette(b, "SU(2)"), mass)


MISUSED = {
    "mass": (lambda: line_propagator(real(0.0), ONE), "mass: got .* from 0.0"),
    "shape": (lambda: lattice_propagator(ONE, ()), r"shape: got \[\]"),
    "coupling": (lambda: plaquette(real(-1.0), "Z2"), "coupling: got .* from -1.0"),
    "group": (lambda: plaquette(ONE, "SU(3)"), r"group: got SU\(3\)"),
    "action": (lambda: zero_dimensional_partition_function(lambda x: 0 * x), "action: got too"),
    "points": (lambda: zero_dimensional_partition_function(torch.abs, points=1), "points: got 1"),
    "length": (lambda: hopping_chain_correlations(3, filling=1.0), "length: got 3 at filling 1.0"),
    "shape of C": (lambda: free_fermion_entropy(real([0.5])), r"correlations: got \[1\]"),
    "occupation": (lambda: free_fermion_entropy(real([[1.5]])), "correlations: got eigenvalues"),
}


@pytest.mark.parametrize(("use", "message"), MISUSED.values(), ids=MISUSED)
def test_wrong_use_is_told(use, message):
    with pytest.raises(ArgumentError, match=message):
        use()
