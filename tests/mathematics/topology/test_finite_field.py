import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.topology.finite_field import (
    check_residue_prime,
    inverse_modulo,
    null_space,
    rank,
    row_reduce,
    solve,
)

PRIMES = [2, 3, 7, 2**31 - 1]


def random_matrix(seed, *shape, prime=7):
    return torch.randint(0, prime, shape, generator=torch.Generator().manual_seed(seed))


def exact(matrix):
    return [[int(v) for v in row] for row in matrix.tolist()]


def times(first, second, prime):
    """Python integers, for products of residues that are summed beyond int64."""
    columns = list(zip(*exact(second), strict=True))
    return [
        [sum(x * y for x, y in zip(row, column, strict=True)) % prime for column in columns]
        for row in exact(first)
    ]


def test_golden_echelon_form():
    matrix = torch.tensor([[2, 4, 1], [1, 2, 0], [0, 0, 3]])
    reduced, pivots = row_reduce(matrix, 5)
    assert reduced.tolist() == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]
    assert pivots.tolist() == [True, False, True]


@pytest.mark.parametrize("prime", PRIMES)
def test_law_null_space_and_solutions(prime):
    low_rank = random_matrix(1, 5, 3) @ random_matrix(2, 3, 6)
    for matrix in (random_matrix(0, 4, 7, prime=prime), low_rank, low_rank[:0]):
        kernel = null_space(matrix, prime)
        columns = matrix.shape[1]
        assert kernel.shape[1] == columns - int(rank(matrix, prime))
        assert int(rank(kernel.t(), prime)) == kernel.shape[1]
        assert not any(map(any, times(matrix, kernel, prime)))
        wanted = random_matrix(3, columns, 2, prime=prime)
        right = torch.tensor(times(matrix, wanted, prime)).reshape(len(matrix), 2).long()
        found = solve(matrix, right, prime)
        assert torch.tensor(times(matrix, found, prime)).reshape(right.shape).equal(right)


def test_matrices_without_columns():
    none = torch.zeros(3, 0, dtype=torch.int64)
    assert null_space(none, 5).shape == (0, 0)
    assert solve(none, torch.ones(3, 1).long(), 5) is None
    assert solve(none, torch.zeros(3, 1).long(), 5).shape == (0, 1)


def test_a_system_without_a_solution():
    assert solve(torch.tensor([[2, 2], [1, 1]]), torch.tensor([[1], [1]]), 3) is None
    assert solve(torch.tensor([[2, 2], [1, 1]]), torch.tensor([[2], [1]]), 3).tolist() == [[1], [0]]


@pytest.mark.parametrize("prime", [2, 5])
def test_pair_batch_is_a_loop(prime):
    batch = random_matrix(4, 2, 3, 4, 5, prime=2)
    reduced, pivots = row_reduce(batch, prime)
    for i in range(2):
        for j in range(3):
            one, places = row_reduce(batch[i, j], prime)
            assert torch.equal(reduced[i, j], one)
            assert torch.equal(pivots[i, j], places)
    assert len(rank(batch, prime).unique()) > 1


@pytest.mark.parametrize("prime", PRIMES)
def test_pair_flint(prime):
    flint = pytest.importorskip("flint", reason="flint, of the arithmetic extra, is not installed")
    matrix = random_matrix(5, 6, 9, prime=prime)
    matrix[3] = (matrix[0] + matrix[1]) % prime
    expected, size = flint.nmod_mat(exact(matrix), prime).rref()
    reduced, pivots = row_reduce(matrix, prime)
    assert exact(reduced) == [[int(v) for v in row] for row in expected.tolist()]
    assert int(pivots.sum()) == size == int(rank(matrix, prime))


@pytest.mark.parametrize("prime", PRIMES)
def test_inverses(prime):
    residues = torch.arange(1, min(prime, 50))
    assert (residues * inverse_modulo(residues, prime) % prime).tolist() == [1] * len(residues)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_residue_prime(91), "prime: got 91 = 7 [*] 13, expected a prime"),
        (lambda: check_residue_prime(1), "got 1, expected a prime from 2"),
        (lambda: check_residue_prime(2**31 + 11), "expected a prime from 2 to"),
        (lambda: check_residue_prime(3.0), "got 3.0"),
        (lambda: row_reduce(torch.ones(2, 2), 3), "matrix: got torch.float32"),
        (lambda: rank(torch.ones(2, 2).long(), 6), "got 6 = 2 [*] 3"),
        (lambda: null_space(torch.ones(1, 2, 2).long(), 3), "one matrix at a time"),
        (lambda: solve(torch.ones(2, 2).long(), torch.ones(3, 1).long(), 3), r"right: got shape"),
    ],
)
def test_what_is_no_field_or_matrix_is_told(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()
