"""Multivariate normal distributions, and divergences between them in closed form, in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import cholesky, matrix_sqrt, safe_sqrt


class MultivariateNormal(NamedTuple):
    """N(mu, Sigma): mean [*b, d] and covariance [*b, d, d]. Tangents (dmu, dSigma) are the same."""

    mean: Tensor
    covariance: Tensor


def normal_kl_divergence(p: MultivariateNormal, q: MultivariateNormal) -> Float[Tensor, "*b"]:
    """KL(p || q) = (tr(S_q^-1 S_p) + m^T S_q^-1 m - d + log det S_q / det S_p) / 2, m = m_q - m_p.

    Source: Kullback, Information theory and statistics, 1959, chapter 9, (1.8).
    """
    root_p, root_q = checked_factor("p", p), checked_factor("q", q)
    inner = torch.linalg.solve_triangular(root_q, root_p, upper=False)
    apart = _solve(root_q, q.mean - p.mean)
    logs = _half_log_det(root_q) - _half_log_det(root_p)
    excess: Tensor = inner.square().sum((-2, -1)) - inner.shape[-1] + apart.square().sum(-1)
    return excess / 2 + logs


def normal_jeffreys_divergence(p: MultivariateNormal, q: MultivariateNormal) -> Float[Tensor, "*b"]:
    """KL(p || q) + KL(q || p); its root is no less than the Fisher-Rao distance.

    Source: Nielsen, A simple approximation method for the Fisher-Rao distance between multivariate
    normal distributions, 2023, proposition 1.
    """
    return normal_kl_divergence(p, q) + normal_kl_divergence(q, p)


def normal_renyi_divergence(
    p: MultivariateNormal, q: MultivariateNormal, order: float
) -> Float[Tensor, "*b"]:
    """a / 2 m^T S^-1 m + log(det S / (det S_p^(1 - a) det S_q^a)) / (2 (1 - a)).

    S = a S_q + (1 - a) S_p; infinite for orders a > 1 at which S is not positive definite. Order 1
    is KL(p || q); chi^2 is exp of order 2, less 1.

    Source: Gil, Alajaji and Linder, Renyi divergence measures for commonly used univariate
    continuous distributions, 2013, table 2; Pardo, 2006, 1.2.
    """
    if not order > 0 or math.isinf(order):
        raise ArgumentError("order", order, "a finite number > 0", "pass order=2")
    if order == 1:
        return normal_kl_divergence(p, q)
    root_p, root_q = checked_factor("p", p), checked_factor("q", q)
    mixed = order * q.covariance + (1 - order) * p.covariance
    root, info = torch.linalg.cholesky_ex(mixed)
    failed = info != 0
    identity = torch.eye(mixed.shape[-1], dtype=mixed.dtype, device=mixed.device)
    safe = torch.where(failed[..., None, None], identity, mixed)
    root = torch.linalg.cholesky(safe)
    apart = _solve(root, q.mean - p.mean).square().sum(-1)
    logs = _half_log_det(root) - (1 - order) * _half_log_det(root_p) - order * _half_log_det(root_q)
    return torch.where(failed, torch.inf, order / 2 * apart + logs / (1 - order))


def normal_hellinger_distance(p: MultivariateNormal, q: MultivariateNormal) -> Float[Tensor, "*b"]:
    """sqrt(1 - BC), BC the Bhattacharyya coefficient exp(-D_(1/2) / 2); from 0 to 1.

    Source: Pardo, Statistical inference based on divergence measures, 2006, 1.2.
    """
    return safe_sqrt(-torch.expm1(-normal_renyi_divergence(p, q, 0.5).clamp(min=0) / 2))


def normal_wasserstein_distance(
    p: MultivariateNormal, q: MultivariateNormal
) -> Float[Tensor, "*b"]:
    """W_2 = sqrt(|m|^2 + tr(S_p + S_q - 2 (S_p^(1/2) S_q S_p^(1/2))^(1/2))).

    Source: Dowson and Landau, The Frechet distance between multivariate normal distributions, 1982;
    Takatsu, Wasserstein geometry of Gaussian measures, 2011, (1).
    """
    checked_factor("p", p)
    checked_factor("q", q)
    root = matrix_sqrt(p.covariance)
    cross = matrix_sqrt(root @ q.covariance @ root)
    traces = p.covariance + q.covariance - 2 * cross
    square = traces.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=0)
    return safe_sqrt((q.mean - p.mean).square().sum(-1) + square)


def normal_entropy(covariance: Float[Tensor, "*b d d"]) -> Float[Tensor, "*b"]:
    """The differential entropy (d log(2 pi e) + log det Sigma) / 2; it may be negative.

    Source: Cover and Thomas, Elements of information theory, 2006, theorem 8.4.1.
    """
    root = cholesky(covariance, name="covariance")
    return covariance.shape[-1] / 2 * math.log(2 * math.pi * math.e) + _half_log_det(root)


def normal_mutual_information(
    covariance: Float[Tensor, "*b d d"], first: int
) -> Float[Tensor, "*b"]:
    """I(X; Y) = (log det S_X + log det S_Y - log det S) / 2, X the `first` of d coordinates.

    Two coordinates of correlation r have -log(1 - r^2) / 2.

    Source: Cover and Thomas, 2006, (8.56).
    """
    if not 0 < first < covariance.shape[-1]:
        raise ArgumentError(
            "first", first, f"1 to {covariance.shape[-1] - 1}", "split in two parts"
        )
    parts = covariance[..., :first, :first], covariance[..., first:, first:]
    roots = [cholesky(part, name="covariance") for part in (*parts, covariance)]
    x, y, both = (_half_log_det(root) for root in roots)
    return x + y - both


def checked_factor(name: str, normal: MultivariateNormal) -> Float[Tensor, "*b d d"]:
    """The Cholesky factor of the covariance; an ArgumentError for what is no distribution."""
    mean, covariance = normal
    if mean.dim() < 1 or covariance.shape[-1:] != mean.shape[-1:]:
        raise ArgumentError(
            name,
            f"mean {list(mean.shape)} and covariance {list(covariance.shape)}",
            "[*b, d] and [*b, d, d]",
            "pass MultivariateNormal(mean, covariance)",
        )
    if not bool(mean.isfinite().all()):
        raise ArgumentError(name, "a mean with NaN or infinity", "finite numbers", "look for them")
    return cholesky(covariance, name=name)


def _half_log_det(root: Tensor) -> Tensor:
    return root.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _solve(root: Tensor, vector: Tensor) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(root, vector[..., None], upper=False)
    return solved[..., 0]
