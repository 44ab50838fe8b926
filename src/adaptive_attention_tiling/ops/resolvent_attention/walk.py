"""A walk over tokens by repeated attention."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


def walk(
    attend: Callable[[Tensor], Tensor],
    value: Float[Tensor, "*b T E"],
    *,
    damping: float,
    hops: int,
    truncated: bool = False,
) -> Float[Tensor, "*b T E"]:
    """z_m of z_0 = v, z_{k+1} = (1 - alpha) v + alpha A z_k.

    The error against (1 - alpha) (I - alpha A)^-1 v is at most alpha^m (max v - min v) in each
    channel, for any A with rows >= 0 that sum to 1.

    Args:
        attend: z -> A z, of the shape of v. Any attention whose weights do not depend on the
            values: `lambda z: tiled_attention(q, k, z)` as well.
        damping: alpha in [0, 1), the probability to go on.
        hops: m >= 0, so many calls of `attend`.
        truncated: leave out paths of more than m hops, instead of ending them at the m-th. Rows
            then sum to 1 - alpha^(m + 1), and the operator's error has exactly the norm
            alpha^(m + 1) (largest row sum).
    """
    check_damping(damping)
    if isinstance(hops, bool) or not isinstance(hops, int) or hops < 0:
        raise ArgumentError("hops", hops, "a whole number >= 0", "or name a tolerance instead")
    restart = (1 - damping) * value
    out = restart if truncated else value
    for _ in range(hops):
        step = attend(out)
        if step.shape != value.shape:
            raise ArgumentError(
                "attend",
                f"{list(value.shape)} sent to {list(step.shape)}",
                "the shape of the values",
                "repeat shared heads of values first",
            )
        out = restart + damping * step
    return out


def hops_for(damping: float, tolerance: float) -> int:
    """The least m with alpha^m <= tolerance."""
    check_damping(damping)
    if not 0 < tolerance < math.inf:
        raise ArgumentError("tolerance", tolerance, "a number > 0", "pass tolerance=1e-3")
    if tolerance >= 1:
        return 0
    if damping == 0:
        return 1  # 0^0 = 1
    return math.ceil(math.log(tolerance) / math.log(damping) * (1 - 1e-12))


def check_damping(damping: float) -> None:
    """Raise unless alpha lies in [0, 1)."""
    if isinstance(damping, bool) or not 0 <= damping < 1:
        raise ArgumentError(
            "damping", damping, "a number in [0, 1)", "at 1 a walk never ends; pass damping=0.5"
        )
