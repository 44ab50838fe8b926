"""Steps of u' = L u + N(u) with L linear and stiff, mode by mode.

Sources: Cox and Matthews, J. Comput. Phys. 176 (2002), equations 20-22 and 26-29, written with phi
functions; Ascher, Ruuth and Spiteri, Appl. Numer. Math. 25 (1997), section 2.6; Hochbruck and
Ostermann, Acta Numerica 19 (2010), section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Rate = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, Rate], Tensor]

_GAMMA = 1 - 1 / math.sqrt(2)
_DELTA = 1 - 1 / (2 * _GAMMA)


def phi_functions(matrix: Float[Tensor, "*b s s"], highest: int) -> list[Float[Tensor, "*b s s"]]:
    """phi_0(Z) = exp Z to phi_highest(Z), with phi_k(z) = sum_j z^j / (j + k)!, differentiable.

    All come from one exponential of a block matrix with Z and identities above the diagonal, so
    that nothing cancels near Z = 0.
    """
    size = matrix.shape[-1]
    block = torch.nn.functional.pad(matrix, (0, highest * size, 0, highest * size))
    shift = torch.eye((highest + 1) * size, dtype=matrix.dtype, device=matrix.device)
    block = block + torch.nn.functional.pad(shift[size:, size:], (size, 0, 0, size))
    row = torch.linalg.matrix_exp(block)[..., :size, :]
    return list(row.split(size, -1))


def etdrk2(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """Exponential time differencing of order 2; exact where N is constant."""
    decay, once, twice = _complex(phi_functions(step * operator, 2))

    def advance(u: Tensor, rate: Rate) -> Tensor:
        before = rate(u)
        guess = _times(decay, u) + step * _times(once, before)
        return guess + step * _times(twice, rate(guess) - before)

    return advance


def etdrk4(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """Exponential time differencing of order 4, with four rates a step."""
    half_decay, half_once = _complex(phi_functions(step / 2 * operator, 1))
    decay, one, two, three = _complex(phi_functions(step * operator, 3))
    first, middle, last = one - 3 * two + 4 * three, 2 * two - 4 * three, 4 * three - two
    half_once = step / 2 * half_once

    def advance(u: Tensor, rate: Rate) -> Tensor:
        before, drifted = rate(u), _times(half_decay, u)
        a = drifted + _times(half_once, before)
        rate_a = rate(a)
        rate_b = rate(drifted + _times(half_once, rate_a))
        c = _times(half_decay, a) + _times(half_once, 2 * rate_b - before)
        total = _times(first, before) + _times(middle, rate_a + rate_b) + _times(last, rate(c))
        return _times(decay, u) + step * total

    return advance


def imex_euler(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """(1 - h L) u' = u + h N(u), of order 1."""
    (inverse,) = _complex([_resolvent(operator, step)])
    return lambda u, rate: _times(inverse, u + step * rate(u))


def imex_ars2(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """The two-stage method ARS(2,2,2), of order 2 and L-stable in L."""
    inverse, linear = _complex([_resolvent(operator, _GAMMA * step), operator])

    def advance(u: Tensor, rate: Rate) -> Tensor:
        before = rate(u)
        stage = _times(inverse, u + step * _GAMMA * before)
        moved = _DELTA * before + (1 - _DELTA) * rate(stage)
        return _times(inverse, u + step * (moved + (1 - _GAMMA) * _times(linear, stage)))

    return advance


def euler(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """u + h (L u + N(u)): explicit, of order 1."""
    (linear,) = _complex([operator])
    return lambda u, rate: u + step * (_times(linear, u) + rate(u))


def rk4(operator: Float[Tensor, "*m s s"], step: float) -> Step:
    """The classical Runge-Kutta step: explicit, of order 4."""
    (linear,) = _complex([operator])

    def advance(u: Tensor, rate: Rate) -> Tensor:
        def slope(v: Tensor) -> Tensor:
            return _times(linear, v) + rate(v)

        a = slope(u)
        b = slope(u + step / 2 * a)
        c = slope(u + step / 2 * b)
        return u + step / 6 * (a + 2 * b + 2 * c + slope(u + step * c))

    return advance


STEPPERS = {
    "etdrk2": etdrk2,
    "etdrk4": etdrk4,
    "imex_euler": imex_euler,
    "imex_ars2": imex_ars2,
    "euler": euler,
    "rk4": rk4,
}

# How far the region of absolute stability reaches along the negative axis; rk4's is the real root
# of 24 + 12 z + 4 z^2 + z^3 = 0.
EXPLICIT_REACH = {"euler": 2.0, "rk4": 2.785293563405282}


def _resolvent(operator: Tensor, step: float) -> Tensor:
    one = torch.eye(operator.shape[-1], dtype=operator.dtype, device=operator.device)
    found: Tensor = torch.linalg.inv(one - step * operator)
    return found


def _complex(matrices: list[Tensor]) -> list[Tensor]:
    return [matrix + 0j for matrix in matrices]


def _times(matrix: Tensor, spectrum: Tensor) -> Tensor:
    found: Tensor = (
        matrix[..., 0] * spectrum
        if matrix.shape[-1] == 1
        else (matrix @ spectrum[..., None])[..., 0]
    )
    return found
