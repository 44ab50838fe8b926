"""A metric and its derivatives at points, exact by forward mode.

Indices of derivatives come last: dg[..., i, j, k] = d_k g_ij, ddg[..., i, j, k, l] = d_k d_l g_ij.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

MetricFunction = Callable[[Tensor], Tensor]


class MetricJet(NamedTuple):
    """g_ij [*b, n, n], d_k g_ij [*b, n, n, n] and d_k d_l g_ij [*b, n, n, n, n]."""

    metric: Tensor
    first: Tensor
    second: Tensor


def jacobian(
    function: Callable[[Tensor], Tensor], point: Float[Tensor, "*b n"]
) -> tuple[Tensor, Tensor]:
    """f(x) [*b, *s] and d_k f [*b, *s, n] of a function of each point on its own, by forward mode.

    Unlike `torch.func.jacfwd` under `vmap`, the function is called with the whole batch.
    """
    basis = torch.eye(point.shape[-1], dtype=point.dtype, device=point.device)

    def along(direction: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.func.jvp(function, (point,), (direction.expand_as(point),))
        return found[0], found[1]

    values, derivatives = torch.func.vmap(along)(basis)
    return values[0], derivatives.movedim(0, -1)


def first_jet(metric: MetricFunction, point: Float[Tensor, "*b n"]) -> tuple[Tensor, Tensor]:
    """g and dg at each point."""
    return jacobian(metric, point)


def second_jet(metric: MetricFunction, point: Float[Tensor, "*b n"]) -> MetricJet:
    """g, dg and ddg at each point."""

    def first(x: Tensor) -> Tensor:
        value, derivative = jacobian(metric, x)
        return torch.cat([value[..., None], derivative], -1)

    both, derivatives = jacobian(first, point)
    return MetricJet(both[..., 0], both[..., 1:], derivatives[..., 1:, :])
