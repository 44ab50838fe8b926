import math
from functools import cache

import numpy as np
import pytest
import torch

from adaptive_attention_tiling.mathematics.geometry.fiber_bundle import (
    Path,
    hopf_bundle,
    mobius_bundle,
    monopole_bundle,
    sphere_atlas,
    tangent_bundle,
)


@cache
def sphere_tangents():
    return tangent_bundle(sphere_atlas())


def at(theta, phi):
    """Points of S^2."""
    theta, phi = torch.broadcast_tensors(torch.as_tensor(theta), torch.as_tensor(phi))
    return torch.stack([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()], -1).double()


def latitude(theta):
    return Path(lambda t: at(torch.full_like(t, theta), 2 * math.pi * t))


def tilted(axis, radius):
    """Circles of angular radius around axes [*b, 3]."""
    axis = torch.nn.functional.normalize(axis, dim=-1)
    other = torch.tensor([0.3, -0.5, 0.8], dtype=axis.dtype)
    first = torch.nn.functional.normalize(torch.linalg.cross(axis, other.expand_as(axis)), dim=-1)
    second = torch.linalg.cross(axis, first)

    def curve(t):
        angle = 2 * math.pi * t[:, None]
        ring = angle.cos() * first[..., None, :] + angle.sin() * second[..., None, :]
        return math.cos(radius) * axis[..., None, :] + math.sin(radius) * ring

    return Path(curve)


def circle(turns=1, start=0.0):
    def curve(t):
        angle = start + 2 * math.pi * turns * t
        return torch.stack([angle.cos(), angle.sin()], -1)

    return Path(curve)


def angle_of(rotation):
    return torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])


def turn_by_solve_ivp(theta):
    """The angle by which s' = -Gamma(gamma', s) turns a vector along a circle of latitude."""
    integrate = pytest.importorskip(
        "scipy.integrate", reason="scipy, of the oracles extra, is not installed"
    )

    def slope(_, s):  # Gamma^theta_phiphi = -sin cos, Gamma^phi_thetaphi = cot
        return [math.sin(theta) * math.cos(theta) * s[1], -s[0] / math.tan(theta)]

    end = integrate.solve_ivp(slope, (0, 2 * math.pi), [1.0, 0.0], rtol=1e-12, atol=1e-14).y[:, -1]
    return math.atan2(math.sin(theta) * end[1], end[0]) % (2 * math.pi)


@pytest.mark.parametrize(
    ("theta", "expected"),
    [(math.pi / 3, 3.14159265359), (1.0, 2.88836579751)],
    ids=["B1 S2 latitude 1.0472 (pi/3)", "B1 S2 latitude 1"],
)
def test_golden_holonomy_of_circles_of_latitude(theta, expected):
    found = sphere_tangents().holonomy(latitude(theta), steps=4)
    # 2 pi is added by the frame of the chart, which does not turn; the golden value is mod 2 pi.
    turned = float(angle_of(found)) % (2 * math.pi)
    assert turned == pytest.approx(expected, abs=1e-11)
    assert turned == pytest.approx(2 * math.pi * (1 - math.cos(theta)), abs=1e-13)
    # solve_ivp turns with the frame d_theta, d_phi, which itself turns once the other way round.
    assert turn_by_solve_ivp(theta) == pytest.approx(turned, abs=1e-10)


@pytest.mark.parametrize(
    ("side", "expected"),
    [(0.2, 0.0355889102783), (0.05, 0.00213656289882)],
    ids=["B8 square loop 0.2", "B8 square loop 0.05"],
)
def test_golden_holonomy_of_small_squares_is_their_area(side, expected):
    corners = [(1, 0), (1 + side, 0), (1 + side, side), (1, side), (1, 0)]
    theta, phi = torch.tensor(corners, dtype=torch.float64).unbind(-1)

    def curve(t):
        piece = (4 * t.detach()).long().clamp(max=3)
        share = 4 * t - piece
        line = [c[piece] + share * (c[piece + 1] - c[piece]) for c in (theta, phi)]
        return at(*line)

    found = sphere_tangents().holonomy(Path(curve, pieces=4), steps=8)
    area = side * (math.cos(1) - math.cos(1 + side))
    assert area == pytest.approx(expected, rel=1e-11)
    assert float(angle_of(found)) == pytest.approx(area, abs=1e-16)


@pytest.mark.parametrize("charge", [-2, 0, 1, 3])
def test_holonomy_of_a_monopole_is_its_flux(charge):
    bundle = monopole_bundle(charge)
    radii = [0.4, 2.5]  # around axes of both halves, through both charts
    axes = torch.tensor([[0.0, 0.6, 0.8], [1.0, 0.1, -0.9], [0.2, 0.0, 1.0]], dtype=torch.float64)
    for radius in radii:
        found = bundle.holonomy(tilted(axes, radius), steps=64)[..., 0, 0]
        flux = math.pi * charge * (1 - math.cos(radius))
        expected = torch.polar(torch.ones(3, dtype=torch.float64), torch.full((3,), flux).double())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_holonomy_of_a_square_in_a_chart_is_the_area_on_the_sphere():
    """With area elements 4 / (1 + u^2)^2, by Gauss quadrature."""
    bundle = sphere_tangents()
    corners = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]], dtype=torch.float64) / 2
    for name in ("north", "south"):
        loop = Path.through(0.6 * corners + 0.2, bundle.atlas.chart(name))
        found = bundle.holonomy(loop, name, steps=24)
        nodes, weights = (torch.as_tensor(row) for row in np.polynomial.legendre.leggauss(12))
        u = 0.3 * nodes + 0.2
        density = 4 / (1 + u.square() + u[:, None].square()).square()
        area = 0.09 * float(weights @ density @ weights)
        assert float(angle_of(found)) == pytest.approx(area, abs=1e-8)


def test_the_mobius_band_turns_over_once_around():
    bundle = mobius_bundle()
    assert bundle.holonomy(circle()).tolist() == [[-1.0]]
    assert bundle.holonomy(circle(2)).tolist() == [[1.0]]
    assert bundle.holonomy(circle(start=2.0), "west").tolist() == [[-1.0]]
    assert bundle.is_flat()


def test_examples_keep_float32():
    ring = Path(lambda t: at(torch.full_like(t, 1.0), 2 * math.pi * t).float(), dtype=torch.float32)
    expected = torch.polar(torch.tensor(1.0), torch.tensor(math.pi * (1 - math.cos(1))))
    for bundle, value in (
        (monopole_bundle(1, torch.float32), expected),
        (hopf_bundle(torch.float32), expected.conj()),
    ):
        found = bundle.holonomy(ring)
        assert found.dtype == torch.complex64
        torch.testing.assert_close(found[0, 0], value.resolve_conj())
    assert mobius_bundle(torch.float32).curvature(torch.tensor([1.0, 0])).dtype == torch.float32
