import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology import triangulations
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.cup_product import cup_product
from adaptive_attention_tiling.mathematics.topology.homology import Cohomology
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex
from adaptive_attention_tiling.mathematics.topology.triangulated_manifold import (
    TriangulatedManifold,
)

# name: triangulation, w_k = 0?, numbers {degrees: value}, orientable
MANIFOLDS = {
    "S1": (triangulations.sphere(1), [True], {(1,): 0}, True),
    "S2": (triangulations.sphere(2), [True, True], {(1, 1): 0, (2,): 0}, True),
    "S4": (triangulations.sphere(4), [True] * 4, {(4,): 0, (2, 2): 0}, True),
    "torus": (triangulations.torus(), [True, True], {(1, 1): 0, (2,): 0}, True),
    "RP2": (triangulations.projective_plane(), [False, False], {(1, 1): 1, (2,): 1}, False),
    "Klein": (triangulations.klein_bottle(), [False, True], {(1, 1): 0, (2,): 0}, False),
    "CP2": (
        triangulations.complex_projective_plane(),
        [True, False, True, False],
        {(2, 2): 1, (4,): 1, (1, 1, 2): 0, (1, 3): 0},
        True,
    ),
    "RP3": (triangulations.lens_space(2, 1), [True] * 3, {(1, 2): 0, (3,): 0}, True),
}


@pytest.mark.parametrize(
    ("complex_", "zeros", "numbers", "orientable"), MANIFOLDS.values(), ids=MANIFOLDS
)
def test_golden_stiefel_whitney_classes(complex_, zeros, numbers, orientable):
    manifold = TriangulatedManifold(complex_)
    degrees = range(1, manifold.dimension + 1)
    assert [manifold.stiefel_whitney_is_zero(k) for k in degrees] == zeros
    for degrees, value in numbers.items():
        assert manifold.stiefel_whitney_number(degrees) == value
    assert manifold.is_orientable == orientable == manifold.stiefel_whitney_is_zero(1)
    assert manifold.stiefel_whitney_number([manifold.dimension]) == manifold.euler_number % 2
    assert bool((manifold.stiefel_whitney_class(0) == 1).all())


def test_golden_signature_and_pontryagin_number():
    plane = TriangulatedManifold(MANIFOLDS["CP2"][0])
    form = plane.intersection_form()
    assert form in ([[1]], [[-1]])
    assert plane.signature() == form[0][0]
    assert plane.pontryagin_number() == 3 * form[0][0]
    assert TriangulatedManifold(MANIFOLDS["S4"][0]).signature() == 0
    torus = TriangulatedManifold(MANIFOLDS["torus"][0])
    assert torus.signature() == 0
    form = torch.tensor(torus.intersection_form())
    assert torch.equal(form, -form.t())
    assert abs(round(float(torch.linalg.det(form.double())))) == 1


@pytest.mark.parametrize(("twist", "values"), [(1, {1, 4}), (2, {2, 3})])
def test_golden_linking_tells_lens_spaces_apart(twist, values):
    """(a cup beta a)[M] modulo 5 is +-1 times a square for L(5, 1), not so for L(5, 2)."""
    complex_ = triangulations.lens_space(5, twist)
    (cocycle,) = Cohomology(ChainComplex.of(complex_), 5).generators(1)
    bockstein = cocycle @ complex_.boundary(2).to_dense() // 5
    cycle = TriangulatedManifold(complex_).fundamental_class()
    linking = cup_product(complex_, cocycle, 1, bockstein, 2) @ cycle
    assert int(linking) % 5 in values


def test_the_fundamental_class_is_a_cycle_of_signs():
    complex_ = MANIFOLDS["torus"][0]
    cycle = TriangulatedManifold(complex_).fundamental_class()
    assert cycle.abs().unique().tolist() == [1]
    assert not (complex_.boundary(2).to_dense() @ cycle).any()


SPHERE = triangulations.sphere(2).facets()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TriangulatedManifold(SimplicialComplex([[0, 1, 2]])), r"got \[0, 1\] in 1 facets"),
        (lambda: TriangulatedManifold(SimplicialComplex([*SPHERE, (0, 1, 9)])), "in 3 facets"),
        (lambda: TriangulatedManifold(SimplicialComplex([*SPHERE, (0, 9)])), "several dimensions"),
        (
            lambda: TriangulatedManifold(
                SimplicialComplex([*SPHERE, *([v + 9 for v in f] for f in SPHERE)])
            ),
            "several connected parts",
        ),
        (
            # Two spheres that share a vertex: every edge in two triangles, but no manifold.
            lambda: TriangulatedManifold(
                SimplicialComplex([*SPHERE, *([v + 9 if v else 0 for v in f] for f in SPHERE)])
            ).stiefel_whitney_class(2),
            "no Poincaré duality",
        ),
        (lambda: TriangulatedManifold(MANIFOLDS["RP2"][0]).fundamental_class(), "not orientable"),
        (lambda: TriangulatedManifold(MANIFOLDS["S1"][0]).intersection_form(), "dimension 1"),
        (lambda: TriangulatedManifold(MANIFOLDS["S2"][0]).pontryagin_number(), "dimension 4"),
        (
            lambda: TriangulatedManifold(MANIFOLDS["S2"][0]).stiefel_whitney_class(3),
            "degree: got 3",
        ),
        (lambda: TriangulatedManifold(MANIFOLDS["S2"][0]).wu_class(3), "degree: got 3"),
        (lambda: TriangulatedManifold(MANIFOLDS["S2"][0]).stiefel_whitney_number([1]), "sum 2"),
    ],
)
def test_what_is_no_closed_manifold_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
