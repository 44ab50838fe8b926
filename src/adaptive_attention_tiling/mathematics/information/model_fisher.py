"""Fisher matrices from gradients of single samples, and the natural gradient.

    F = 1 / n sum_i g_i g_i^T

With g_i = grad log p(y_i | x_i) at y_i drawn from the model this estimates the Fisher matrix
E[g g^T]; at the labels of the data it is the *empirical* Fisher, which is another matrix and equals
it only where the model fits. `SoftmaxFamily` has the exact one of an output head.

Source: Amari, Natural gradient works efficiently in learning, 1998; Martens, New insights and
perspectives on the natural gradient method, 2020, sections 5 and 11; Kunstner, Hennig and Balles,
Limitations of the empirical Fisher approximation, 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..linalg import cholesky
from .softmax import SoftmaxFamily


class EmpiricalFisher:
    """F of n gradients [n, P]: dense, diagonal, low-rank, or as products with vectors."""

    def __init__(self, gradients: Float[Tensor, "n P"]) -> None:
        if gradients.dim() != 2 or 0 in gradients.shape or not bool(gradients.isfinite().all()):
            raise ArgumentError(
                "gradients",
                f"shape {list(gradients.shape)}",
                "finite [n, P] with n and P > 0",
                "pass one flat gradient a sample",
            )
        self.factor: Tensor = gradients / len(gradients) ** 0.5  # F = A^T A

    def matrix(self) -> Float[Tensor, "P P"]:
        """The dense F."""
        return self.factor.mT @ self.factor

    def diagonal(self) -> Float[Tensor, " P"]:
        """F_jj: mean squares of gradients."""
        return self.factor.square().sum(0)

    def product(self, tangent: Float[Tensor, "*b P"]) -> Float[Tensor, "*b P"]:
        """F x, in O(n P)."""
        return (tangent @ self.factor.mT) @ self.factor

    def squared_norm(self, tangent: Float[Tensor, "*b P"]) -> Float[Tensor, "*b"]:
        """x^T F x: the mean square of g . x."""
        return (tangent @ self.factor.mT).square().sum(-1)

    def low_rank(self, rank: int) -> Float[Tensor, "P r"]:
        """U of the best F ~ U U^T of this rank, from singular values of the gradients."""
        most = min(self.factor.shape)
        if not 1 <= rank <= most:
            raise ArgumentError("rank", rank, f"an integer from 1 to {most}", "pass rank=8")
        _, values, vectors = torch.linalg.svd(self.factor, full_matrices=False)
        factor: Tensor = vectors[:rank].mT * values[:rank]
        return factor

    def natural_gradient(
        self, gradient: Float[Tensor, " P"], *, damping: float
    ) -> Float[Tensor, " P"]:
        """(F + damping I)^-1 g, through the n by n matrix A A^T where samples are few.

        (A^T A + c I)^-1 g = (g - A^T (A A^T + c I)^-1 A g) / c  (Woodbury).
        """
        if not damping > 0:
            raise ArgumentError("damping", damping, "a number > 0", "pass damping=1e-3")
        n, width = self.factor.shape
        if n >= width:
            root = cholesky(self.matrix(), jitter=damping)
            return torch.cholesky_solve(gradient[:, None], root)[:, 0]
        root = cholesky(self.factor @ self.factor.mT, jitter=damping)
        inside = torch.cholesky_solve((self.factor @ gradient)[:, None], root)
        result: Tensor = (gradient - self.factor.mT @ inside[:, 0]) / damping
        return result


def per_sample_gradients(
    log_likelihood: Callable[[Tensor, Tensor], Tensor],
    parameters: Float[Tensor, " P"],
    samples: Float[Tensor, "n ..."],
) -> Float[Tensor, "n P"]:
    """grad_theta log p(sample_i | theta) for each sample.

    Args:
        log_likelihood: (theta [P], one sample) -> a number, made of torch operations.
    """
    gradient = torch.func.vmap(torch.func.grad(log_likelihood), (None, 0))
    return torch.as_tensor(gradient(parameters, samples))


def head_gradients(
    family: SoftmaxFamily, theta: Float[Tensor, "n C"], labels: Tensor
) -> Float[Tensor, "n C"]:
    """grad_theta log p(label | theta) = W^T (e_label - p) of a softmax head.

    Their mean outer product over labels drawn from p is G(theta).
    """
    if labels.shape != theta.shape[:-1] or labels.dtype != torch.int64:
        raise ArgumentError(
            "labels",
            f"{labels.dtype} {list(labels.shape)}",
            f"int64 {list(theta.shape[:-1])}",
            "pass the token that followed each state",
        )
    weight = family.weight.to(theta)
    return weight[labels] - family.probabilities(theta) @ weight


def natural_gradient(
    metric: Float[Tensor, "*b P P"], gradient: Float[Tensor, "*b P"], *, damping: float = 0.0
) -> Float[Tensor, "*b P"]:
    """(G + damping I)^-1 g: the steepest descent for steps that are short in G.

    It does not depend on the chart: under theta = h(xi) it moves the same point the same way.

    Source: Amari, 1998, theorem 1.
    """
    root = cholesky(metric, jitter=damping, name="metric")
    return torch.cholesky_solve(gradient[..., None], root)[..., 0]
