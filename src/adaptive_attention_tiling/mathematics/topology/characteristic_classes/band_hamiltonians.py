"""Hamiltonians over a Brillouin torus, k in radians, whose invariants are known.

Each takes points k [*b, d] and gives Hermitian matrices [*b, n, n] of period 2 pi in each k_i; the
last angle may be left out of a chain's points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Hamiltonian = Callable[[Float[Tensor, "*b d"]], Complex[Tensor, "*b n n"]]


def two_band(vector: Float[Tensor, "*b 3"]) -> Complex[Tensor, "*b 2 2"]:
    """d . sigma = [[d_z, d_x - i d_y], [d_x + i d_y, -d_z]]."""
    x, y, z = vector.unbind(-1)
    upper = torch.complex(x, -y)
    z = torch.complex(z, torch.zeros_like(z))
    rows = [torch.stack([z, upper], -1), torch.stack([upper.conj(), -z], -1)]
    return torch.stack(rows, -2)


def qwz_vector(k: Float[Tensor, "*b 2"], mass: float | Tensor) -> Float[Tensor, "*b 3"]:
    """(sin k_x, sin k_y, u + cos k_x + cos k_y)."""
    return torch.cat([k.sin(), (mass + k.cos().sum(-1))[..., None]], -1)


def qwz(mass: float | Tensor) -> Hamiltonian:
    """Qi, Wu and Zhang: sin k_x s_x + sin k_y s_y + (u + cos k_x + cos k_y) s_z.

    The lower band has C = 1 for 0 < u < 2, -1 for -2 < u < 0, else 0 (PRB 74, 085308, 2006).
    """
    return lambda k: two_band(qwz_vector(k, mass))


def haldane(
    mass: float | Tensor, *, hopping: float = 1.0, second: float = 0.1, phase: float = math.pi / 2
) -> Hamiltonian:
    """Haldane's honeycomb, k_i = k . a_i along the lattice vectors a_1, a_2 (PRL 61, 2015, 1988).

    t1 (1 + cos k_1 + cos k_2, sin k_1 + sin k_2) . (s_x, s_y) + 2 t2 cos phi (cos k_1 + cos k_2 +
    cos(k_1 - k_2)) + (M + 2 t2 sin phi (sin k_1 - sin k_2 - sin(k_1 - k_2))) s_z; |C| = 1 of the
    lower band for |M| < 3 sqrt(3) t2 |sin phi|, else 0.
    """

    def matrices(k: Tensor) -> Tensor:
        first, other = k.unbind(-1)
        x = hopping * (1 + first.cos() + other.cos())
        y = hopping * (first.sin() + other.sin())
        turns = first.sin() - other.sin() - (first - other).sin()
        z = mass + 2 * second * math.sin(phase) * turns
        shift = 2 * second * math.cos(phase) * (first.cos() + other.cos() + (first - other).cos())
        unit = torch.eye(2, dtype=k.dtype, device=k.device)
        return two_band(torch.stack([x, y, z], -1)) + shift[..., None, None] * unit

    return matrices


def ssh(inside: float | Tensor, between: float | Tensor) -> Hamiltonian:
    """Su, Schrieffer and Heeger's chain: (t1 + t2 cos k) s_x + t2 sin k s_y.

    The lower band has Zak phase pi for t1 < t2 and 0 for t1 > t2 (PRL 42, 1698, 1979).
    """

    def matrices(k: Tensor) -> Tensor:
        angle = k[..., 0]
        x, y = inside + between * angle.cos(), between * angle.sin()
        return two_band(torch.stack([x, y, torch.zeros_like(x)], -1))

    return matrices


def dirac_vector(k: Float[Tensor, "*b 4"], mass: float | Tensor) -> Float[Tensor, "*b 5"]:
    """(m + sum cos k_i, sin k_1, .., sin k_4): the lattice Dirac model of four dimensions, c = 1.

    Source: Qi, Hughes and Zhang, PRB 78, 195424 (2008), equation 64, its d_0 first.
    """
    return torch.cat([(mass + k.cos().sum(-1))[..., None], k.sin()], -1)
