import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology import projective_space, triangulations
from adaptive_attention_tiling.mathematics.topology.cohomology_structure import (
    CohomologyStructure,
    DiscreteForm,
)
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex

TORUS = triangulations.torus()


def random(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_derivatives_are_transposed_boundaries(degree):
    structure = CohomologyStructure(TORUS)
    forms = structure.differential_forms(degree)
    assert forms.dimension == TORUS.count(degree)
    form = forms.form(random(degree, 3, forms.dimension))
    once = structure.exterior_derivative(form)
    expected = form.values @ TORUS.boundary(degree + 1).to_dense().double()
    torch.testing.assert_close(once.values, expected)
    assert once.degree == degree + 1
    whole = forms.form(torch.arange(forms.dimension))
    twice = structure.exterior_derivative(structure.exterior_derivative(whole))
    assert not twice.values.any()


def test_products_of_classes_of_the_torus():
    structure = CohomologyStructure(TORUS)
    a, b = structure.cohomology_classes(1)
    assert (a.coordinates, b.coordinates) == ((1, 0), (0, 1))
    ab, ba = structure.cup_product(a, b), structure.cup_product(b, a)
    assert ab.coordinates in ((1,), (-1,))
    assert ba.coordinates[0] == -ab.coordinates[0]
    assert structure.cup_product(a, a).is_zero
    one = structure.cohomology_classes(0)[0]
    assert structure.cup_product(one, a).coordinates == a.coordinates
    for each in (a, b):
        harmonic = structure.harmonic_form(each)
        parts = structure.decompose(DiscreteForm(1, harmonic))
        torch.testing.assert_close(parts.harmonic, harmonic)
        difference = structure.decompose(DiscreteForm(1, harmonic - each.representative))
        assert difference.harmonic.abs().max() < 1e-12


def test_orders_of_classes():
    lens = CohomologyStructure(triangulations.lens_space(3, 1))
    (torsion,) = lens.cohomology_classes(2)
    assert torsion.order == 3
    assert lens.class_of(DiscreteForm(2, 3 * torsion.representative)).is_zero
    assert lens.class_of(DiscreteForm(2, 2.0 * torsion.representative)).coordinates == (2,)
    assert lens.class_of(DiscreteForm(2, 0 * torsion.representative)).order == 1
    assert [c.order for c in CohomologyStructure(TORUS).cohomology_classes(1)] == [0, 0]
    assert [c.order for c in CohomologyStructure(TORUS, 5).cohomology_classes(1)] == [5, 5]


def test_golden_characteristic_classes():
    plane = CohomologyStructure(triangulations.projective_plane()).characteristic_classes()
    assert (plane.euler_number, plane.is_orientable, plane.signature) == (1, False, None)
    assert [c.coordinates for c in plane.stiefel_whitney] == [(1,), (1,), (1,)]
    torus = CohomologyStructure(TORUS).characteristic_classes()
    assert (torus.euler_number, torus.is_orientable, torus.pontryagin_number) == (0, True, None)
    assert [c.is_zero for c in torus.stiefel_whitney] == [False, True, True]


def test_pair_the_complex_projective_plane_and_its_ring():
    """Triangulated and as Z[x] / x^3; the triangulation may carry the other orientation."""
    found = CohomologyStructure(triangulations.complex_projective_plane()).characteristic_classes()
    expected = projective_space(2)
    assert found.euler_number == expected.euler_number()
    sign = found.signature * expected.signature()
    assert sign in (1, -1)
    assert found.pontryagin_number == sign * expected.pontryagin_number(1)
    modulo_two = [found.stiefel_whitney[k].coordinates for k in (2, 4)]
    assert modulo_two == [(expected.chern_number(1, 1) % 2,), (expected.chern_number(2) % 2,)]


def test_gradients_reach_forms():
    structure = CohomologyStructure(TORUS)
    values = random(3, 21).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: structure.exterior_derivative(DiscreteForm(1, v)).values, values
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CohomologyStructure(TORUS, 6), "got 6 = 2 [*] 3"),
        (lambda: CohomologyStructure(TORUS).differential_forms(1).form(torch.ones(3)), r"\[3\]"),
        (
            lambda: CohomologyStructure(TORUS).class_of(DiscreteForm(1, torch.full((21,), 0.5))),
            "fractional values",
        ),
        (
            lambda: CohomologyStructure(TORUS).class_of(DiscreteForm(1, torch.arange(21))),
            "boundary 0 over Z",
        ),
        (
            lambda: CohomologyStructure(TORUS, 2).harmonic_form(
                CohomologyStructure(TORUS, 2).cohomology_classes(1)[0]
            ),
            "ring: got 2",
        ),
        (
            lambda: CohomologyStructure(SimplicialComplex([[0, 1, 2]])).characteristic_classes(),
            "in 1 facets",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
