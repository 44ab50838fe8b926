"""Formulas of hyperbolic space of curvature -1 that lose no digits far out or at equal points.

A point at distance r from the origin in the unit direction e is kept as

    u = e sinh r        its spatial part on the hyperboloid -X_0^2 + |u|^2 = -1 (Lorentz form), or
    x = e tanh(r / 2)   in the Poincare ball; x = u / (1 + X_0),  u = 2 x / (1 - |x|^2)

and a tangent by its components t in the orthonormal frame that is carried in parallel from the
origin along the radius. Its length is |t|. In the ball such frames are parallel to the axes:
dx = t (1 - |x|^2) / 2. In Lorentz form du = t + u (u . t) / (1 + X_0).

Source: Ratcliffe, Foundations of Hyperbolic Manifolds (2019), chapters 3 and 4; Ungar, Analytic
Hyperbolic Geometry (2008), for gyrations. The forms without cancellation are derived here.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..linalg import safe_norm
from .radial_functions import cosh_of_sinh, sinhc

Vectors = Float[Tensor, "*b n"]


def dot(first: Vectors, second: Vectors) -> Float[Tensor, "*b 1"]:
    """x . y, its axis kept."""
    return (first * second).sum(-1, keepdim=True)


def seen_from(u: Vectors, v: Vectors) -> Vectors:
    """e sinh d of v with u moved to the origin by a boost: the direction of the geodesic from u.

    v - u X_0(v) + u (u . v) / (1 + X_0(u)), rearranged. Near the origin it is written in v - u.
    Far out, where du and X_0 cancel, v is split along and across u: with p the part across,
    m = sqrt(1 + |p|^2) and v's part along m sinh(s), the boost takes s to s - r.
    """
    u, v = torch.broadcast_tensors(u, v)
    near = safe_norm(u.detach(), keepdim=True) < 1
    return torch.where(
        near, _seen_near(torch.where(near, u, 0.0), v), _seen_far(torch.where(near, 1.0, u), v)
    )


def _seen_near(u: Tensor, v: Tensor) -> Tensor:
    step, x0, y0 = v - u, cosh_of_sinh(u), cosh_of_sinh(v)
    fall = dot(step, u + v) / (x0 + y0)  # X_0(v) - X_0(u)
    return step - u * (dot(v, step) / (1 + y0) - dot(u, v) / (1 + y0) * fall / (1 + x0))


def _seen_far(u: Tensor, v: Tensor) -> Tensor:
    radius = safe_norm(u, keepdim=True)
    x0, y0 = cosh_of_sinh(u), cosh_of_sinh(v)
    axis = u / radius
    across = across_part(v, u)
    along = dot(axis, v)
    mass = cosh_of_sinh(across)
    excess = dot(across, across / (1 + mass))  # m - 1
    ahead = along > 0
    tanh = radius / x0
    ratio = (along + radius * mass) / torch.where(ahead, along + tanh * y0, 1.0)
    forward = dot(axis, v - u) / x0 * ratio - excess * (tanh * ratio)
    behind = torch.where(ahead, 0.0, along) * x0 - radius * torch.where(ahead, 0.0, y0)
    return across + axis * torch.where(ahead, forward, behind)


def moved(u: Vectors, t: Vectors) -> Vectors:
    """The point at distance |t| from u in the direction t.

    With z = t sinh|t| / |t| this is `seen_from(-u, z)`. Short steps are added to u, so that they
    cost no more digits than the rounding of the end does.
    """
    u, z = torch.broadcast_tensors(u, t * sinhc(t))
    short = safe_norm(z.detach(), keepdim=True) < 1
    step = torch.where(short, z, 0.0)
    rise = dot(step, step) / (1 + cosh_of_sinh(step)) + dot(u, step) / (1 + cosh_of_sinh(u))
    return torch.where(short, u + (step + u * rise), seen_from(-u, torch.where(short, u, z)))


def across_part(v: Vectors, u: Vectors) -> Vectors:
    """v - u (u . v) / (u . u), to all digits of itself even where v is nearly parallel to u.

    The multiple of u is taken off in pieces of half the digits, which times the halves of u are
    exact, as is each difference while it cancels (Dekker, A floating-point technique for extending
    the available precision, 1971). Six pieces leave 2^-72 (float32) of v along u; the gradient is
    that of the plain formula.
    """
    u = u * torch.exp2(-u.detach().abs().amax(-1, keepdim=True).log2().floor())
    plain = v - u * (dot(u, v) / dot(u, u))
    rest, axis = v.detach(), u.detach()
    high, low = _halves(axis)
    square = dot(axis, axis)
    for _ in range(6):
        piece = _halves(dot(axis, rest) / square)[0]
        rest = (rest - piece * high) - piece * low
    return rest + (plain - plain.detach())


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as a sum of two numbers with half the digits each."""
    bits = 12 if x.dtype == torch.float32 else 27
    scaled = x * (2**bits + 1)
    high = scaled - (scaled - x)
    return high, x - high


def conformal_gap(x: Vectors) -> Float[Tensor, "*b 1"]:
    """1 - |x|^2 of a point in the unit ball, to all digits near the boundary too.

    x = h + k + l, with h and k cut to grids so coarse that h . h <= 1 and h . k sum up exactly:
    (1 - h . h - 2 h . k) - (k . k + l . (x + h + k)), and only what is tiny is rounded. (In some
    hundred dimensions; beyond, h . k is rounded too, by 2^-33 in float32.)
    """
    plain = 1 - dot(x, x)
    fixed = x.detach()
    coarse, fine = (2.0**12, 2.0**20) if x.dtype == torch.float32 else (2.0**26, 2.0**46)
    h = (fixed * coarse).trunc() / coarse
    k = ((fixed - h) * fine).trunc() / fine
    rest = dot(k, k) + dot(fixed - h - k, fixed + h + k)
    exact = (1 - dot(h, h) - 2 * dot(h, k)) - rest
    return exact + (plain - plain.detach())


def rotated(x: Vectors, step: Vectors, half: Tensor, tangent: Vectors) -> Vectors:
    """A tangent's components after transport along the geodesic from x to y, both in the ball.

    Going from the frame at x to the frame at y turns the plane of x and y by the area of the
    triangle (origin, x, y): the gyration (1 - y x*) / (1 - y* x) of the disc. With
    K t = z (x . t) - x (z . t),  half = 1 - x . y, and tan(area / 2) = |K| / half,

        t' = t - 2 / (1 + |k|^2) (k t - k^2 t),     k = K / half

    Args:
        step: z, any vector with z ^ x = y ^ x, as y - x is.
    """
    z = step / half
    square = dot(x, x) * dot(z, z) - dot(x, z).square()

    def turn(t: Tensor) -> Tensor:
        return z * dot(x, t) - x * dot(z, t)

    once = turn(tangent)
    return tangent - 2 / (1 + square) * (once - turn(once))


def half_way(tangent: Vectors) -> tuple[Vectors, Float[Tensor, "*b 1"]]:
    """e tanh(d / 2) in the ball and 1 - tanh(d / 2)^2, where the geodesic from the origin ends."""
    s = tangent / 2 * sinhc(tangent / 2)
    cosh = cosh_of_sinh(s)
    return s / cosh, (1 / cosh).square()
