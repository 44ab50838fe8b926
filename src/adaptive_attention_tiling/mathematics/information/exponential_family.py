"""Exponential families: one convex function that gives the metric, two charts and a divergence.

    p(x | theta) = h(x) exp(theta . t(x) - psi(theta)),   eta = E[t] = grad psi,   G = Hess psi

theta are the natural and eta the expectation parameters. KL(p_1 || p_2) is the Bregman divergence
B_psi(theta_2, theta_1). Straight lines in theta are e-geodesics, those in eta are m-geodesics;
where an m-geodesic from p meets an e-geodesic to r at a right angle in q,

    KL(p || r) = KL(p || q) + KL(q || r).

Source: Amari and Nagaoka, Methods of information geometry, 2000, 2.3, 3.4 and theorem 3.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

_ITERATIONS = 100
_HALVINGS = 40


class ExponentialFamily:
    """A regular family in its natural parameters theta [*b, k].

    Args:
        log_partition: psi, from [*b, k] to [*b], each from its own point; convex, twice
            differentiable, and inf or NaN where there is no distribution.
        centre: a theta of the family [k]; where the search for expectation parameters starts.
    """

    def __init__(
        self, log_partition: Callable[[Tensor], Tensor], centre: Float[Tensor, " k"]
    ) -> None:
        if centre.dim() != 1 or not bool(log_partition(centre).isfinite()):
            raise ArgumentError(
                "centre", f"shape {list(centre.shape)}", "[k], with a finite psi", "pass a member"
            )
        self.log_partition = log_partition
        self.centre = centre

    def expectation(self, theta: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
        """eta = grad psi(theta)."""
        self._check(theta)
        return self._derivatives(theta, metric=False)[0]

    def metric_matrix(self, theta: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k k"]:
        """G(theta) = Hess psi, the covariance of t(x); in the chart eta it is its inverse."""
        self._check(theta)
        return self._derivatives(theta, metric=True)[1]

    def inner(
        self, theta: Float[Tensor, "*b k"], u: Float[Tensor, "*b k"], v: Float[Tensor, "*b k"]
    ) -> Float[Tensor, "*b"]:
        """u^T G(theta) v of two tangents in the chart theta."""
        return ((self.metric_matrix(theta) @ v[..., None])[..., 0] * u).sum(-1)

    def natural(self, eta: Float[Tensor, "*b k"]) -> Float[Tensor, "*b k"]:
        """theta with grad psi(theta) = eta, by Newton's method with halved steps.

        The last step is taken with its graph: gradients are those of the inverse function.

        Raises:
            CorrectnessError: none was found; there is none outside of the family's expectations.
        """
        if not bool(eta.isfinite().all()):
            raise ArgumentError("eta", "NaN or infinity", "finite expectations", "look for them")
        target = eta.detach()
        theta = self.centre.to(target).expand_as(target).clone()
        for _ in range(_ITERATIONS):
            slope, metric = (x.detach() for x in self._derivatives(theta, metric=True))
            left = target - slope
            step = torch.linalg.solve_ex(metric, left[..., None]).result[..., 0]
            decrement = (left * step).sum(-1)
            rounding = 1e2 * torch.finfo(eta.dtype).eps
            if bool((left.abs() <= rounding * (1 + target.abs())).all()):
                final: Tensor = torch.linalg.solve(metric, (eta - slope)[..., None])[..., 0]
                return theta + final
            theta = theta + self._damped(theta, step, target, decrement)
        raise CorrectnessError(
            f"eta: got no theta with grad psi = eta in {_ITERATIONS} steps, expected one. "
            "Fix: pass expectations of the family"
        )

    def divergence(
        self, first: Float[Tensor, "*b k"], second: Float[Tensor, "*b k"]
    ) -> Float[Tensor, "*b"]:
        """KL(p_1 || p_2) = psi(theta_2) - psi(theta_1) - eta_1 . (theta_2 - theta_1)."""
        step = second - first
        rise = self.log_partition(second) - self.log_partition(first)
        return rise - (self.expectation(first) * step).sum(-1)

    def dual_potential(self, theta: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
        """phi(eta) = theta . eta - psi(theta) at eta(theta): the Legendre transform of psi.

        With h = 1 it is the negative entropy.
        """
        return (theta * self.expectation(theta)).sum(-1) - self.log_partition(theta)

    def e_geodesic(
        self, start: Float[Tensor, "*b k"], end: Float[Tensor, "*b k"], time: float | Tensor
    ) -> Float[Tensor, "*b k"]:
        """(1 - t) theta_0 + t theta_1."""
        return start + time * (end - start)

    def m_geodesic(
        self, start: Float[Tensor, "*b k"], end: Float[Tensor, "*b k"], time: float | Tensor
    ) -> Float[Tensor, "*b k"]:
        """theta of (1 - t) eta_0 + t eta_1."""
        first, last = self.expectation(start), self.expectation(end)
        return self.natural(first + time * (last - first))

    def _check(self, theta: Tensor) -> None:
        if not theta.is_floating_point():
            raise ArgumentError("theta", theta.dtype, "a floating tensor", "pass theta.double()")
        value = self.log_partition(theta.detach())
        if not bool(value.isfinite().all()):
            raise ArgumentError(
                "theta",
                f"a psi of {float(value[~value.isfinite()].flatten()[0]):g}",
                "natural parameters of the family, where psi is finite",
                "leave others out",
            )

    def _damped(self, theta: Tensor, step: Tensor, target: Tensor, decrement: Tensor) -> Tensor:
        """The step, halved until psi(theta) - eta . theta falls by a quarter of its promise."""

        def height(x: Tensor) -> Tensor:
            return self.log_partition(x).detach() - (target * x).sum(-1)

        before, length = height(theta), torch.ones_like(decrement)
        for _ in range(_HALVINGS):
            after = height(theta + length[..., None] * step)
            rounding = 1e2 * torch.finfo(theta.dtype).eps * (1 + before.abs())
            # Written so that a NaN fails as well.
            good = after <= before - length * decrement / 4 + rounding
            if bool(good.all()):
                break
            length = torch.where(good, length, length / 2)
        return length[..., None] * step

    def _derivatives(self, theta: Tensor, *, metric: bool) -> tuple[Tensor, Tensor]:
        """eta and, if asked for, G; differentiable where theta is."""
        with torch.enable_grad():
            point = theta if theta.requires_grad else theta.detach().requires_grad_()
            value = self.log_partition(point)
            (slope,) = torch.autograd.grad(value.sum(), point, create_graph=True)
            rows = [slope]
            if metric:
                rows = [
                    torch.autograd.grad(
                        part.sum(), point, create_graph=True, materialize_grads=True
                    )[0]
                    for part in slope.unbind(-1)
                ]
        hessian = torch.stack(rows, -2)
        if theta.requires_grad and torch.is_grad_enabled():
            return slope, hessian
        return slope.detach(), hessian.detach()


def normal_log_partition(theta: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    """psi of N(mu, sigma^2), t = (x, x^2): -theta_1^2 / (4 theta_2) + log(-pi / theta_2) / 2.

    theta = (mu / sigma^2, -1 / (2 sigma^2)), eta = (mu, mu^2 + sigma^2); NaN for theta_2 >= 0.
    """
    first, second = theta.unbind(-1)
    return -first.square() / (4 * second) + (-math.pi / second).log() / 2


def categorical_log_partition(theta: Float[Tensor, "*b m"]) -> Float[Tensor, "*b"]:
    """psi of n = m + 1 outcomes, t = which of the first m: log(1 + sum_i exp theta_i).

    theta_i = log(p_i / p_n), eta_i = p_i.
    """
    return torch.nn.functional.pad(theta, (0, 1)).logsumexp(-1)


def poisson_log_partition(theta: Float[Tensor, "*b 1"]) -> Float[Tensor, "*b"]:
    """psi of Poisson counts, t = x: exp(theta); theta = log rate, eta = rate."""
    return theta[..., 0].exp()
