"""Points of hyperbolic space given by tangents at the origin, without a check of values.

A tangent t names the point exp_0(t) of curvature -1, at distance r = |t| in direction e = t / r.
Nothing here runs over for long tangents, and no branch depends on values, so that compilers of
graphs can follow; `Lorentz` checks what it is given and goes on from points instead.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..linalg import safe_norm
from .radial_functions import tanhc

_FARTHEST = 40.0  # sinh(40)^2 is still a float32


def klein_point(tangent: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
    """x = u / X_0 = e tanh r, the point exp_0(t) = (X_0, u) in Klein's projective model.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds (2019), section 6.1.
    """
    return tangent * tanhc(tangent)


def pairwise_square_distance(tangents: Float[Tensor, "*b k n"]) -> Float[Tensor, "*b k k"]:
    """d(exp_0 t_j, exp_0 t_l)^2 of all pairs, by the law of cosines in half angles:

        sinh(d / 2)^2 = sinh((r_j - r_l) / 2)^2 + sinh r_j sinh r_l |e_j - e_l|^2 / 4

    whose terms are positive, so that nothing cancels. Points farther than 40 from the origin are
    taken at 40, in their direction. The gradient at a tangent that is exactly 0 is taken as 0.

    Source: Ratcliffe, Foundations of Hyperbolic Manifolds (2019), theorem 3.5.3.
    """
    radius = safe_norm(tangents, keepdim=True)
    direction = tangents / torch.where(radius > 0, radius, 1.0)
    radius = radius.clamp(max=_FARTHEST)
    chord = pairwise_square_difference(direction)
    sinh = radius.sinh()
    square = ((radius - radius.mT) / 2).sinh().square() + sinh * sinh.mT * chord / 4
    tiny = square < torch.finfo(square.dtype).eps ** 2
    angle = torch.where(tiny, 1.0, square).sqrt().asinh()
    return torch.where(tiny, 4 * square, (2 * angle).square())


def pairwise_square_difference(vectors: Float[Tensor, "*b k n"]) -> Float[Tensor, "*b k k"]:
    """|x_j - x_l|^2 of all pairs, from differences: exactly 0 for equal vectors."""
    mode = "donot_use_mm_for_euclid_dist"
    distance: Tensor = torch.cdist(vectors, vectors, compute_mode=mode)
    return distance.square()
