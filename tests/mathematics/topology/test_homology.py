import random
from fractions import Fraction

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError
from adaptive_attention_tiling.mathematics.graph import Graph
from adaptive_attention_tiling.mathematics.topology import finite_field, triangulations
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.homology import Cohomology, Homology
from adaptive_attention_tiling.mathematics.topology.homology_basis import AbelianGroup
from adaptive_attention_tiling.mathematics.topology.simplicial_complex import SimplicialComplex

MANIFOLDS = {
    "point": SimplicialComplex([[0]]),
    "S1": triangulations.sphere(1),
    "S2": triangulations.sphere(2),
    "S3": triangulations.sphere(3),
    "torus": triangulations.torus(),
    "RP2": triangulations.projective_plane(),
    "Klein": triangulations.klein_bottle(),
    "CP2": triangulations.complex_projective_plane(),
    "L(3,1)": triangulations.lens_space(3, 1),
    "L(5,2)": triangulations.lens_space(5, 2),
    "two triangles": SimplicialComplex([[0, 1, 2], [4, 5], [5, 6], [4, 6]]),
}
CHAINS = {name: ChainComplex.of(complex_) for name, complex_ in MANIFOLDS.items()}

INTEGRAL = {
    "B2 S2": ("S2", [(1, ()), (0, ()), (1, ())], 2),
    "B2 torus": ("torus", [(1, ()), (2, ()), (1, ())], 0),
    "B2 RP2": ("RP2", [(1, ()), (0, (2,)), (0, ())], 1),
    "B2 Klein": ("Klein", [(1, ()), (1, (2,)), (0, ())], 0),
    "CP2": ("CP2", [(1, ()), (0, ()), (1, ()), (0, ()), (1, ())], 3),
    "L(3,1)": ("L(3,1)", [(1, ()), (0, (3,)), (0, ()), (1, ())], 0),
    "L(5,2)": ("L(5,2)", [(1, ()), (0, (5,)), (0, ()), (1, ())], 0),
}
BETTI = {
    "B2 S2": ("S2", [1, 0, 1], [1, 0, 1]),
    "B2 torus": ("torus", [1, 2, 1], [1, 2, 1]),
    "B2 RP2": ("RP2", [1, 1, 1], [1, 0, 0]),
    "B2 Klein": ("Klein", [1, 2, 1], [1, 1, 0]),
    "CP2": ("CP2", [1, 0, 1, 0, 1], [1, 0, 1, 0, 1]),
    "L(3,1)": ("L(3,1)", [1, 0, 0, 1], [1, 1, 1, 1]),
}


@pytest.mark.parametrize(("name", "groups", "chi"), INTEGRAL.values(), ids=INTEGRAL.keys())
def test_golden_homology_over_the_integers(name, groups, chi):
    homology = Homology(CHAINS[name])
    assert [homology.group(k) for k in range(len(groups))] == [AbelianGroup(*g) for g in groups]
    assert MANIFOLDS[name].euler_characteristic() == chi
    assert CHAINS[name].euler_characteristic() == chi


@pytest.mark.parametrize(("name", "over_2", "over_3"), BETTI.values(), ids=BETTI.keys())
def test_golden_betti_numbers_over_fields(name, over_2, over_3):
    for prime, expected in ((2, over_2), (3, over_3)):
        assert list(Homology(CHAINS[name], prime).betti_numbers().values()) == expected
        assert list(Cohomology(CHAINS[name], prime).betti_numbers().values()) == expected
        if name == "L(3,1)":
            continue
        # The reference: n_k - rank d_k - rank d_{k+1} by dense elimination.
        dense = [CHAINS[name].boundary(k).to_dense() for k in range(len(expected) + 1)]
        ranks = [int(finite_field.rank(matrix, prime)) for matrix in dense]
        counts = MANIFOLDS[name].counts
        assert [n - ranks[k] - ranks[k + 1] for k, n in enumerate(counts)] == expected


@pytest.mark.parametrize(
    ("name", "ring"),
    [
        *((name, ring) for name in MANIFOLDS if name[0] != "L" for ring in ("Z", "Q", 2, 3, 5)),
        *(("L(3,1)", ring) for ring in ("Z", 3)),
    ],
)
@pytest.mark.parametrize("kind", [Homology, Cohomology])
def test_law_generators_are_a_basis_and_boundaries_have_primitives(name, ring, kind):
    groups, chains = kind(CHAINS[name], ring), CHAINS[name]
    step = 1 if kind is Homology else -1
    rng = random.Random(5)
    for degree in chains.degrees:
        group = groups.group(degree)
        size = group.rank + len(group.torsion)
        generators = groups.generators(degree)
        assert generators.shape == (size, chains.count(degree))
        for place, generator in enumerate(generators):
            read = groups.coordinates(degree, generator)
            if ring == "Q":
                assert read[place] != 0
                assert sum(map(bool, read)) == 1
            else:
                assert read == [int(i == place) for i in range(size)]
        matrix = chains.boundary(degree + 1) if step == 1 else chains.boundary(degree).t()
        matrix = matrix.to_dense()
        random_chain = torch.tensor([rng.randint(-4, 4) for _ in range(matrix.shape[1])]).long()
        boundary = matrix @ random_chain
        assert groups.coordinates(degree, boundary) == [0] * size
        found = groups.primitive(degree, boundary)
        assert _residues(_apply(matrix, found), ring) == _residues(boundary.tolist(), ring)
        if size:
            mixture = boundary + generators.sum(0)
            assert groups.primitive(degree, mixture) is None
            if ring != "Q":
                assert groups.coordinates(degree, mixture) == [1] * size
        for place, order in enumerate(group.torsion):
            times = order * generators[group.rank + place]
            found = groups.primitive(degree, times)
            assert _apply(matrix, found) == times.tolist()


def _apply(matrix, chain):
    return [sum(f * x for f, x in zip(row, chain, strict=True)) for row in matrix.tolist()]


def _residues(values, ring):
    return [v % ring for v in values] if isinstance(ring, int) else values


@pytest.mark.parametrize("name", [name for name in MANIFOLDS if name != "L(5,2)"])
def test_law_universal_coefficients(name):
    """Torsion moves up one degree in cohomology; over F_p it counts twice."""
    chains = CHAINS[name]
    integral, dual = Homology(chains), Cohomology(chains)
    rational = Homology(chains, "Q")
    for k in chains.degrees:
        expected = AbelianGroup(integral.group(k).rank, integral.group(k - 1).torsion)
        assert dual.group(k) == expected
        assert rational.group(k) == AbelianGroup(integral.group(k).rank)
        for p in (2, 3, 5):
            torsion = integral.group(k).torsion + integral.group(k - 1).torsion
            expected_rank = integral.group(k).rank + sum(t % p == 0 for t in torsion)
            assert Homology(chains, p).betti_number(k) == expected_rank


@pytest.mark.parametrize("name", ["torus", "RP2", "Klein"])
def test_law_subdivision_and_numbering_change_nothing(name):
    finer = ChainComplex.of(triangulations.barycentric_subdivision(MANIFOLDS[name]))
    rng = random.Random(2)
    names = rng.sample(range(50), 50)
    renamed = [[names[v] for v in facet] for facet in MANIFOLDS[name].facets()]
    other = ChainComplex.of(SimplicialComplex(renamed))
    expected = [Homology(CHAINS[name]).group(k) for k in range(3)]
    assert [Homology(finer).group(k) for k in range(3)] == expected
    assert [Homology(other).group(k) for k in range(3)] == expected


def test_law_kuenneth_of_two_projective_planes():
    """H_k(A x B) = sum of H_p x H_q and Tor(H_p, H_{k-1-p}), by Hatcher, theorem 3B.6."""
    product = CHAINS["RP2"].tensor(CHAINS["RP2"])
    homology = Homology(product)
    assert [str(homology.group(k)) for k in range(5)] == ["Z", "Z/2 + Z/2", "Z/2", "Z/2", "0"]
    assert product.euler_characteristic() == 1
    circles = Homology(CHAINS["S1"].tensor(CHAINS["S1"]).tensor(CHAINS["S1"]))
    assert [circles.betti_number(k) for k in range(4)] == [1, 3, 3, 1]


def test_cyclic_groups_that_do_not_divide_are_joined():
    chains = ChainComplex({1: torch.tensor([[4, 0, 0], [0, 6, 0], [0, 0, 0]])})
    assert Homology(chains).group(0) == AbelianGroup(1, (2, 12))
    assert str(Homology(chains).group(0)) == "Z + Z/2 + Z/12"
    assert Homology(chains).group(1) == AbelianGroup(1)
    assert [str(Homology(chains, ring).group(0)) for ring in ("Q", 2, 5)] == ["Q", "F_2^3", "F_5"]
    assert Homology(chains).group(7) == AbelianGroup(0)


def test_rational_classes_have_fractions_for_coordinates():
    chains = ChainComplex({1: torch.tensor([[2], [-3]])})
    homology = Homology(chains, "Q")
    assert homology.group(0) == AbelianGroup(1)
    assert homology.primitive(0, [1, Fraction(-3, 2)]) == [Fraction(1, 2)]


@pytest.mark.parametrize(("nodes", "degree"), [(30, 6), (60, 5)])
def test_pair_gudhi_on_random_flag_complexes(nodes, degree):
    gudhi = pytest.importorskip("gudhi", reason="gudhi, of the oracles extra, is not installed")
    rng = random.Random(nodes)
    pairs = [(i, j) for i in range(nodes) for j in range(i + 1, nodes)]
    edges = torch.tensor(sorted(rng.sample(pairs, nodes * degree // 2)))
    complex_ = SimplicialComplex.flag(Graph(nodes, edges), 3)
    tree = gudhi.SimplexTree()
    for facet in complex_.facets():
        tree.insert(list(facet))
    chains = ChainComplex.of(complex_)
    for prime in (2, 3, 11):
        tree.compute_persistence(homology_coeff_field=prime, persistence_dim_max=True)
        expected = tree.betti_numbers()[: complex_.dimension + 1]
        assert list(Homology(chains, prime).betti_numbers().values()) == expected


def test_a_complex_of_some_thousand_cells():
    chains = ChainComplex.of(triangulations.klein_bottle(20, 20))
    assert sum(chains.count(k) for k in range(3)) == 2400
    assert str(Homology(chains).group(1)) == "Z + Z/2"
    assert Cohomology(chains, 2).generators(1).shape == (2, 1200)


def test_cycles_beyond_int64_are_refused_and_their_group_is_not():
    generator = torch.Generator().manual_seed(0)
    large = torch.randint(-(2**20), 2**20, (6, 7), generator=generator)
    for ring in ("Z", "Q"):
        homology = Homology(ChainComplex({1: large}), ring)
        assert homology.betti_number(1) == 1
        with pytest.raises(UnsupportedError, match="beyond int64"):
            homology.generators(1)
    cycle = Homology(ChainComplex({1: large}), 101).generators(1)
    assert not bool((large @ cycle.T % 101).any())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Homology(CHAINS["S2"], 4), "prime: got 4 = 2 [*] 2, expected a prime"),
        (lambda: Homology(CHAINS["S2"], "R"), "ring: got 'R'"),
        (lambda: Homology(CHAINS["S2"]).coordinates(1, [1, 0]), "got 2 entries"),
        (lambda: Homology(CHAINS["S2"]).coordinates(0, [0.5] * 4), "4 exact numbers"),
        (
            lambda: Homology(CHAINS["S2"]).coordinates(1, [1, 0, 0, 0, 0, 0]),
            "cycle: got boundary -1 at 0, expected boundary 0 over Z",
        ),
        (
            lambda: ChainComplex({1: torch.tensor([[1, 2]]), 2: torch.tensor([[1], [1]])}),
            "got 3 at row 0, column 0 of boundary 1 after boundary 2",
        ),
        (
            lambda: ChainComplex({1: torch.tensor([[1, 2]]), 2: torch.tensor([[1]])}),
            "got 1 rows in degree 2, expected 2 rows",
        ),
        (lambda: ChainComplex({1: torch.ones(2, 2)}), "got torch.float32"),
        (lambda: ChainComplex({1: [[1, -1]]}), "got list in degree 1, expected integer tensors"),
        (lambda: triangulations.klein_bottle(2, 4), "length: got 2 by 4"),
        (lambda: triangulations.lens_space(4, 2), "q prime to p"),
        (lambda: triangulations.sphere(-1), "dimension: got -1"),
    ],
)
def test_what_cannot_be_is_told(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
