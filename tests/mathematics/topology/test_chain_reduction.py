import random

import pytest

from adaptive_attention_tiling.mathematics.topology import triangulations
from adaptive_attention_tiling.mathematics.topology.chain_complex import ChainComplex
from adaptive_attention_tiling.mathematics.topology.chain_reduction import ReducedComplex
from adaptive_attention_tiling.mathematics.topology.coefficients import Coefficients

CHAINS = ChainComplex.of(triangulations.klein_bottle())


def boundary(reduced, degree, chain, small=False):
    """Of a chain of the whole complex or, with `small`, of the reduced one."""
    total = {}
    if small:
        rows, columns = reduced.left.get(degree - 1, []), reduced.left[degree]
        matrix = reduced.matrix(degree)
        entries = {c: {r: matrix[i][j] for i, r in enumerate(rows)} for j, c in enumerate(columns)}
    else:
        entries = dict(enumerate(CHAINS.columns(degree)))
    for place, value in chain.items():
        for row, entry in entries[place].items():
            total[row] = total.get(row, 0) + entry * value
    return kept(reduced, total)


def kept(reduced, chain):
    found = {place: reduced.coefficients.reduced(value) for place, value in chain.items()}
    return {place: value for place, value in found.items() if value}


@pytest.mark.parametrize("ring", ["Z", "Q", 2, 3])
def test_law_projection_and_lift_are_chain_maps_and_inverse_on_the_small_complex(ring):
    reduced, rng = ReducedComplex(CHAINS, Coefficients(ring)), random.Random(4)
    for degree in (0, 1, 2):
        whole = {i: rng.randint(-3, 3) for i in range(CHAINS.count(degree))}
        whole = kept(reduced, whole)
        small = kept(reduced, {i: rng.randint(1, 3) for i in reduced.left[degree]})
        projected, lifted = reduced.project(degree, whole), reduced.lift(degree, small)
        assert set(projected) <= set(reduced.left[degree])
        assert reduced.project(degree, lifted) == small
        if degree:
            below = reduced.project(degree - 1, boundary(reduced, degree, whole))
            assert below == boundary(reduced, degree, projected, small=True)
            above = reduced.lift(degree - 1, boundary(reduced, degree, small, small=True))
            assert above == boundary(reduced, degree, lifted)


def test_what_is_left():
    over_z = ReducedComplex(CHAINS, Coefficients("Z"))
    assert [len(over_z.left[k]) for k in range(3)] == [1, 2, 1]
    assert sorted(abs(value) for row in over_z.matrix(2) for value in row) == [0, 2]
    assert [len(ReducedComplex(CHAINS, Coefficients("Q")).left[k]) for k in range(3)] == [1, 1, 0]
    uppers, lowers = over_z.pivots(1)
    assert (len(set(uppers)), len(set(lowers))) == (15, 15)
