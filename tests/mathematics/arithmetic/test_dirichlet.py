import math
from fractions import Fraction

import mpmath
import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.mathematics.arithmetic.dirichlet import (
    DirichletCharacter,
    completed_dirichlet_l,
    dirichlet_characters,
    dirichlet_l,
    kronecker_character,
)
from adaptive_attention_tiling.mathematics.arithmetic.zeta import riemann_zeta

DOUBLE = torch.float64
GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
MODULI = [1, 2, 3, 4, 5, 8, 9, 12, 15, 16, 21]


@pytest.mark.parametrize(
    ("discriminant", "s", "value", "printed"),
    [
        pytest.param(-4, 1.0, math.pi / 4, 0.785398163397, id="L(chi_-4,1)=pi/4"),
        pytest.param(-4, 2.0, 0.915965594177219, 0.915965594177, id="L(chi_-4,2)=Catalan"),
        pytest.param(-3, 1.0, math.pi / 27**0.5, 0.604599788078, id="L(chi_-3,1)=pi/(3 sqrt 3)"),
        pytest.param(5, 1.0, 2 * math.log(GOLDEN_RATIO) / 5**0.5, 0.430408940964, id="L(chi_5,1)"),
    ],
)
def test_golden_values(discriminant, s, value, printed):
    found = complex(dirichlet_l(kronecker_character(discriminant), torch.tensor(s, dtype=DOUBLE)))
    assert found == pytest.approx(value, abs=4e-15)
    assert found == pytest.approx(printed, abs=1e-12)


@pytest.mark.parametrize("q", MODULI)
def test_the_characters_are_a_group_of_orthogonal_functions(q):
    characters = dirichlet_characters(q)
    units = sum(math.gcd(n, q) == 1 for n in range(q))
    assert len(set(characters)) == len(characters) == units
    assert characters[0].is_principal
    table = torch.stack([character.values() for character in characters])
    expected = units * torch.eye(units, dtype=torch.cdouble)
    torch.testing.assert_close(table @ table.mH, expected, rtol=0, atol=1e-12)
    for first in characters:
        assert (first * first.conjugate()).is_principal
        assert all(first * second in characters for second in characters[:3])


@pytest.mark.parametrize("q", MODULI)
def test_gauss_sums_and_the_primitive_characters(q):
    # Primitive characters modulo the divisors of q induce each character once.
    below = [c for d in range(1, q + 1) if q % d == 0 for c in dirichlet_characters(d)]
    primitive = [c for c in below if c.is_primitive]
    assert {c.primitive() for c in dirichlet_characters(q)} == set(primitive)
    for character in primitive:
        modulus = float(character.gauss_sum().abs())
        assert modulus == pytest.approx(math.sqrt(character.modulus), rel=1e-13)
        assert float(character.root_number().abs()) == pytest.approx(1, abs=1e-13)


def test_quadratic_characters():
    minus_four = kronecker_character(-4)
    assert minus_four.values().tolist() == [0, 1, 0, -1]
    assert minus_four.parity == 1
    assert minus_four.order == 2
    assert complex(minus_four.gauss_sum()) == pytest.approx(2j)
    assert complex(minus_four.root_number()) == pytest.approx(1)
    assert kronecker_character(12).conductor == 12
    assert kronecker_character(-16).conductor == 4
    assert not kronecker_character(-16).is_primitive


def all_points():
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(12, generator=generator, dtype=DOUBLE) * 8 - 4
    imaginary = torch.rand(12, generator=generator, dtype=DOUBLE) * 20 - 10
    return torch.complex(real, imaginary)


@pytest.mark.parametrize("q", [5, 12])
def test_l_against_mpmath(q):
    s = torch.tensor([0.3 + 4j, -2.7 + 1j, 3.1 - 9j], dtype=torch.cdouble)
    for character in dirichlet_characters(q)[:3]:
        values = character.values().tolist()
        with mpmath.workdps(25):
            expected = [complex(mpmath.dirichlet(point, values)) for point in s.tolist()]
        expected = torch.tensor(expected, dtype=torch.cdouble)
        # mpmath is given rounded values of chi, which costs it digits too.
        torch.testing.assert_close(dirichlet_l(character, s), expected, rtol=5e-12, atol=1e-12)


@pytest.mark.parametrize("q", [3, 5, 7, 8])
def test_the_functional_equation_inside_the_strip(q):
    s = torch.complex(torch.rand(8, dtype=DOUBLE, generator=torch.Generator().manual_seed(q)),
                      torch.linspace(-9, 9, 8, dtype=DOUBLE))  # fmt: skip
    for character in dirichlet_characters(q):
        if character.is_primitive:
            left = completed_dirichlet_l(character, s)
            right = character.root_number() * completed_dirichlet_l(character.conjugate(), 1 - s)
            torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-14)


def test_l_as_series_and_products():
    s = torch.tensor([2.5, 3 + 1j], dtype=torch.cdouble)
    character = dirichlet_characters(7)[2]
    n = torch.arange(1, 70001, dtype=DOUBLE)
    chi = character.values()[n.long() % 7]
    series = (chi * torch.exp(-s[:, None] * n.log())).sum(-1)
    torch.testing.assert_close(dirichlet_l(character, s), series, rtol=0, atol=1e-10)
    # The Dedekind zeta function of Q(i) counts ideals by norm: 1, 1, 0, 1, 2, 0, 0, 1, 1, 2.
    ideals = [sum((0, 1, 0, -1)[d % 4] for d in range(1, k + 1) if k % d == 0)
              for k in range(1, 301)]  # fmt: skip
    assert ideals[:10] == [1, 1, 0, 1, 2, 0, 0, 1, 1, 2]
    ideals = torch.tensor(ideals, dtype=DOUBLE)
    far = torch.tensor([12.0], dtype=torch.cdouble)
    product = riemann_zeta(far) * dirichlet_l(kronecker_character(-4), far)
    series = (ideals * torch.exp(-far[:, None] * n[:300].log())).sum(-1)
    torch.testing.assert_close(product, series, rtol=0, atol=1e-15)


def test_gradients_also_at_one():
    s = torch.tensor([1.0, 0.5 + 2j, -1.5 + 0.5j], dtype=torch.cdouble, requires_grad=True)
    character = dirichlet_characters(5)[1]
    assert torch.autograd.gradcheck(lambda x: dirichlet_l(character, x), s)
    real = torch.tensor(1.0, dtype=DOUBLE, requires_grad=True)
    value = dirichlet_l(kronecker_character(-4), real).real
    (slope,) = torch.autograd.grad(value, real)
    expected = mpmath.dirichlet(1, [0, 1, 0, -1], 1)
    assert float(slope) == pytest.approx(float(expected), abs=1e-13)


def test_a_batch_is_its_points_one_by_one():
    s = all_points().view(3, 4)
    character = dirichlet_characters(5)[3]
    singly = torch.stack([dirichlet_l(character, one) for one in s.flatten()]).view(3, 4)
    torch.testing.assert_close(dirichlet_l(character, s), singly, rtol=1e-12, atol=1e-13)


HALF = Fraction(1, 2)


def test_the_completed_function_has_a_value_at_zero():
    # Lambda(0) = Lambda(1) = sqrt(5) L(1), by Dirichlet's formula 2 ln of the golden ratio.
    character = kronecker_character(5)
    points = torch.tensor([0.0, 1e-9, 0.2], dtype=DOUBLE, requires_grad=True)
    found = completed_dirichlet_l(character, points).real
    assert float(found[0].detach()) == pytest.approx(2 * math.log(GOLDEN_RATIO), rel=1e-14)
    torch.testing.assert_close(found, completed_dirichlet_l(character, 1 - points).real)
    assert torch.autograd.gradcheck(lambda s: completed_dirichlet_l(character, s).real, points)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: dirichlet_characters(0), "modulus: got 0"),
        (lambda: kronecker_character(3), "discriminant: got 3"),
        (lambda: kronecker_character(9), "no square"),
        (lambda: DirichletCharacter(3, (None, HALF)), "turns: got 2 of them"),
        (lambda: DirichletCharacter(3, (HALF, HALF, HALF)), "None at other places"),
        (lambda: DirichletCharacter(3, (None, HALF, HALF)), r"chi\(1\) chi\(2\) != chi\(2\)"),
        (lambda: kronecker_character(-4) * kronecker_character(5), "other: got modulus 5"),
        (lambda: kronecker_character(-4).turn(2), "a number prime to 4"),
        (lambda: kronecker_character(-16).root_number(), "conductor 4, expected conductor 16"),
        (lambda: dirichlet_l(dirichlet_characters(3)[0], torch.tensor(1.0)), "the pole"),
    ],
)
def test_what_is_no_character_is_told(ask, message):
    with pytest.raises(ArgumentError, match=message):
        ask()
