"""Characteristic numbers of listed manifolds, exact, and the laws of bundles and of surfaces."""

import math
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology import SimplicialComplex
from adaptive_attention_tiling.mathematics.topology.characteristic_classes import (
    ComplexBundle,
    RationalRing,
    angle_defects,
    complete_intersection,
    euler_number,
    from_chern_character,
    k3_surface,
    line_bundle,
    product,
    projective_space,
    quaternionic_projective_space,
    sphere,
)


def test_plane_cp2():
    plane = projective_space(2)
    assert str(plane.tangent.chern) == "1 + 3 x + 3 x^2"
    assert (plane.chern_number(1, 1), plane.chern_number(2)) == (9, 3)
    assert plane.euler_number() == 3
    assert plane.pontryagin_number(1) == 9 - 2 * 3 == 3
    assert plane.signature() == Fraction(plane.pontryagin_number(1), 3) == 1
    assert plane.todd_genus() == Fraction(9 + 3, 12) == 1
    assert plane.a_hat_genus() == Fraction(-1, 8)


def test_space_cp3():
    space = projective_space(3)
    assert [str(space.tangent.chern_class(k)) for k in (1, 2, 3)] == ["4 x", "6 x^2", "4 x^3"]
    assert space.chern_number(3) == space.euler_number() == 4


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_even_spheres(n):
    ball = sphere(2 * n)
    assert (ball.euler_number(), ball.signature(), ball.a_hat_genus()) == (2, 0, 0)
    assert ball.dimension == 2 * n


@pytest.mark.parametrize("n", range(1, 8))
def test_projective_spaces(n):
    space = projective_space(n)
    assert space.euler_number() == n + 1
    assert space.signature() == (n + 1) % 2
    assert space.todd_genus() == 1
    # chi(O(d)) counts the polynomials of degree d; below, by Serre's duality.
    for d in range(-n - 3, 5):
        sections = math.comb(n + d, n) if d >= 0 else (-1) ** n * math.comb(-d - 1, n)
        bundle = line_bundle(d * space.ring.generator())
        assert space.holomorphic_euler_characteristic(bundle) == sections


@pytest.mark.parametrize("n", range(1, 5))
def test_quaternionic_projective_spaces(n):
    space = quaternionic_projective_space(n)
    assert space.euler_number() == n + 1
    assert space.signature() == (n + 1) % 2
    assert space.a_hat_genus() == 0


@pytest.mark.parametrize(
    ("n", "degrees", "euler", "signature", "todd"),
    [
        (2, [3], 0, 0, 0),  # an elliptic curve
        (2, [4], -4, 0, -2),  # of genus 3
        (3, [2], 4, 0, 1),  # CP^1 x CP^1
        (3, [3], 9, -5, 1),  # CP^2 blown up in six points
        (3, [4], 24, -16, 2),  # K3
        (5, [2, 2, 2], 24, -16, 2),  # K3
        (3, [5], 55, -35, 5),
        (4, [5], -200, 0, 0),  # the quintic
        (5, [3, 3], -144, 0, 0),
        (5, [2], 6, 2, 1),  # the quadric of four dimensions, Gr(2, 4)
    ],
)
def test_complete_intersections(n, degrees, euler, signature, todd):
    variety = complete_intersection(n, degrees)
    assert variety.euler_number() == euler
    if variety.dimension % 4 == 0:
        assert variety.signature() == signature
    assert variety.todd_genus() == todd


def test_k3_surface():
    surface = k3_surface()
    assert (surface.chern_number(1, 1), surface.pontryagin_number(1)) == (0, -48)
    assert (surface.euler_number(), surface.signature()) == (24, -16)
    assert (surface.a_hat_genus(), surface.todd_genus()) == (2, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (projective_space(2), projective_space(2)),
        (projective_space(1), k3_surface()),
        (sphere(4), projective_space(2)),
        (quaternionic_projective_space(2), sphere(2)),
        (k3_surface(), k3_surface()),
    ],
)
def test_numbers_of_products_multiply(one, other):
    both = product(one, other)
    for number in ("euler_number", "signature", "a_hat_genus"):
        assert getattr(both, number)() == getattr(one, number)() * getattr(other, number)()
    if isinstance(both.tangent, ComplexBundle):
        assert both.todd_genus() == one.todd_genus() * other.todd_genus()


def test_genera_of_low_degrees():
    """The textbook polynomials, in a ring without relations up to degree 8."""
    ring = RationalRing(("x", "y"), (2, 2), (4, 4))
    x, y = ring.generator(0), ring.generator(1)
    bundle = line_bundle(x) + line_bundle(y) + line_bundle(2 * x - y)
    c1, c2, c3 = (bundle.chern_class(k) for k in (1, 2, 3))
    todd = bundle.todd()
    assert todd.part(2) == c1 * Fraction(1, 2)
    assert todd.part(4) == (c1**2 + c2) * Fraction(1, 12)
    assert todd.part(6) == c1 * c2 * Fraction(1, 24)
    quartic = -(c1**4) + 4 * c1**2 * c2 + 3 * c2**2 + c1 * c3
    assert todd.part(8) == quartic * Fraction(1, 720)
    real = bundle.real()
    p1, p2 = real.pontryagin_class(1), real.pontryagin_class(2)
    assert p1 == c1**2 - 2 * c2
    assert p2 == c2**2 - 2 * c1 * c3
    assert real.l_genus().part(4) == p1 * Fraction(1, 3)
    assert real.l_genus().part(8) == (7 * p2 - p1**2) * Fraction(1, 45)
    assert real.a_hat().part(4) == p1 * Fraction(-1, 24)
    assert real.a_hat().part(8) == (7 * p1**2 - 4 * p2) * Fraction(1, 5760)
    # td = e^(c_1 / 2) A-hat
    assert todd == (c1 * Fraction(1, 2)).exp() * real.a_hat()


def test_laws_of_sums_and_products_of_bundles():
    ring = RationalRing(("x", "y"), (2, 2), (3, 2))
    x, y = ring.generator(0), ring.generator(1)
    one, other = line_bundle(x) + line_bundle(3 * y), line_bundle(x - y) + line_bundle(2 * x)
    both = one + other
    assert both.chern == one.chern * other.chern
    assert both.chern_character() == one.chern_character() + other.chern_character()
    assert both.todd() == one.todd() * other.todd()
    assert both.real().a_hat() == one.real().a_hat() * other.real().a_hat()
    assert (one * other).chern_character() == one.chern_character() * other.chern_character()
    assert (one * line_bundle(y)).chern == (1 + x + y) * (1 + 4 * y)
    assert from_chern_character(both.chern_character()) == both
    assert one.dual().chern == (1 - x) * (1 - 3 * y)
    assert one.euler() == 3 * x * y
    assert (one.real() + other.real()) == both.real()


def test_euler_sequence_of_cp3():
    """T + O = 4 O(1), so that both have one Chern character."""
    space = projective_space(3)
    hyperplane = line_bundle(space.ring.generator())
    four = hyperplane + hyperplane + hyperplane + hyperplane
    trivial = line_bundle(space.ring.constant(0))
    assert (space.tangent + trivial) == four


def test_classes_of_a_manifold_together():
    classes = k3_surface().characteristic_classes()
    assert str(classes.todd) == "1 + 1/2 x^2"
    assert classes.a_hat == classes.todd
    assert str(classes.pontryagin) == "1 + -12 x^2"
    assert sphere(4).characteristic_classes().chern is None


def test_exp_log_and_inverse_are_inverse():
    ring = RationalRing(("x", "y"), (2, 4), (5, 3))
    value = 1 + 2 * ring.generator(0) - ring.generator(1) * Fraction(1, 3)
    assert value.log().exp() == value
    assert value * value.inverse() == ring.constant(1)
    assert value**-2 * value**2 == ring.constant(1)
    assert str(ring.constant(0)) == "0"


OCTAHEDRON = (
    [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]],
    [[a, b, c] for a in (0, 1) for b in (2, 3) for c in (4, 5)],
)


def grid_surface(rows, columns, *, closed):
    """A torus if closed, else an annulus."""
    number = torch.arange(rows * columns).view(rows, columns)
    right, down = number.roll(-1, 1), number.roll(-1, 0)
    corner = down.roll(-1, 1)
    faces = torch.stack([number, right, corner, number, corner, down], -1)
    faces = faces if closed else faces[:-1]
    u = 2 * math.pi * torch.arange(rows).double()[:, None] / rows
    v = 2 * math.pi * torch.arange(columns).double() / columns
    r = 2 + u.cos()
    points = torch.stack([r * v.cos(), r * v.sin(), u.sin().expand(rows, columns)], -1)
    return points.reshape(-1, 3), faces.reshape(-1, 3)


def surfaces():
    points, faces = (torch.tensor(x) for x in OCTAHEDRON)
    disc = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, -1, 0]]).double()
    return {
        "sphere": (points.double(), faces, 2),
        "torus": (*grid_surface(5, 6, closed=True), 0),
        "annulus": (*grid_surface(4, 6, closed=False), 0),
        "disc": (disc, torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1]]), 1),
        "two triangles apart": (
            torch.tensor([[0.0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 7]]).double(),
            torch.tensor([[0, 1, 2], [3, 4, 5]]),
            2,
        ),
    }


@pytest.mark.parametrize("name", surfaces())
def test_angle_defects_sum_to_the_euler_number(name):
    points, faces, expected = surfaces()[name]
    noise = torch.Generator().manual_seed(0)
    moved = points + 0.1 * torch.randn(3, *points.shape, generator=noise, dtype=torch.float64)
    moved.requires_grad_()
    found = euler_number(moved, faces)
    torch.testing.assert_close(
        found.detach(), torch.full((3,), expected, dtype=torch.float64), rtol=0, atol=1e-13
    )
    assert SimplicialComplex(faces.tolist()).euler_characteristic() == expected
    (gradient,) = torch.autograd.grad(found.sum(), moved)
    assert gradient.abs().max() < 1e-12
    one = torch.stack([angle_defects(m, faces) for m in moved])
    torch.testing.assert_close(angle_defects(moved, faces), one, rtol=0, atol=1e-14)


def test_angle_defects_of_an_octahedron():
    points, faces, _ = surfaces()["sphere"]
    expected = torch.full((6,), 2 * math.pi / 3, dtype=torch.float64)
    torch.testing.assert_close(angle_defects(points, faces), expected, rtol=0, atol=1e-14)
    single = angle_defects(points.float(), faces)
    torch.testing.assert_close(single, expected.float(), rtol=0, atol=1e-5)
    moved = (points + 0.05 * torch.arange(18).double().view(6, 3).sin()).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: angle_defects(p, faces), moved)
    assert torch.autograd.gradgradcheck(lambda p: angle_defects(p, faces), moved)


X = RationalRing(("x",), (2,), (2,)).generator()
FLAT = torch.tensor([[0.0, 0], [1, 0], [2, 0]])
TRIANGLE = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RationalRing(("x",), (1,), (2,)), "even degrees"),
        (lambda: RationalRing(("x",), (2, 2), (2,)), "as many as degrees"),
        (lambda: X + RationalRing(("y",), (2,), (2,)).generator(), "pull both back"),
        (lambda: X.inverse(), "constant that is not 0"),
        (lambda: X.log(), "constant 0, expected 1"),
        (lambda: (1 + X).exp(), "constant 1, expected 0"),
        (lambda: ComplexBundle(1, 1 + X + X**2), r"chern: .*at most 2"),
        (lambda: ComplexBundle(1, X), "chern: got x"),
        (lambda: from_chern_character(X - 1), "rank -1"),
        (lambda: sphere(3), "n: got 3"),
        (lambda: sphere(4).todd_genus(), "expected a complex manifold"),
        (lambda: complete_intersection(2, [2, 2]), r"n - len\(degrees\): got 0"),
        (lambda: complete_intersection(3, [0]), "degrees: got 0"),
        (lambda: quaternionic_projective_space(0), "n: got 0"),
        (
            lambda: projective_space(1).holomorphic_euler_characteristic(
                line_bundle(projective_space(1).ring.generator() * Fraction(1, 2))
            ),
            "integral of 3/2, expected an integer",
        ),
        (lambda: angle_defects(FLAT, TRIANGLE), "without area"),
        (lambda: angle_defects(FLAT * math.nan, TRIANGLE), "without area, or NaN"),
        (lambda: angle_defects(FLAT, torch.tensor([[0, 1, 3]])), "vertices 0 to 3"),
        (lambda: angle_defects(FLAT, torch.tensor([[0, 1, -1]])), "vertices -1 to 1"),
        (lambda: angle_defects(torch.rand(4, 2), TRIANGLE), "expected all of 0 to 3"),
        (lambda: angle_defects(FLAT, torch.tensor([[0, 1, 1], [0, 1, 2]])), "twice in one"),
        (
            lambda: angle_defects(
                torch.rand(5, 3), torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])
            ),
            "an edge of 3 triangles",
        ),
        (
            lambda: angle_defects(torch.rand(5, 3), torch.tensor([[0, 1, 2], [0, 3, 4]])),
            "boundary meets itself",
        ),
        (lambda: angle_defects(FLAT, torch.zeros(0, 3, dtype=torch.int64)), r"faces: .*\[0, 3\]"),
        (lambda: angle_defects(FLAT.long(), TRIANGLE), "vertices: got torch.int64"),
    ],
)
def test_what_has_no_class_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
