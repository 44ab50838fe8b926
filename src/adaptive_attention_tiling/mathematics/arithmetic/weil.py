"""Zeta functions of curves over finite fields, and the Weil conjectures checked on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from ...errors import ArgumentError
from .finite_field import prime_power


@dataclass(frozen=True)
class CurveZeta:
    """Z(u) = exp(sum_k N_k u^k / k) = P(u) / ((1 - u)(1 - q u)) of a smooth projective curve.

    P = c_0 + c_1 u + ... + c_2g u^2g has integer coefficients, c_0 = 1, and
    P(u) = prod_i (1 - alpha_i u) with N_k = q^k + 1 - sum_i alpha_i^k.

    Args:
        q: the size of the field.
        coefficients: (c_0, ..., c_2g).

    Source: Weil (1949); Silverman, The Arithmetic of Elliptic Curves, section V.2.
    """

    q: int
    coefficients: tuple[int, ...]

    def __post_init__(self) -> None:
        prime_power("q", self.q)
        if len(self.coefficients) % 2 == 0 or self.coefficients[0] != 1:
            raise ArgumentError(
                "coefficients",
                self.coefficients,
                "2 g + 1 integers, 1 the first",
                "take them from CurveZeta.from_points",
            )

    @classmethod
    def from_points(cls, q: int, points: Sequence[int]) -> CurveZeta:
        """From N_1, ..., N_g of a curve of genus g; the functional equation gives the other half.

        Raises:
            ArgumentError: no curve has these numbers of points, since a coefficient is no integer.
        """
        genus = len(points)
        sums = [count - q**k - 1 for k, count in enumerate(points, 1)]
        half = [1]
        for order in range(1, genus + 1):
            total = sum(sums[k - 1] * half[order - k] for k in range(1, order + 1))
            if total % order:
                raise ArgumentError(
                    "points", list(points), "those of a smooth curve", "count them again"
                )
            half.append(total // order)
        mirrored = [q ** (genus - i) * half[i] for i in reversed(range(genus))]
        return cls(q, (*half, *mirrored))

    @property
    def genus(self) -> int:
        """g, half of the degree of P."""
        return len(self.coefficients) // 2

    def points(self, degree: int) -> int:
        """N_k, points over F_{q^k}, k = degree >= 1; exact, by Newton's identities on P."""
        if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
            raise ArgumentError("degree", degree, "an integer >= 1", "pass k of q^k")
        sums: list[int] = []
        for order in range(1, degree + 1):
            total = -order * self._coefficient(order)
            total -= sum(self._coefficient(k) * sums[order - k - 1] for k in range(1, order))
            sums.append(total)
        return int(self.q**degree + 1 - sums[-1])

    def inverse_roots(self) -> Complex[Tensor, " k"]:
        """alpha_1, ..., alpha_2g, the eigenvalues of Frobenius on H^1."""
        roots = np.roots(np.array(self.coefficients, dtype=float))
        return torch.from_numpy(roots.astype(complex))

    def keeps_functional_equation(self) -> bool:
        """Whether P(1/(q u)) q^g u^2g = P(u), that is c_{2g-i} = q^(g-i) c_i; exact."""
        g = self.genus
        return all(
            self.coefficients[2 * g - i] == self.q ** (g - i) * self.coefficients[i]
            for i in range(g + 1)
        )

    def keeps_riemann_hypothesis(self, tolerance: float = 1e-6) -> bool:
        """Whether |alpha_i| = sqrt q for all i, up to a relative tolerance."""
        moduli = self.inverse_roots().abs()
        return bool(((moduli / math.sqrt(self.q) - 1).abs() <= tolerance).all())

    def class_number(self) -> int:
        """P(1), the number of points of the Jacobian over F_q."""
        return sum(self.coefficients)

    def _coefficient(self, order: int) -> int:
        return self.coefficients[order] if order < len(self.coefficients) else 0
