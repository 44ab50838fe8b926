"""Metrics given by samples on a periodic grid: derivatives by Fourier series, Ricci curvature.

A metric is [*b, *grid, n, n] with n axes, a torus R^n / lattice whose coordinates are the grid's.
Indices of derivatives come last. Derivatives of smooth metrics are exact to rounding once their
Fourier series has ended within the grid; products are not dealiased.
"""

from __future__ import annotations

import math
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..geometry.curvature import christoffel, first_kind, ricci, riemann
from ..geometry.jets import MetricJet
from ..linalg import check_symmetric, symmetric_part
from .periodic_grid import PeriodicGrid


def sampled_jet(grid: PeriodicGrid, metric: Float[Tensor, "*b *grid n n"]) -> MetricJet:
    """g_ij, d_k g_ij and d_k d_l g_ij at every point of the grid."""
    spectrum = grid.transform(metric.flatten(-2))
    k = grid.wavenumbers(metric.dtype, metric.device)
    odd, n = _odd(grid, k), metric.shape[-1]
    pairs = [(a, b) for a in range(n) for b in range(a, n)]
    second = [-k[..., a].square() if a == b else -odd[a] * odd[b] for a, b in pairs]
    symbols = torch.stack([*(1j * w for w in odd), *(w + 0j for w in second)], -1)
    every = (spectrum[..., None] * symbols[..., None, :]).flatten(-2)
    found = grid.inverse(every).unflatten(-1, (n, n, n + len(pairs)))
    places = [n + pairs.index((min(a, b), max(a, b))) for a in range(n) for b in range(n)]
    return MetricJet(metric, found[..., :n], found[..., places].unflatten(-1, (n, n)))


def sampled_ricci(
    grid: PeriodicGrid,
    metric: Float[Tensor, "*b *grid n n"],
    connection: Float[Tensor, "*b *grid n n n"] | None = None,
) -> Float[Tensor, "*b *grid n n"]:
    """R_ij of the Levi-Civita connection, or the symmetric part of that of another.

        R_ij = d_k Gamma^k_ij - d_j Gamma^k_ik + Gamma^k_kl Gamma^l_ij - Gamma^k_jl Gamma^l_ik

    Args:
        connection: Gamma^k_ij [*b, *grid, k, i, j], symmetric in i and j.

    Source: Lee, Introduction to Riemannian Manifolds (2018), section 7 and problem 7-2.
    """
    if connection is None:
        return ricci(metric, riemann(sampled_jet(grid, metric)))
    n = metric.shape[-1]
    spectrum = grid.transform(connection.flatten(-3))
    symbols = _odd(grid, grid.wavenumbers(metric.dtype, metric.device))
    parts = [grid.inverse(1j * w[..., None] * spectrum) for w in symbols]
    derivative = torch.stack(parts, -1).unflatten(-2, (n, n, n))  # [k, i, j, m]
    trace = torch.einsum("...kkl->...l", connection)
    found = torch.einsum("...kijk->...ij", derivative) - torch.einsum("...kikj->...ij", derivative)
    found = found + torch.einsum("...l,...lij->...ij", trace, connection)
    found = found - torch.einsum("...kjl,...lik->...ij", connection, connection)
    return symmetric_part(found)


def sampled_christoffel(
    grid: PeriodicGrid, metric: Float[Tensor, "*b *grid n n"]
) -> Float[Tensor, "*b *grid n n n"]:
    """Gamma^k_ij [*b, *grid, k, i, j] of the metric."""
    return christoffel(metric, sampled_jet(grid, metric).first)


def deturck_term(jet: MetricJet) -> Float[Tensor, "*b n n"]:
    """(L_W g)_ij = D_i W_j + D_j W_i with W_k = g^ij Gamma_kij, the flat torus as background.

    Added to -2 Ric it leaves g^kl d_k d_l g_ij and terms of first order: a parabolic equation.

    Source: DeTurck, J. Diff. Geom. 18 (1983); Chow and Knopf, The Ricci Flow (2004), section 3.3.
    """
    inverse = torch.linalg.inv(jet.metric)
    lower = first_kind(jet.first)
    covector = torch.einsum("...kij,...ij->...k", lower, inverse)
    inverse_change = -torch.einsum("...ia,...abm,...bj->...ijm", inverse, jet.first, inverse)
    lower_change = torch.stack([first_kind(part) for part in jet.second.unbind(-1)], -1)
    change = torch.einsum("...kijm,...ij->...km", lower_change, inverse)
    change = change + torch.einsum("...kij,...ijm->...km", lower, inverse_change)
    upper = torch.einsum("...ij,...j->...i", inverse, covector)
    found: Tensor = change + change.mT - 2 * torch.einsum("...kij,...k->...ij", lower, upper)
    return found


def scalar_of_ricci(metric: Tensor, ricci_tensor: Tensor) -> Float[Tensor, "*b"]:
    """R = g^ij R_ij."""
    found: Tensor = (torch.linalg.inv(metric) * ricci_tensor).sum((-1, -2))
    return found


def principal_curvatures(
    metric: Float[Tensor, "*b n n"], ricci_tensor: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b m"]:
    """The extreme sectional curvatures in two or three dimensions, where Ricci knows them all.

    K = R / 2 of a surface; in three dimensions R / 2 - rho_i across each eigenvector of Ric.
    """
    scalar = scalar_of_ricci(metric, ricci_tensor)[..., None]
    if metric.shape[-1] == 2:
        return scalar / 2
    root = torch.linalg.inv(torch.linalg.cholesky(metric))
    rho: Tensor = torch.linalg.eigvalsh(symmetric_part(root @ ricci_tensor @ root.mT))
    return scalar / 2 - rho


def largest_symbol(grid: PeriodicGrid, metric: Float[Tensor, "*b *grid n n"]) -> float:
    """The largest g^kl k_k k_l of a mode of the grid, at any point."""
    ends = [math.pi / h for h in grid.spacings]
    corners = [[1.0, *signs] for signs in product((1.0, -1.0), repeat=len(ends) - 1)]
    k = metric.new_tensor(corners) * metric.new_tensor(ends)
    inverse = torch.linalg.inv(metric.detach())
    return float(torch.einsum("...ij,ci,cj->...c", inverse, k, k).max())


def check_sampled_metric(grid: PeriodicGrid, metric: Tensor, name: str = "metric") -> None:
    """Raise unless this is [*b, *grid, n, n], finite, symmetric and positive definite."""
    check_sampled_form(grid, metric, name)
    values = torch.linalg.eigvalsh(symmetric_part(metric.detach()))[..., 0]
    if not bool((values > 0).all()):
        axes = len(grid.points)
        place = int(values.argmin())
        index = torch.unravel_index(torch.tensor(place), values.shape)[-axes:]
        raise ArgumentError(
            name, f"eigenvalue {float(values.min()):.6g} at {[int(i) for i in index]}",
            "a positive definite matrix everywhere", "take smaller steps, or stop earlier",
        )  # fmt: skip


def check_sampled_form(grid: PeriodicGrid, tensor: Tensor, name: str) -> None:
    """Raise unless this is a finite symmetric [*b, *grid, n, n]."""
    n = len(grid.points)
    if tuple(tensor.shape[-n - 2 :]) != (*grid.points, n, n):
        raise ArgumentError(
            name, list(tensor.shape), f"[*b, {', '.join(map(str, grid.points))}, {n}, {n}]",
            "sample it at grid.coordinates()",
        )  # fmt: skip
    check_symmetric(name, tensor)


def _odd(grid: PeriodicGrid, k: Tensor) -> list[Tensor]:
    """Wave numbers for odd powers: that of Nyquist has no sign and counts as 0."""
    ends = [math.pi / h for h in grid.spacings]
    return [
        torch.where((part.abs() - end).abs() < 1e-6 * end, 0.0, part)
        for part, end in zip(k.unbind(-1), ends, strict=True)
    ]
