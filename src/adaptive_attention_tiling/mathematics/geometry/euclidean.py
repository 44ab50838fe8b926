"""Flat space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..linalg import safe_norm
from .checks import check_vectors
from .manifold import AbstractManifold


class Euclidean(AbstractManifold):
    """R^n with g_ij = delta_ij; points are coordinates [*b, n]."""

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless `point` is a finite [*b, n]."""
        check_vectors(name, point, self.dimension)

    def inner(self, point: Tensor, first: Tensor, second: Tensor) -> Float[Tensor, "*b"]:
        """u . v."""
        _, first, second = torch.broadcast_tensors(point, first, second)
        return (first * second).sum(-1)

    def exp(self, point: Tensor, tangent: Tensor) -> Tensor:
        """p + v."""
        self.check_point(point)
        self.check_point(tangent, "tangent")
        return point + tangent

    def log(self, point: Tensor, other: Tensor) -> Tensor:
        """q - p."""
        self.check_point(point)
        self.check_point(other, "other")
        return other - point

    def distance(self, point: Tensor, other: Tensor) -> Float[Tensor, "*b"]:
        """|q - p|, with derivatives 0 where it is 0."""
        return safe_norm(self.log(point, other))

    def transport(self, point: Tensor, other: Tensor, tangent: Tensor) -> Tensor:
        """The tangent itself."""
        carried: Tensor = torch.broadcast_tensors(point, other, tangent)[2]
        return carried

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """delta_ij."""
        identity = torch.eye(self.dimension, dtype=coordinates.dtype, device=coordinates.device)
        return identity.expand(*coordinates.shape, -1)
