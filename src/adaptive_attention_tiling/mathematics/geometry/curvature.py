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
    solved: Tensor = torch.linalg.solve(metric, tensor.flatten(batch + 1))
    return solved.reshape(*solved.shape[:-1], *tensor.shape[batch + 1 :])


def scalar(jet: MetricJet) -> Float[Tensor, "*b"]:
    """R = g^ac g^bd R_abcd, contracted before the curvature is built.

    R = g^ac g^bd (d_b d_c g_ad - d_a d_c g_bd) + Gamma_e,bc Gamma^e,bc - g_ef Gamma^e Gamma^f,
    with Gamma^e = g^bd Gamma^e_bd.
    """
    inverse = torch.linalg.inv(jet.metric)
    # ddg contracted over one index of the metric and one of the derivatives, and over both pairs
    mixed = torch.einsum("...ac,...bd,...adbc->...", inverse, inverse, jet.second)
    laplace = torch.einsum("...ac,...bd,...bdac->...", inverse, inverse, jet.second)
    lower = first_kind(jet.first)
    raised_all = torch.einsum("...ef,...bp,...cq,...fpq->...ebc", inverse, inverse, inverse, lower)
    trace = torch.einsum("...bd,...ebd->...e", inverse, lower)
    squares = (lower * raised_all).sum((-1, -2, -3))
    return mixed - laplace + squares - torch.einsum("...e,...ef,...f->...", trace, inverse, trace)


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
