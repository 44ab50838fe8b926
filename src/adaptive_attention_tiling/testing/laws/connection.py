"""How far a connection is from Levi-Civita's: torsion, the metric's derivative, cyclic sums."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.geometry.curvature import covariant_differential
from ...mathematics.geometry.jets import MetricJet
from .metric_samples import directional_jacobian, inside


def connection_values(
    connection: Tensor | Callable[[Tensor], Tensor] | None,
    points: Tensor | None,
    metric: Float[Tensor, "*b n n"],
    *,
    on_grid: bool,
) -> Float[Tensor, "*b n n n"]:
    """Gamma^k_ij [*b, k, i, j] where the metric is looked at.

    Raises:
        ArgumentError: neither a tensor nor a function, or another shape.
    """
    wanted = (*metric.shape, metric.shape[-1])
    if isinstance(connection, Tensor):
        values = inside(connection, metric.shape[-1]) if on_grid else connection
    elif callable(connection) and points is not None and not on_grid:
        with torch.no_grad():
            values = connection(points.detach())
    else:
        raise ArgumentError(
            "connection", type(connection).__name__,
            "Gamma^k_ij [*b, k, i, j], or a function of points beside a metric that is one",
            "pass one of these",
        )  # fmt: skip
    if values.shape != wanted:
        raise ArgumentError(
            "connection", f"shape {list(values.shape)}", f"{list(wanted)}",
            "pass Gamma^k_ij [*b, k, i, j] of each point",
        )  # fmt: skip
    return values.detach()


def torsion(gamma: Float[Tensor, "*b n n n"], unit: float) -> Float[Tensor, "*b"]:
    """max |Gamma^k_ij - Gamma^k_ji| over max(unit, |Gamma|)."""
    return _largest(gamma - gamma.mT, 3) / _largest(gamma, 3).clamp(min=unit)


def compatibility_defect(
    gamma: Float[Tensor, "*b n n n"], jet: MetricJet, unit: float
) -> Float[Tensor, "*b"]:
    """max |g^il D_k g_lj| over max(unit, |Gamma|, |g^il d_k g_lj|)."""
    inverse = torch.linalg.inv(jet.metric)
    change = covariant_differential(gamma, jet.metric, jet.first, "ll")
    raised, whole = (
        torch.einsum("...il,...ljk->...ijk", inverse, part) for part in (change, jet.first)
    )
    scale = torch.maximum(_largest(gamma, 3), _largest(whole, 3)).clamp(min=unit)
    return _largest(raised, 3) / scale


def bianchi_defect(
    connection: Callable[[Tensor], Tensor], points: Float[Tensor, "*b n"], unit: float
) -> Float[Tensor, "*b"]:
    """max |R^a_bcd + R^a_cdb + R^a_dbc| over max(unit, |Gamma|)^2 or |d Gamma|.

    R^a_bcd = d_c Gamma^a_db - d_d Gamma^a_cb + Gamma^a_ce Gamma^e_db - Gamma^a_de Gamma^e_cb, as
    in Misner, Thorne and Wheeler, equation 8.44, the derivative's direction first in Gamma.
    """
    gamma, slope = directional_jacobian(connection, points)
    half = torch.einsum("...adbc->...abcd", slope)
    half = half + torch.einsum("...ace,...edb->...abcd", gamma, gamma)
    riemann = half - half.transpose(-1, -2)
    cyclic = riemann + torch.einsum("...acdb->...abcd", riemann)
    cyclic = cyclic + torch.einsum("...adbc->...abcd", riemann)
    scale = torch.maximum(_largest(gamma, 3).clamp(min=unit).square(), _largest(slope, 4))
    return _largest(cyclic, 4) / scale


def _largest(tensor: Tensor, axes: int) -> Tensor:
    return tensor.abs().flatten(-axes).amax(-1)
