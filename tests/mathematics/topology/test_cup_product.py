from itertools import product

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology import finite_field, triangulations
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.cup_product import (
    CohomologyRing,
    cup_i_product,
    cup_product,
    steenrod_square,
)
from adaptive_attention_tiling.mathematics.topology.homology import Cohomology
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex
from adaptive_attention_tiling.mathematics.topology.simplicial_map import SimplicialMap

TORUS, PLANE, BOTTLE = (
    triangulations.torus(),
    triangulations.projective_plane(),
    triangulations.klein_bottle(),
)
CP2, LENS = triangulations.complex_projective_plane(), triangulations.lens_space(3, 1)


def cochains(complex_, degree, seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-5, 6, (count, complex_.count(degree)), generator=generator)


def coboundary(complex_, degree, cochain):
    return cochain @ complex_.boundary(degree + 1).to_dense()


def equivalent_forms(form, prime):
    """The matrices B F B^T over all changes of a basis of two."""
    form = torch.tensor(form)
    for entries in product(range(prime), repeat=len(form) ** 2):
        change = torch.tensor(entries).reshape(form.shape)
        if int(finite_field.rank(change, prime)) == len(form):
            yield (change @ form @ change.t() % prime).tolist()


FORMS = {
    "B2 torus": (TORUS, [[0, 1], [1, 0]], 2, True),
    "B2 Klein": (BOTTLE, [[0, 1], [1, 1]], 2, False),
    "B2 RP2": (PLANE, [[1]], 1, False),
}


@pytest.mark.parametrize(("complex_", "expected", "size", "alternating"), FORMS.values(), ids=FORMS)
def test_golden_cup_forms_over_two_elements(complex_, expected, size, alternating):
    form = CohomologyRing(complex_, 2).cup_form(1)
    assert expected in list(equivalent_forms(form, 2))
    assert int(finite_field.rank(torch.tensor(form), 2)) == size
    assert all(form[i][i] == 0 for i in range(size)) == alternating


def test_golden_torus_over_three_elements():
    """B2 torus F3: a cup b is not trivial, a cup a is."""
    form = CohomologyRing(TORUS, 3).cup_form(1)
    assert form[0][1] != 0
    assert (form[0][1] + form[1][0]) % 3 == 0
    assert form[0][0] == form[1][1] == 0


@pytest.mark.parametrize("ring", ["Z", "Q"])
def test_golden_integral_rings(ring):
    form = CohomologyRing(TORUS, ring).cup_form(1)
    assert form[0][0] == form[1][1] == 0
    assert form[0][1] == -form[1][0] in (1, -1)
    assert abs(CohomologyRing(CP2, ring).cup_form(2)[0][0]) == 1
    # In S^2 v S^2 v S^4, with the same groups but one, no product is left.
    wedge = [[0, *f] for f in ([1, 2], [1, 3], [2, 3], [4, 5], [4, 6], [5, 6])]
    wedge += [[1, 2, 3], [4, 5, 6]]
    five = [0, 7, 8, 9, 10, 11]
    wedge += [[v for v in five if v != left] for left in five]
    ring_of_wedge = CohomologyRing(SimplicialComplex(wedge), ring)
    assert [ring_of_wedge.cohomology.betti_number(k) for k in range(5)] == [1, 0, 2, 0, 1]
    assert ring_of_wedge.cup_form(2) == [[0, 0], [0, 0]]


def test_torsion_linking_in_a_lens_space():
    """Over F_3 H^1 x H^2 -> H^3 of L(3, 1) is not zero, and a cup a = 0 in odd degree."""
    ring = CohomologyRing(LENS, 3)
    assert ring.structure_constants(1, 2)[0][0][0] != 0
    assert ring.structure_constants(1, 1) == [[[0]]]


@pytest.mark.parametrize("degrees", [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (0, 3)])
def test_law_leibniz_and_associativity_on_cochains(degrees):
    p, q = degrees
    a, b, c = cochains(CP2, p, 1), cochains(CP2, q, 2), cochains(CP2, 1, 3)
    left = coboundary(CP2, p + q, cup_product(CP2, a, p, b, q))
    first = cup_product(CP2, coboundary(CP2, p, a), p + 1, b, q)
    second = cup_product(CP2, a, p, coboundary(CP2, q, b), q + 1)
    assert torch.equal(left, first + (-1) ** p * second)
    assert left.any() or p + q == 4
    once = cup_product(CP2, cup_product(CP2, a, p, b, q), p + q, c, 1)
    assert torch.equal(once, cup_product(CP2, a, p, cup_product(CP2, b, q, c, 1), q + 1))


@pytest.mark.parametrize(
    ("complex_", "ring", "p", "q"),
    [(TORUS, "Z", 1, 1), (BOTTLE, 2, 1, 1), (BOTTLE, 3, 1, 1), (CP2, "Z", 2, 2), (LENS, 3, 1, 2)],
)
def test_law_graded_commutative_up_to_coboundary(complex_, ring, p, q):
    cohomology = Cohomology(ChainComplex.of(complex_), ring)
    for a in cohomology.generators(p):
        for b in cohomology.generators(q):
            forth = cup_product(complex_, a, p, b, q)
            back = cup_product(complex_, b, q, a, p)
            assert cohomology.primitive(p + q, forth - (-1) ** (p * q) * back) is not None


@pytest.mark.parametrize("index", [0, 1, 2, 3])
@pytest.mark.parametrize("degrees", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2)])
def test_law_coboundary_of_cup_i(degrees, index):
    p, q = degrees
    a, b = cochains(CP2, p, 4), cochains(CP2, q, 5)
    if p + q - index < 0:
        return
    left = coboundary(CP2, p + q - index, cup_i_product(CP2, a, p, b, q, index)) % 2
    right = cup_i_product(CP2, coboundary(CP2, p, a), p + 1, b, q, index)
    right = right + cup_i_product(CP2, a, p, coboundary(CP2, q, b), q + 1, index)
    if index:
        right = right + cup_i_product(CP2, a, p, b, q, index - 1)
        right = right + cup_i_product(CP2, b, q, a, p, index - 1)
    assert torch.equal(left, right % 2)
    if index == 0:
        plain = cup_product(CP2, a, p, b, q) % 2
        assert torch.equal(cup_i_product(CP2, a, p, b, q, 0), plain)


@pytest.mark.parametrize("complex_", [PLANE, BOTTLE, triangulations.lens_space(2, 1)])
def test_law_squares_are_identity_bockstein_and_square(complex_):
    cohomology = Cohomology(ChainComplex.of(complex_), 2)
    found = set()
    for degree in (1, 2)[: complex_.dimension - 1]:
        for cocycle in cohomology.generators(degree):
            bockstein = coboundary(complex_, degree, cocycle) // 2
            square = steenrod_square(complex_, cocycle, degree, 1)
            assert cohomology.coordinates(degree + 1, square) == cohomology.coordinates(
                degree + 1, bockstein
            )
            found.update(cohomology.coordinates(degree + 1, square))
            same = steenrod_square(complex_, cocycle, degree, 0)
            assert cohomology.coordinates(degree, same) == cohomology.coordinates(degree, cocycle)
            assert not steenrod_square(complex_, cocycle, degree, degree + 1).any()
    assert 1 in found


def test_law_naturality():
    """A degree-two cover of the Klein bottle by a torus, and a change of vertex names."""
    renamed = {v: (3 * v + 2) % 7 for v in range(7)}
    target = SimplicialComplex([[renamed[v] for v in facet] for facet in TORUS.facets()])
    length, width = 4, 4
    names = {
        (i, j): i % 4 * width + (j if i < 4 else -j) % width for i in range(8) for j in range(4)
    }
    cover = triangulations.klein_bottle(4, 4)
    squares = [(i, j) for i in range(2 * length) for j in range(width)]

    def vertex(i, j):
        return i % 8 * width + j % width

    flat = []
    for i, j in squares:
        near, far = (i, j), (i + 1, j + 1)
        if i >= 4:
            near, far = (i, j + 1), (i + 1, j)
        flat += [
            (vertex(*near), vertex(i + 1, near[1]), vertex(*far)),
            (vertex(*near), vertex(i, far[1]), vertex(*far)),
        ]
    sheet = SimplicialComplex(flat)
    vertices = {vertex(i, j): names[i, j] for i, j in squares}
    maps = [
        (SimplicialMap(TORUS, target, renamed), 2, 1),
        (SimplicialMap(sheet, cover, vertices), 3, 1),
        (SimplicialMap(sheet, cover, vertices), 2, 1),
    ]
    for map_, ring, degree in maps:
        for k in (1, 2):
            left = map_.target.boundary(k).to_dense() @ map_.matrix(k).to_dense()
            right = map_.matrix(k - 1).to_dense() @ map_.source.boundary(k).to_dense()
            assert torch.equal(left, right)
        above = Cohomology(ChainComplex.of(map_.source), ring)
        below = Cohomology(ChainComplex.of(map_.target), ring)
        for a in below.generators(degree):
            for b in below.generators(degree):
                product_ = cup_product(map_.target, a, degree, b, degree)
                pulled = [map_.pullback(x, degree) for x in (a, b)]
                assert above.coordinates(2, map_.pullback(product_, 2)) == above.coordinates(
                    2, cup_product(map_.source, pulled[0], degree, pulled[1], degree)
                )


def test_gradients_and_batches():
    a, b = cochains(TORUS, 1, 6).double(), cochains(TORUS, 1, 7).double()
    assert torch.autograd.gradcheck(
        lambda x, y: cup_product(TORUS, x, 1, y, 1), (a.requires_grad_(), b.requires_grad_())
    )
    whole = cup_product(TORUS, a, 1, b, 1)
    for i in range(len(a)):
        assert torch.equal(whole[i], cup_product(TORUS, a[i], 1, b[i], 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: cup_product(TORUS, torch.ones(3), 1, torch.ones(21), 1),
            r"first: got shape \[3\]",
        ),
        (lambda: cup_product(TORUS, torch.ones(21), 1, torch.ones(3), 1), r"second: got shape"),
        (lambda: cup_i_product(TORUS, torch.ones(21), 1, torch.ones(21), 1, -1), "index: got -1"),
        (lambda: CohomologyRing(TORUS, 2).cup_form(2), r"expected one generator of H\^4"),
        (lambda: SimplicialMap(TORUS, TORUS, {0: 0}), "no image of 1"),
        (lambda: SimplicialMap(TORUS, PLANE, {v: v for v in range(7)}), r"got \[0, 2, 6\]"),
        (
            lambda: SimplicialMap(TORUS, TORUS, {v: v for v in range(7)}).pullback(
                torch.ones(2), 1
            ),
            r"cochain: got shape \[2\]",
        ),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
