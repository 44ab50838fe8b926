"""The Fisher-Rao geometry of categorical distributions: a piece of a sphere of radius 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm, safe_sqrt
from .simplex import check_interior, check_pair
from .square_root_arguments import arsinhc, cosh_root, sinhc


class CategoricalFisherRao:
    """Distributions p on n outcomes with ds^2 = sum_i dp_i^2 / p_i.

    p -> 2 sqrt(p) maps them to the positive part of a sphere of radius 2, where geodesics are
    great circles. Points are probabilities [*b, n], tangents are [*b, n] with sum 0. Curvature is
    1/4 everywhere.

    Source: Rao, Information and accuracy attainable in the estimation of statistical parameters,
    1945; Amari and Nagaoka, Methods of information geometry, 2000, 2.5.
    """

    def metric_matrix(self, coordinates: Float[Tensor, "*b m"]) -> Float[Tensor, "*b m m"]:
        """g_ij = delta_ij / p_i + 1 / p_n in the chart of the first m = n - 1 probabilities.

        Raises:
            ArgumentError: a coordinate, or what they leave to the last outcome, is not above 0.
        """
        last = 1 - coordinates.sum(-1, keepdim=True)
        if not bool((coordinates > 0).all() & (last > 0).all()):
            raise ArgumentError(
                "coordinates",
                "a point outside of the open simplex",
                "entries > 0 with a sum below 1",
                "leave out the last probability only",
            )
        return torch.diag_embed(1 / coordinates) + (1 / last)[..., None]

    def logit_metric_matrix(self, logits: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """diag(p) - p p^T with p = softmax(logits): the Hessian of logsumexp.

        It is 0 along a shift of all logits, which does not change p.
        """
        p = logits.softmax(-1)
        return torch.diag_embed(p) - p[..., :, None] * p[..., None, :]

    def inner(
        self, point: Float[Tensor, "*b n"], u: Float[Tensor, "*b n"], v: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """sum_i u_i v_i / p_i of two tangents."""
        check_interior("point", point)
        _check_tangent("u", point, u)
        _check_tangent("v", point, v)
        return (u * v / point).sum(-1)

    def distance(self, p: Float[Tensor, "*b n"], q: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """2 arccos(sum_i sqrt(p_i q_i)), from 0 to pi; zeros are allowed.

        Computed as 4 arcsin(|sqrt(p) - sqrt(q)| / 2), which keeps its digits where p is near q.
        At p = q the value and the gradient are 0.
        """
        check_pair(p, q)
        return 4 * (safe_norm(safe_sqrt(p) - safe_sqrt(q)) / 2).asin()

    def exp(
        self, point: Float[Tensor, "*b n"], tangent: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The end of the geodesic that leaves `point` with velocity `tangent` after time 1.

            sqrt(p(1)) = cos(s) sqrt(p) + sin(s) / s v / (2 sqrt(p)),  s = |v| / 2

        Raises:
            ArgumentError: it leaves the simplex before.
        """
        check_interior("point", point)
        _check_tangent("tangent", point, tangent)
        root = point.sqrt()
        velocity = tangent / (2 * root)
        end = _great_circle(root, velocity)
        rounding = 16 * torch.finfo(end.dtype).eps
        # No two points of the simplex are further apart on the sphere than a right angle.
        far = velocity.detach().square().sum(-1) > (torch.pi / 2) ** 2 * (1 + rounding)
        if bool(far.any()) or not bool((end >= -rounding).all()):
            raise ArgumentError(
                "tangent",
                "a velocity that leaves the simplex within time 1",
                "a shorter one",
                "multiply it by a smaller step",
            )
        return end.square()

    def log(
        self, point: Float[Tensor, "*b n"], end: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b n"]:
        """The velocity at `point` of the geodesic that reaches `end` after time 1."""
        check_interior("point", point)
        check_pair(point, end)
        root = point.sqrt()
        return 2 * root * _velocity(root, safe_sqrt(end))

    def geodesic(
        self, start: Float[Tensor, "*b n"], end: Float[Tensor, "*b n"], time: float | Tensor
    ) -> Float[Tensor, "*b n"]:
        """The point at `time` between 0 (start) and 1 (end) on the great circle through both."""
        check_pair(start, end)
        first, last = safe_sqrt(start), safe_sqrt(end)
        return _great_circle(first, time * _velocity(first, last)).square()

    def transport(
        self,
        start: Float[Tensor, "*b n"],
        end: Float[Tensor, "*b n"],
        tangent: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b n"]:
        """A tangent at `start` carried in parallel along the geodesic to `end`.

        On the sphere w -> w - (y . w) / (1 + x . y) (x + y).
        """
        check_interior("start", start)
        check_interior("end", end)
        check_pair(start, end)
        _check_tangent("tangent", start, tangent)
        first, last = start.sqrt(), end.sqrt()
        carried = tangent / (2 * first)
        part = (last * carried).sum(-1, keepdim=True)
        part = part / (1 + (first * last).sum(-1, keepdim=True))
        return 2 * last * (carried - part * (first + last))


def _great_circle(start: Tensor, velocity: Tensor) -> Tensor:
    """cos(s) x + sin(s) / s w with s = |w|."""
    square = -velocity.square().sum(-1, keepdim=True)
    return cosh_root(square) * start + sinhc(square) * velocity


def _velocity(start: Tensor, end: Tensor) -> Tensor:
    """The tangent at x towards y, as long as their angle: (y - (x . y) x) angle / sin(angle).

    With c = |x - y| the angle is 2 arcsin(c / 2), its sine c sqrt(1 - c^2 / 4), and x . y is
    1 - c^2 / 2.
    """
    step = end - start
    square = step.square().sum(-1, keepdim=True) / 4
    return (step + 2 * square * start) * arsinhc(-square) / (1 - square).sqrt()


def _check_tangent(name: str, point: Tensor, tangent: Tensor) -> None:
    if tangent.shape[-1:] != point.shape[-1:]:
        raise ArgumentError(
            name, f"shape {list(tangent.shape)}", f"[..., {point.shape[-1]}]", "match the point"
        )
    allowed = 1e3 * torch.finfo(tangent.dtype).eps * (1 + tangent.detach().abs().sum(-1))
    if not bool((tangent.detach().sum(-1).abs() <= allowed).all()):
        raise ArgumentError(
            name, "entries that do not sum to 0", "a tangent of the simplex", "take its mean off"
        )
