"""Chern numbers, Berry phases and degrees against the known phases of model Hamiltonians."""

import math
import sys

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology.characteristic_classes import (
    berry_phase,
    chern_lattice,
    chern_number,
    dirac_second_chern_number,
    dirac_vector,
    haldane,
    map_degree,
    qwz,
    qwz_vector,
    ssh,
    two_band,
    wilson_loop,
    wilson_spectrum,
    zak_phase,
)


@pytest.mark.parametrize(("mass", "expected"), [(-3.0, 0), (-1.0, -1), (1.0, 1), (3.0, 0)])
def test_qwz_lower_band_on_24_by_24(mass, expected):
    found = chern_number(qwz(mass), (24, 24))
    assert found.value == expected
    assert found.defect < 1e-14
    assert found.gap == pytest.approx(2.0, abs=1e-12)
    assert chern_number(qwz(mass), (24, 24), [1]).value == -expected
    assert map_degree(lambda k: qwz_vector(k, mass), 2).value == -expected


@pytest.mark.parametrize(("mass", "expected"), [(0.0, 1), (0.5, 1), (0.53, 0), (1.0, 0)])
def test_haldane_around_its_transition_at_0_5196(mass, expected):
    found = chern_number(haldane(mass))
    assert abs(found.value) == expected
    assert found.defect < 1e-14
    assert chern_number(haldane(mass, phase=-math.pi / 2)).value == -found.value


def test_chern_numbers_in_float32():
    found = chern_number(qwz(1.0), dtype=torch.float32)
    assert (found.value, found.flux.dtype) == (1, torch.float32)
    assert found.defect < 1e-5


def test_haldane_phase_boundary_for_another_phase():
    edge = 3 * math.sqrt(3) * 0.1 * math.sin(1.0)
    inside, outside = (abs(chern_number(haldane(m * edge, phase=1.0)).value) for m in (0.9, 1.1))
    assert (inside, outside) == (1, 0)


@pytest.mark.parametrize(("inside", "between", "expected"), [(0.5, 1.0, math.pi), (1.0, 0.5, 0.0)])
def test_ssh_zak_phase(inside, between, expected):
    assert abs(float(zak_phase(ssh(inside, between)))) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("mass", "expected"), [(-3, 1), (-1, -3), (1, 3), (3, -1), (5, 0)])
def test_second_chern_number_of_the_dirac_model(mass, expected):
    assert dirac_second_chern_number(mass) == expected
    found = map_degree(lambda k: dirac_vector(k, mass), 4, 14)
    assert (found.value, found.defect < 4e-3) == (expected, True)


def test_degrees_converge_faster_than_any_power():
    defects = [map_degree(lambda k: qwz_vector(k, 1.0), 2, n).defect for n in (8, 16, 32)]
    assert defects[0] / defects[1] > 100
    assert defects[1] / defects[2] > 10_000


def test_a_winding_number_is_a_degree():
    def twice(k):
        return torch.cat([(2 * k).cos(), (2 * k).sin()], -1)

    assert map_degree(twice, 1).value == 2


def turned_states(monkeypatch, source):
    """Make every state come in a gauge of its own."""
    plain = chern_lattice.band_states

    def turned(*arguments):
        states, gap = plain(*arguments)
        count = states.shape[-1]
        noise = torch.randn(*states.shape[:-2], count, count, 2, generator=source).double()
        unitary = torch.linalg.qr(torch.view_as_complex(noise)).Q
        return states @ unitary, gap

    return turned


def four_bands(k):
    """Two copies of qwz, of opposite strength, that mix."""
    first, second = qwz(1.0)(k), qwz(-0.7)(-k)
    matrices = torch.zeros(*k.shape[:-1], 4, 4, dtype=torch.complex128)
    matrices[..., :2, :2], matrices[..., 2:, 2:] = first, second.conj()
    matrices[..., 0, 2] = matrices[..., 2, 0] = 0.3
    return matrices


def test_nothing_depends_on_the_gauge(monkeypatch):
    loops = sys.modules[zak_phase.__module__]
    path = torch.rand(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def figures():
        return (
            chern_number(four_bands, (12, 12), 2).flux,
            berry_phase(four_bands, path, 2),
            torch.linalg.eigvals(wilson_loop(four_bands, path, 2)).angle().sort().values,
        )

    before = figures()
    turned = turned_states(monkeypatch, torch.Generator().manual_seed(1))
    monkeypatch.setattr(chern_lattice, "band_states", turned)
    monkeypatch.setattr(loops, "band_states", turned)
    for one, two in zip(before, figures(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_all_bands_together_have_no_chern_number():
    parts = [chern_number(four_bands, (24, 24), bands).value for bands in (2, [2, 3], 4)]
    assert parts[0] == -parts[1]
    assert parts[2] == 0
    assert parts[0] != 0


@pytest.mark.parametrize("mass", [-1.0, 1.0, 3.0])
def test_wilson_phases_wind_as_the_chern_number_says(mass):
    phases = wilson_spectrum(qwz(mass), (32, 32)).sum(-1)
    steps = torch.exp(1j * (phases.roll(-1) - phases)).angle()
    winding = float(steps.sum()) / (2 * math.pi)
    assert winding == pytest.approx(-chern_number(qwz(mass)).value, abs=1e-12)


def test_wilson_phases_sum_to_the_berry_phase():
    path = torch.rand(9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loop = wilson_loop(four_bands, path, 2)
    torch.testing.assert_close(loop @ loop.mH, torch.eye(2, dtype=loop.dtype))
    difference = torch.linalg.det(loop).angle() - berry_phase(four_bands, path, 2)
    assert math.remainder(float(difference), 2 * math.pi) == pytest.approx(0, abs=1e-12)


def test_berry_phase_of_a_spin_is_half_the_solid_angle():
    def field(k):
        theta, phi = k.unbind(-1)
        return two_band(
            torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1)
        )

    turns = 2 * math.pi * torch.arange(4000, dtype=torch.float64) / 4000
    path = torch.stack([torch.full_like(turns, 1.0), turns], 1)
    # The lower state; its links turn by +half of 2 pi (1 - cos theta).
    expected = math.pi * (1 - math.cos(1.0))
    assert abs(float(berry_phase(field, path))) == pytest.approx(expected, abs=1e-5)


def test_berry_phases_have_gradients_and_batches():
    paths = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mass = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: berry_phase(qwz(m), paths), mass)
    one_by_one = torch.stack([berry_phase(qwz(0.8), path) for path in paths])
    torch.testing.assert_close(berry_phase(qwz(0.8), paths), one_by_one, rtol=0, atol=1e-14)


def turning_fast(k):
    return qwz(1.0)(2 * k)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: chern_number(qwz(0.0)), "gap of .* to the other bands"),
        (lambda: chern_number(turning_fast, (6, 6)), r"grid: got \(6, 6\), with a link"),
        (lambda: chern_number(qwz(1.0), (2, 8)), r"grid: got \(2, 8\)"),
        (lambda: chern_number(lambda k: qwz(1.0)(k / 2)), "over a period of k_1"),
        (lambda: chern_number(qwz(1.0), bands=3), "bands: got 3, expected 1 to 2"),
        (lambda: chern_number(qwz(1.0), bands=[0, 0]), r"bands: got \[0, 0\]"),
        (lambda: chern_number(lambda k: qwz(1.0)(k).triu()), "not Hermitian"),
        (lambda: chern_number(lambda k: qwz(math.nan)(k)), "hamiltonian: got "),
        (lambda: chern_number(lambda k: torch.ones(2, 2)), "hamiltonian: got values of shape"),
        (lambda: berry_phase(qwz(1.0), torch.zeros(2, 2)), r"path: got shape \[2, 2\]"),
        (
            lambda: map_degree(lambda k: qwz_vector(k, 0.0), 2),
            "vector: got a zero on the grid",
        ),
        (
            lambda: map_degree(lambda k: qwz_vector(k, 0.1), 2),
            "points: got 24, at which the degree",
        ),
        (lambda: map_degree(lambda k: qwz_vector(k, 1.0), 2, 2), "points: got 2"),
        (lambda: dirac_second_chern_number(2), "mass: got 2"),
    ],
)
def test_what_has_no_integer_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
