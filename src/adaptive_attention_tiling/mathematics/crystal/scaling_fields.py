"""Nonlinear scaling fields: functions of couplings that a block map multiplies by a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .block_map import BlockMap, applied
from .carleman import (
    PowerSeries,
    carleman_matrix,
    check_order,
    solve_homological,
)
from .fixed_points import FixedPoint


@dataclass(frozen=True)
class ScalingField:
    """u(K) with u(R(K)) = eigenvalue u(K), as a power series at K*.

    Args:
        eigenvalue: of dR at K*.
        exponent: y = ln |eigenvalue| / ln scale.
        series: to the order that was asked for; its error is of the next power of K - K*.
    """

    eigenvalue: Tensor
    exponent: Tensor
    series: PowerSeries

    def __call__(self, couplings: Float[Tensor, "*b n"]) -> Tensor:
        """u(K) [*b] by the series, near K*; complex where the eigenvalue is."""
        return self.series(couplings)

    @property
    def tells_scale(self) -> bool:
        """Whether u grows or falls by a power of scale: finite y unlike 0."""
        return 1e-6 <= abs(float(self.exponent)) < math.inf

    def carried(self, block_map: BlockMap, couplings: Float[Tensor, "*b n"], steps: int) -> Tensor:
        """u(K) = lim eigenvalue^-n u(R^n(K)): far from K*, where the flow goes to K*.

        That is so for the leading irrelevant field of a sink, and, with R^-1 and the fields of
        R^-1 at K*, for the relevant one. From order p the error falls as
        (largest |eigenvalue|^(p + 1) / |eigenvalue|)^n.

        Args:
            block_map: R.
            couplings: anywhere in the basin of K*.
            steps: n.
        """
        if steps < 0:
            raise ArgumentError("steps", steps, "a whole number >= 0", "pass R^-1 instead")
        for _ in range(steps):
            couplings = applied(block_map, couplings)
        value: Tensor = self(couplings) / self._factor() ** steps
        return value

    def _factor(self) -> Tensor:
        return self.eigenvalue if self.series.coefficients.is_complex() else self.eigenvalue.real


def scaling_fields(block_map: BlockMap, fixed: FixedPoint, order: int = 3) -> list[ScalingField]:
    """One field for each eigenvalue: left eigenvectors of Carleman's matrix.

    To linear order u_i is the left eigenvector l_i of dR, |l_i| = 1, its largest entry positive.

    Args:
        block_map: R.
        fixed: K* with its eigenvalues.
        order: largest degree of the series, 1 to 8.

    Raises:
        ArgumentError: dR has no basis of eigenvectors, or a product of eigenvalues up to the order
            is another eigenvalue: then u has a logarithm.

    Wegner, Phys. Rev. B 5 (1972) 4529; Cardy, Scaling and Renormalization in Statistical Physics
    (1996), section 3.3.
    """
    check_order(order)
    centre = fixed.couplings.detach()
    size = len(centre)
    matrix = carleman_matrix(block_map, centre, order).detach()
    linear = matrix[1 : size + 1, 1 : size + 1]
    values, vectors = torch.linalg.eig(linear.mT)
    # Rounding parts equal eigenvectors by the square root of eps.
    if float(torch.linalg.svdvals(vectors).min()) < 8 * math.sqrt(torch.finfo(matrix.dtype).eps):
        raise ArgumentError(
            "fixed", "a Jacobian without a basis of eigenvectors", "a diagonalisable one", "move K*"
        )
    best = values.abs().argsort(descending=True)
    fields = []
    exponents = fixed.exponents.detach()
    for value, vector, exponent in zip(values[best], vectors.mT[best], exponents, strict=True):
        unit = _normalised(vector, real=bool(value.imag == 0))
        factor = complex(value) if unit.is_complex() else float(value.real)
        right = matrix[1 : size + 1, size + 1 :].mT.to(unit) @ unit
        rest = solve_homological(matrix, factor, right, size + 1, values, order)
        coefficients = torch.cat([torch.zeros_like(unit[:1]), unit, rest])
        fields.append(ScalingField(value, exponent, PowerSeries(centre, order, coefficients)))
    return fields


def invariant_ratio(one: ScalingField, other: ScalingField, couplings: Tensor) -> Tensor:
    """|u_1|^(1 / y_1) / |u_2|^(1 / y_2) [*b], which no change of scale alters.

    Args:
        one: of finite exponent y_1 unlike 0.
        other: of finite exponent y_2 unlike 0.
        couplings: [*b, n].
    """
    for field in (one, other):
        if not field.tells_scale:
            raise ArgumentError(
                "fields",
                f"one of y = {float(field.exponent):.3g}, marginal or erased",
                "finite y unlike 0",
                "take another field",
            )
    scales = [field(couplings).abs() ** (1 / field.exponent) for field in (one, other)]
    ratio: Tensor = scales[0] / scales[1]
    return ratio


def _normalised(vector: Tensor, real: bool) -> Tensor:
    turned = vector / vector[vector.abs().argmax()]
    turned = turned.real if real else turned
    unit: Tensor = turned / turned.norm()
    return unit
