"""How far a connection is from Levi-Civita's: torsion, the metric's derivative, cyclic sums."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.geometry.curvature import covariant_differential
from ...mathematics.geometry.jets import MetricJet
from .balance import in_lengths
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


def largest_change(gamma: Float[Tensor, "*b n n n"], jet: MetricJet) -> Float[Tensor, "*b"]:
    """max |Gamma^k_ij| or |g^il d_k g_lj|: how fast the metric changes at each point."""
    change = _with_first_raised(jet, jet.first)
    return torch.maximum(_largest(gamma, 3), _largest(change, 3))


def torsion(gamma: Float[Tensor, "*b n n n"]) -> Float[Tensor, "*b"]:
    """max |Gamma^k_ij - Gamma^k_ji|."""
    return _largest(gamma - gamma.mT, 3)


def compatibility_defect(gamma: Float[Tensor, "*b n n n"], jet: MetricJet) -> Float[Tensor, "*b"]:
    """max |g^il D_k g_lj|."""
    change = covariant_differential(gamma, jet.metric, jet.first, "ll")
    return _largest(_with_first_raised(jet, change), 3)


def bianchi_defect(
    connection: Callable[[Tensor], Tensor],
    points: Float[Tensor, "*b n"],
    lengths: Float[Tensor, "*b n"],
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """max |R^a_bcd + R^a_cdb + R^a_dbc|, and max |d Gamma|, with coordinates in these lengths.

    R^a_bcd = d_c Gamma^a_db - d_d Gamma^a_cb + Gamma^a_ce Gamma^e_db - Gamma^a_de Gamma^e_cb, as
    in Misner, Thorne and Wheeler, equation 8.44, the derivative's direction first in Gamma.
    """
    gamma, slope = directional_jacobian(connection, points)
    gamma, slope = in_lengths(gamma, lengths, 2), in_lengths(slope, lengths, 3)
    half = torch.einsum("...adbc->...abcd", slope)
    half = half + torch.einsum("...ace,...edb->...abcd", gamma, gamma)
    riemann = half - half.transpose(-1, -2)
    cyclic = riemann + torch.einsum("...acdb->...abcd", riemann)
    cyclic = cyclic + torch.einsum("...adbc->...abcd", riemann)
    return _largest(cyclic, 4), _largest(slope, 4)


def _with_first_raised(jet: MetricJet, tensor: Float[Tensor, "*b n n n"]) -> Tensor:
    return torch.einsum("...il,...ljk->...ijk", torch.linalg.inv(jet.metric), tensor)


def _largest(tensor: Tensor, axes: int) -> Tensor:
    return tensor.abs().flatten(-axes).amax(-1)
