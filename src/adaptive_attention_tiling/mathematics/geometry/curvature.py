"""Connection and curvature of a metric whose derivatives at a point are known: algebra only.

Indices of derivatives come last, dg[..., i, j, k] = d_k g_ij. Signs are those of Misner, Thorne and
Wheeler, Gravitation (1973): a sphere's curvature is positive.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .jets import MetricJet


def christoffel(
    metric: Float[Tensor, "*b n n"], first: Float[Tensor, "*b n n n"]
) -> Float[Tensor, "*b n n n"]:
    """Gamma^k_ij [*b, k, i, j] = g^kl (d_i g_jl + d_j g_il - d_l g_ij) / 2.

    Source: Lee, Introduction to Riemannian Manifolds (2018), corollary 5.11.
    """
    return raised(metric, first_kind(first))


def first_kind(first: Float[Tensor, "*b n n n"]) -> Float[Tensor, "*b n n n"]:
    """Gamma_kij [*b, k, i, j] = (d_i g_jk + d_j g_ik - d_k g_ij) / 2."""
    by_i = first.movedim(-3, -1)  # [k, i, j] = d_i g_jk
    return (by_i.transpose(-1, -2) + by_i - first.movedim(-1, -3)) / 2


def riemann(jet: MetricJet) -> Float[Tensor, "*b n n n n"]:
    """R_abcd [*b, a, b, c, d], all indices down.

    R_abcd = (d_b d_c g_ad + d_a d_d g_bc - d_a d_c g_bd - d_b d_d g_ac) / 2
             + g_ef (Gamma^e_bc Gamma^f_ad - Gamma^e_bd Gamma^f_ac)

    Source: Landau and Lifshitz, The Classical Theory of Fields (1975), equation 92.1.
    """
    lower = first_kind(jet.first)
    upper = raised(jet.metric, lower)
    products = torch.einsum("...ebc,...ead->...abcd", upper, lower)
    # half[a, b, c, d] = d_b d_c g_ad / 2 + Gamma_e,ad Gamma^e_bc, and the rest is its exchange.
    half = torch.einsum("...adbc->...abcd", jet.second) / 2
    both = half + half.transpose(-4, -3).transpose(-2, -1)
    return both - both.transpose(-2, -1) + products - products.transpose(-2, -1)


def ricci(metric: Float[Tensor, "*b n n"], riemann: Tensor) -> Float[Tensor, "*b n n"]:
    """R_bd = g^ac R_abcd."""
    return torch.einsum("...ac,...abcd->...bd", torch.linalg.inv(metric), riemann)


def raised(metric: Float[Tensor, "*b n n"], tensor: Tensor) -> Tensor:
    """T^a... = g^ab T_b... of a tensor [*b, n, ...], by its first index after the batch."""
    batch = metric.dim() - 2
    # Not `linalg.solve`, whose derivatives go wrong under `torch.func.vmap` (torch 2.13).
    flat: Tensor = torch.linalg.inv(metric) @ tensor.flatten(batch + 1)
    return flat.reshape(*flat.shape[:-1], *tensor.shape[batch + 1 :])


def scalar(jet: MetricJet) -> Float[Tensor, "*b"]:
    """R = g^ac g^bd R_abcd, contracted before the curvature is built.

    R = g^ac g^bd (d_b d_c g_ad - d_a d_c g_bd) + Gamma_e,bc Gamma^e,bc - Gamma^e g_ef Gamma^f,
    with Gamma^e = g^bd Gamma^e_bd.
    """
    inverse = torch.linalg.inv(jet.metric)
    flat, n = inverse.flatten(-2), inverse.shape[-1]
    laplace = _times(jet.second.flatten(-4, -3).flatten(-2), flat)
    mixed = torch.einsum("...ijkl,...jk->...il", jet.second, inverse)
    lower = first_kind(jet.first)
    upper = (inverse @ lower.flatten(-2)).unflatten(-1, (n, n))
    squares: Tensor = (lower @ inverse[..., None, :, :]) * (inverse[..., None, :, :] @ upper)
    trace = _times(lower.flatten(-2), flat)
    traces: Tensor = (trace * _times(inverse, trace)).sum(-1)
    second: Tensor = (mixed * inverse).sum((-1, -2)) - (laplace * flat).sum(-1)
    return second - traces + squares.sum((-1, -2, -3))


def sectional(
    jet: MetricJet, first: Float[Tensor, "*b n"], second: Float[Tensor, "*b n"]
) -> Float[Tensor, "*b"]:
    """K(u, v) = R_abcd u^a v^b u^c v^d / (g(u, u) g(v, v) - g(u, v)^2)."""
    over = torch.einsum(
        "...abcd,...a,...b,...c,...d->...", riemann(jet), first, second, first, second
    )
    uu, vv, uv = (
        torch.einsum("...i,...ij,...j->...", a, jet.metric, b)
        for a, b in ((first, first), (second, second), (first, second))
    )
    return over / (uu * vv - uv * uv)


def kretschmann(jet: MetricJet) -> Float[Tensor, "*b"]:
    """R_abcd R^abcd."""
    lower = riemann(jet)
    inverse = torch.linalg.inv(jet.metric)
    pair = torch.einsum("...ap,...bq,...pqcd->...abcd", inverse, inverse, lower)
    return torch.einsum("...abcd,...cdab->...", pair, pair)


def covariant_differential(
    connection: Float[Tensor, "*b n n n"], value: Tensor, derivative: Tensor, indices: str
) -> Tensor:
    """(D T)^k..._l...m = d_m T^k..._l... + Gamma^k_mp T^p... - Gamma^p_ml T..._p..., m last.

    Args:
        connection: Gamma^k_ij, [*b, k, i, j].
        value: T, [*b, n, ..., n].
        derivative: d_m T, [*b, n, ..., n, m].
        indices: "u" for each upper index of T and "l" for each lower one, in their order.

    Source: Lee, Introduction to Riemannian Manifolds (2018), proposition 4.18.
    """
    batch = connection.dim() - 3
    total = derivative
    for place, kind in enumerate(indices, start=batch):
        moved = value.movedim(place, -1)
        flat = moved.flatten(batch, -2) if len(indices) > 1 else moved.unsqueeze(batch)
        rule = "...kmp,...rp->...rkm" if kind == "u" else "...pmk,...rp->...rkm"
        turned = torch.einsum(rule, connection, flat)
        turned = turned.reshape(*moved.shape, turned.shape[-1]).movedim(-2, place)
        total = total + turned if kind == "u" else total - turned
    return total


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]
