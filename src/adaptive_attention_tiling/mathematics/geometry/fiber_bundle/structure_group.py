"""Structure groups of matrices, and representations that make associated bundles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ....errors import ArgumentError
from .atlas import tolerance
from .connection import slope_along


@dataclass(frozen=True)
class StructureGroup:
    """A group of r by r matrices, with what tells its elements from others.

    GL(r) by default; O(r) or U(r) with isometric, SL(r) with unimodular, SO(r) or SU(r) with both.

    Args:
        size: r.
        isometric: g^H g = 1, and X^H = -X in the Lie algebra.
        unimodular: det g = 1, and tr X = 0.
        is_complex: matrices are complex.
    """

    size: int
    isometric: bool = False
    unimodular: bool = False
    is_complex: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ArgumentError("size", self.size, "1 or more", "pass the width of the fibre")

    def __str__(self) -> str:
        special = "S" if self.unimodular else ""
        if self.isometric:
            return f"{special}{'U' if self.is_complex else 'O'}({self.size})"
        return f"{special or 'G'}L({self.size}, {'C' if self.is_complex else 'R'})"

    def dtype(self, real: torch.dtype) -> torch.dtype:
        """Of this group's matrices over points of a real dtype."""
        return real.to_complex() if self.is_complex else real

    def identity(self, like: Tensor) -> Tensor:
        """1, [r, r], of the dtype that goes with points like this one."""
        return torch.eye(self.size, dtype=self.dtype(like.dtype), device=like.device)

    def defect(self, elements: Tensor) -> Float[Tensor, "*p"]:
        """How far matrices [*p, r, r] are from the group, in the largest entry.

        max(|g^H g - 1|, |det g - 1|) as far as the group asks for them; NaN where g is singular.
        """
        determinant = torch.linalg.det(elements)
        found = torch.where(determinant.abs() > 0, 0.0, torch.nan).to(determinant.abs().dtype)
        if self.isometric:
            gram = elements.mH @ elements
            identity = torch.eye(self.size, dtype=gram.dtype, device=gram.device)
            found = torch.maximum(found, (gram - identity).abs().amax((-2, -1)))
        if self.unimodular:
            found = torch.maximum(found, (determinant - 1).abs())
        return found

    def check(self, name: str, elements: Tensor) -> None:
        """Raise an ArgumentError unless matrices [*p, r, r] are in the group to eps^(2/5)."""
        defect = self.defect(elements.detach())
        if elements.numel() and not bool(defect.max() <= tolerance(defect)):
            raise ArgumentError(
                name,
                f"matrices {float(defect.max()):.3g} away from {self}",
                f"elements of {self}",
                "pass elements of the group, or a larger group",
            )

    def algebra_defect(self, elements: Tensor) -> Float[Tensor, "*p"]:
        """How far matrices [*p, r, r] are from the Lie algebra: max(|X^H + X|, |tr X|)."""
        found = torch.zeros_like(elements[..., 0, 0].abs())
        if self.isometric:
            found = torch.maximum(found, (elements.mH + elements).abs().amax((-2, -1)))
        if self.unimodular:
            found = torch.maximum(found, elements.diagonal(dim1=-2, dim2=-1).sum(-1).abs())
        return found


@dataclass(frozen=True)
class Representation:
    """A homomorphism rho: G -> H of matrix groups, which turns G bundles into H bundles.

    Args:
        target: H.
        matrix: g [*p, r, r] -> rho(g) [*p, s, s], analytic in the entries of g near 1.
    """

    target: StructureGroup
    matrix: Callable[[Tensor], Tensor]

    def of_algebra(self, elements: Tensor) -> Tensor:
        """d rho(X) = d/dt rho(1 + t X) at t = 0, [*p, r, r] -> [*p, s, s]."""
        identity = torch.eye(elements.shape[-1], dtype=elements.dtype, device=elements.device)
        return slope_along(self.matrix, identity.expand_as(elements), elements)[1]


def charge_representation(charge: int) -> Representation:
    """U(1) -> U(1), z -> z^m with an integer m; other powers are no functions of z."""
    if isinstance(charge, bool) or not isinstance(charge, int):
        raise ArgumentError("charge", charge, "an integer", "pass charge=1")
    return Representation(StructureGroup(1, True, False, True), lambda g: g**charge)


def dual_representation(group: StructureGroup) -> Representation:
    """g -> g^(-T), of covectors; X -> -X^T in the algebra."""
    return Representation(group, lambda g: torch.linalg.inv(g).mT)


def determinant_representation(group: StructureGroup) -> Representation:
    """g -> det g; X -> tr X in the algebra. Its bundle is the determinant line bundle."""
    line = StructureGroup(1, group.isometric, group.unimodular, group.is_complex)
    return Representation(line, lambda g: torch.linalg.det(g)[..., None, None])


def adjoint_representation(group: StructureGroup) -> Representation:
    """Ad(g): M -> g M g^(-1) on matrices, flattened by rows to width r^2; X -> [X, .]."""
    target = StructureGroup(group.size**2, group.isometric, True, group.is_complex)

    def adjoint(g: Tensor) -> Tensor:
        square = torch.einsum("...ij,...lk->...ikjl", g, torch.linalg.inv(g))
        return square.reshape(*g.shape[:-2], group.size**2, group.size**2)

    return Representation(target, adjoint)
