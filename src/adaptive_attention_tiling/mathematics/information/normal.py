"""The Fisher-Rao geometry of univariate normal distributions: a hyperbolic plane."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import safe_norm
from .square_root_arguments import arsinhc, cosh_root, sinhc

_ROOT2 = math.sqrt(2)


class NormalFisherRao:
    """N(mu, sigma^2) with ds^2 = (dmu^2 + 2 dsigma^2) / sigma^2; K = -1/2.

    Points and tangents are [*b, 2] in the coordinates (mu, sigma), sigma > 0. With x = mu / sqrt(2)
    this is twice the metric of the half-plane (x, sigma), so distances are sqrt(2) times those
    there. Everything is in closed form and smooth where points coincide.

    Source: Atkinson and Mitchell, Rao's distance measure, 1981; Costa, Santos and Strapasson,
    Fisher information distance: a geometrical reading, 2015, section 2.
    """

    def metric_matrix(self, point: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2 2"]:
        """diag(1 / sigma^2, 2 / sigma^2)."""
        sigma = _deviation("point", point)
        return torch.diag_embed(torch.stack([sigma**-2, 2 * sigma**-2], -1))

    def inner(
        self, point: Float[Tensor, "*b 2"], u: Float[Tensor, "*b 2"], v: Float[Tensor, "*b 2"]
    ) -> Float[Tensor, "*b"]:
        """(u_mu v_mu + 2 u_sigma v_sigma) / sigma^2."""
        sigma = _deviation("point", point)
        return (u[..., 0] * v[..., 0] + 2 * u[..., 1] * v[..., 1]) / sigma**2

    def distance(self, p: Float[Tensor, "*b 2"], q: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
        """2 sqrt(2) arsinh(sqrt(((mu_1 - mu_2)^2 / 2 + (s_1 - s_2)^2) / (4 s_1 s_2)))."""
        return 2 * _ROOT2 * _half_chord(p, q).asinh()

    def exp(
        self, point: Float[Tensor, "*b 2"], tangent: Float[Tensor, "*b 2"]
    ) -> Float[Tensor, "*b 2"]:
        """The end of the geodesic that leaves `point` with velocity `tangent` after time 1.

        From (0, 1) with half-plane velocity r (sin f, cos f) it reaches
        (sinh(r) sin f, 1) / (cosh(r) - sinh(r) cos f).
        """
        sigma = _deviation("point", point)[..., None]
        velocity = _to_plane(tangent) / sigma
        square = velocity.square().sum(-1)
        across, up = velocity.unbind(-1)
        shrink = _shrink(square, across, up)
        reached = torch.stack([sinhc(square) * across / shrink, 1 / shrink], -1)
        origin = _to_plane(point) * point.new_tensor([1.0, 0.0])
        return _from_plane(origin + sigma * reached)

    def log(
        self, point: Float[Tensor, "*b 2"], end: Float[Tensor, "*b 2"]
    ) -> Float[Tensor, "*b 2"]:
        """The velocity at `point` of the geodesic that reaches `end` after time 1."""
        sigma, _ = _deviation("point", point), _deviation("end", end)
        x = (end[..., 0] - point[..., 0]) / (_ROOT2 * sigma)
        y = end[..., 1] / sigma
        direction = torch.stack([x / y, (x.square() + (y - 1) * (y + 1)) / (2 * y)], -1)  # sinh r
        half = (x.square() + (y - 1).square()) / (4 * y)  # sinh(r / 2)^2
        ratio = arsinhc(half) / (1 + half).sqrt()  # r / sinh r
        return _from_plane(direction * (ratio * sigma)[..., None])

    def geodesic(
        self, start: Float[Tensor, "*b 2"], end: Float[Tensor, "*b 2"], time: float | Tensor
    ) -> Float[Tensor, "*b 2"]:
        """The point at `time`, from 0 (start) to 1 (end); beyond them as well."""
        return self.exp(start, time * self.log(start, end))

    def transport(
        self,
        start: Float[Tensor, "*b 2"],
        end: Float[Tensor, "*b 2"],
        tangent: Float[Tensor, "*b 2"],
    ) -> Float[Tensor, "*b 2"]:
        """A tangent at `start` carried in parallel along the geodesic to `end`.

        Against the frame (sigma d/dx, sigma d/dsigma) it turns by the angle of -(a + i b)^2, with
        a the difference of x and b = sigma_1 + sigma_2, as z_2 - conj(z_1) over z_1 - conj(z_2).
        """
        ratio = _deviation("end", end) / _deviation("start", start)
        plane = _to_plane(
            torch.stack([end[..., 0] - start[..., 0], end[..., 1] + start[..., 1]], -1)
        )
        a, b = plane.unbind(-1)
        square = a.square() + b.square()
        cosine, sine = (b.square() - a.square()) / square, -2 * a * b / square
        u, v = _to_plane(tangent).unbind(-1)
        turned = torch.stack([cosine * u - sine * v, sine * u + cosine * v], -1)
        return _from_plane(turned * ratio[..., None])


def _deviation(name: str, point: Tensor) -> Tensor:
    """sigma, if the point is one."""
    if point.shape[-1:] != (2,) or not point.is_floating_point():
        raise ArgumentError(
            name, f"{point.dtype} {list(point.shape)}", "floating [..., 2]", "pass (mu, sigma)"
        )
    # Written so that a NaN fails as well.
    if not bool((point[..., 1] > 0).all() & point.isfinite().all()):
        raise ArgumentError(
            name,
            f"sigma {point[..., 1].min().item():.3g}",
            "finite (mu, sigma) with sigma > 0",
            "pass standard deviations",
        )
    return point[..., 1]


def _to_plane(pair: Tensor) -> Tensor:
    return pair / pair.new_tensor([_ROOT2, 1.0])


def _from_plane(pair: Tensor) -> Tensor:
    return pair * pair.new_tensor([_ROOT2, 1.0])


def _half_chord(p: Tensor, q: Tensor) -> Tensor:
    """sinh(r / 2), r the distance in the half-plane."""
    scale = 2 * _deviation("p", p).sqrt() * _deviation("q", q).sqrt()
    return safe_norm(_to_plane(p - q)) / scale


def _shrink(square: Tensor, across: Tensor, up: Tensor) -> Tensor:
    """cosh r - sinh r cos f; far up as e^-r + sinh r (1 - cos f), without cancelling."""
    far = (square > 1) & (up > 0)
    length = torch.where(far, square, 1.0).sqrt()
    versine = across.square() / (length * (length + torch.where(far, up, 0.0)))
    upward = (-length).exp() + length.sinh() * versine
    return torch.where(far, upward, cosh_root(square) - sinhc(square) * up)
