"""Products of manifolds."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm
from .manifold import AbstractManifold


class ProductManifold(AbstractManifold):
    """M_1 x ... x M_k with g = g_1 + ... + g_k: every map acts on each part by itself.

    A point [*b, m] holds the parts' points one after another, each flattened; `join` and `parts`
    put it together and take it apart, and serve tangents as well. Coordinates are those of the
    parts, one after another, so that the metric is block diagonal.

    Source: Lee, Introduction to Riemannian Manifolds (2018), equation 2.12.

    Args:
        factors: the M_i, one at least.
    """

    def __init__(self, *factors: AbstractManifold) -> None:
        if not factors:
            raise ArgumentError("factors", "none", "one manifold or more", "pass the factors")
        super().__init__(sum(factor.dimension for factor in factors))
        self.factors = factors
        self._shapes = [factor.point_shape for factor in factors]
        self._sizes = [prod(shape) for shape in self._shapes]

    def join(self, *parts: Tensor) -> Float[Tensor, "*b m"]:
        """One tensor of a point, or a tangent, of each factor."""
        flat = [
            part.reshape(*part.shape[: part.dim() - len(shape)], size)
            for part, shape, size in zip(parts, self._shapes, self._sizes, strict=True)
        ]
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in flat))
        return torch.cat([part.expand(*batch, -1) for part in flat], -1)

    def parts(self, point: Float[Tensor, "*b m"], name: str = "point") -> list[Tensor]:
        """The point, or the tangent, of each factor."""
        if point.dim() < 1 or point.shape[-1] != sum(self._sizes):
            raise ArgumentError(
                name,
                f"shape {list(point.shape)}",
                f"[*b, {sum(self._sizes)}]",
                "join(...) makes one tensor of the factors' points",
            )
        split = point.split(self._sizes, -1)
        return [
            part.reshape(*part.shape[:-1], *shape)
            for part, shape in zip(split, self._shapes, strict=True)
        ]

    def check_point(self, point: Tensor, name: str = "point") -> None:
        """Raise an ArgumentError unless each part is a point of its factor."""
        for factor, part in zip(self.factors, self.parts(point, name), strict=True):
            factor.check_point(part, name)

    def inner(self, point: Tensor, first: Tensor, second: Tensor) -> Float[Tensor, "*b"]:
        """g_1(u_1, v_1) + ... + g_k(u_k, v_k)."""
        each = self._each("inner", point, first, second)
        return torch.stack(torch.broadcast_tensors(*each)).sum(0)

    def exp(self, point: Tensor, tangent: Tensor) -> Tensor:
        """exp of each part."""
        return self.join(*self._each("exp", point, tangent))

    def log(self, point: Tensor, other: Tensor) -> Tensor:
        """log of each part."""
        return self.join(*self._each("log", point, other))

    def distance(self, point: Tensor, other: Tensor) -> Float[Tensor, "*b"]:
        """The root of the sum of squares of the parts' distances; derivatives 0 where it is 0."""
        return safe_norm(torch.stack(self._each("distance", point, other), -1))

    def transport(self, point: Tensor, other: Tensor, tangent: Tensor) -> Tensor:
        """The transport of each part."""
        return self.join(*self._each("transport", point, other, tangent))

    def metric_matrix(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """The factors' matrices along the diagonal."""
        parts = coordinates.split([factor.dimension for factor in self.factors], -1)
        rows, start = [], 0
        for factor, part in zip(self.factors, parts, strict=True):
            end = self.dimension - start - factor.dimension
            rows.append(torch.nn.functional.pad(factor.metric_matrix(part), (start, end)))
            start += factor.dimension
        return torch.cat(rows, -2)

    def coordinates(self, point: Tensor) -> Float[Tensor, "*b n"]:
        """Those of the parts, one after another."""
        return torch.cat(self._each("coordinates", point), -1)

    def from_coordinates(self, coordinates: Float[Tensor, "*b n"]) -> Tensor:
        """The points that have these coordinates."""
        parts = coordinates.split([factor.dimension for factor in self.factors], -1)
        each = zip(self.factors, parts, strict=True)
        return self.join(*(factor.from_coordinates(part) for factor, part in each))

    def _each(self, method: str, *tensors: Tensor) -> list[Tensor]:
        """A method of each factor, of its parts."""
        split = zip(*(self.parts(tensor) for tensor in tensors), strict=True)
        found = []
        for factor, parts in zip(self.factors, split, strict=True):
            ask: Callable[..., Tensor] = getattr(factor, method)
            found.append(ask(*parts))
        return found
