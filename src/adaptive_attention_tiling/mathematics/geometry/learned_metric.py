"""A metric that is learnt, with its curvature in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ArgumentError
from .curvature import first_kind
from .jets import MetricJet
from .riemannian import RiemannianStructure


class LearnedMetric(nn.Module):
    """g(x) = epsilon I + A(x) A(x)^T with A(x) = W tanh(U x + a) + b, positive definite everywhere.

    Args:
        dimension: n, of x.
        hidden: h, numbers of tanh.
        rank: r, of A(x) [n, r]; n if None.
        epsilon: > 0, below which no eigenvalue falls.
    """

    def __init__(
        self, dimension: int, hidden: int = 64, rank: int | None = None, epsilon: float = 0.1
    ) -> None:
        super().__init__()
        rank = dimension if rank is None else rank
        for name, size in (("dimension", dimension), ("hidden", hidden), ("rank", rank)):
            if size < 1:
                raise ArgumentError(name, size, "an integer >= 1", f"pass {name}=8")
        if not epsilon > 0:
            raise ArgumentError("epsilon", epsilon, "a number > 0", "pass epsilon=0.1")
        self.dimension, self.rank, self.epsilon = dimension, rank, epsilon
        self.inner = nn.Linear(dimension, hidden)
        self.outer = nn.Linear(hidden, dimension * rank)

    def forward(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n n"]:
        """g_ij [*b, i, j]."""
        factor = self._factor(torch.tanh(self.inner(coordinates)))
        return self._metric(factor)

    def structure(self) -> RiemannianStructure:
        """R^n with this metric, which learns on as the module does."""
        return RiemannianStructure(self, self.dimension, jet=self.jet)

    def jet(self, coordinates: Float[Tensor, "*b n"]) -> MetricJet:
        """g, dg [*b, i, j, k] and ddg [*b, i, j, k, l], by the chain rule in closed form."""
        value, first, second = _tanh(self.inner(coordinates))
        weight, slopes = self.outer.weight, self.inner.weight  # [n r, h], [h, n]
        factor = self._factor(value)
        moved = self._rows((first[..., None, :] * slopes.T) @ weight.T)  # [*b, k, i, r]
        pairs = slopes.T[:, None] * slopes.T  # [k, l, h]
        bent = self._rows((second[..., None, None, :] * pairs) @ weight.T)  # [*b, k, l, i, r]
        once = moved @ factor[..., None, :, :].mT  # [*b, k, i, j]
        twice = bent @ factor[..., None, None, :, :].mT
        twice = twice + moved[..., :, None, :, :] @ moved[..., None, :, :, :].mT
        return MetricJet(
            self._metric(factor),
            (once + once.mT).movedim(-3, -1),
            (twice + twice.mT).movedim((-4, -3), (-2, -1)),
        )

    def scalar_curvature(self, coordinates: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """R, without a tensor of second derivatives.

        In a frame F with F^T g F = 1 at the point, held fixed around it,

            R = sum_ab (d_a d_b g_ab - d_a d_a g_bb) + sum_abc Gamma_abc^2 - sum_a Gamma_a^2

        with Gamma_a = sum_b Gamma_abb. There g_ab = epsilon F_a . F_b + A_a . A_b, A_a = F_a^T A,
        and the second derivatives of A, which are W (tanh'' (U F_a) (U F_b)), enter only by two
        sums over hidden numbers.
        """
        value, first, second = _tanh(self.inner(coordinates))
        factor = self._factor(value)
        identity = torch.eye(self.dimension).to(factor)
        root = torch.linalg.cholesky(self._metric(factor))
        frame = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
        factor = frame @ factor  # [*b, a, r]
        slopes = frame @ self.inner.weight.T  # [*b, a, h]
        moved = self._rows((first[..., None, :] * slopes) @ self.outer.weight.T)
        moved = frame[..., None, :, :] @ moved  # [*b, a, c, r] = d_a A_c
        bent = second * self._second_order(frame, factor, slopes)
        return _first_order(factor, moved) + 2 * bent.sum(-1)

    def _second_order(self, frame: Tensor, factor: Tensor, slopes: Tensor) -> Tensor:
        """sum_ab (A_a . W_b s_a s_b - A_b . W_b s_a s_a) of each hidden number, W_b = F_b^T W."""
        weight = self._rows(self.outer.weight.T)  # [h, i, r]
        mixed = torch.einsum("...hi,hir->...hr", slopes.mT @ frame, weight)
        mixed = (mixed * (slopes.mT @ factor)).sum(-1)
        whole: Tensor = (frame.mT @ factor).flatten(-2) @ self.outer.weight
        return mixed - slopes.square().sum(-2) * whole

    def _factor(self, value: Tensor) -> Tensor:
        return self._rows(self.outer(value))

    def _rows(self, entries: Tensor) -> Tensor:
        rows: Tensor = entries.unflatten(-1, (self.dimension, self.rank))
        return rows

    def _metric(self, factor: Tensor) -> Tensor:
        return factor @ factor.mT + self.epsilon * torch.eye(self.dimension).to(factor)


def _tanh(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """tanh and its two derivatives."""
    value = torch.tanh(values)
    first = 1 - value * value
    return value, first, -2 * value * first


def _first_order(factor: Tensor, moved: Tensor) -> Tensor:
    """The part of R that takes first derivatives only, from A_c and d_a A_c [*b, a, c, r]."""
    once = moved @ factor[..., None, :, :].mT
    gamma = first_kind((once + once.mT).movedim(-3, -1))
    trace = gamma.diagonal(dim1=-1, dim2=-2).sum(-1)
    divergence = moved.diagonal(dim1=-3, dim2=-2).sum(-1)
    products = moved * (moved.transpose(-3, -2) - 2 * moved)
    traces: Tensor = divergence.square().sum(-1) - trace.square().sum(-1)
    return traces + gamma.square().sum((-1, -2, -3)) + products.sum((-1, -2, -3))
