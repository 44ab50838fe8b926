"""Fixed points of block maps and zeros of beta functions, with their exponents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .beta_function import Beta
from .block_map import BlockMap, applied


class FixedPoint(NamedTuple):
    """Couplings that a change of scale keeps, and its linear part there."""

    couplings: Tensor
    """K* [n]."""
    eigenvalues: Tensor
    """Of dK'/dK at K* for a block map, of a change of scale by e for a beta function; complex [n],
    largest first."""
    exponents: Tensor
    """Scaling dimensions y = ln |eigenvalue| / ln scale [n]: > 0 relevant, < 0 irrelevant."""

    @property
    def relevant(self) -> int:
        """How many directions grow with scale."""
        return int((self.exponents > self._marginal).sum())

    @property
    def irrelevant(self) -> int:
        """How many directions die out with scale."""
        return int((self.exponents < -self._marginal).sum())

    @property
    def marginal(self) -> int:
        """How many directions have |y| within the square root of 1e3 roundings of 0."""
        return len(self.exponents) - self.relevant - self.irrelevant

    @property
    def stability(self) -> str:
        """Seen towards large scales: "sink", "source", "saddle", or "marginal" with any y = 0."""
        if self.marginal:
            return "marginal"
        if self.relevant and self.irrelevant:
            return "saddle"
        return "source" if self.relevant else "sink"

    @property
    def correlation_exponent(self) -> Tensor:
        """nu = 1 / y of the most relevant direction; infinite where none is."""
        if not self.relevant:
            return torch.full_like(self.exponents[0], math.inf)
        return 1 / self.exponents[0]

    @property
    def _marginal(self) -> float:
        return math.sqrt(_rounding(self.exponents))


class FixedPointSearch(NamedTuple):
    """What many starts led to."""

    points: list[FixedPoint]
    """Each once, in the order in which they were found."""
    reached: Tensor
    """Number [m] of the point that each start came to; -1 where Newton's method did not end."""

    @property
    def converged(self) -> Tensor:
        """Whether each start came to a fixed point [m]."""
        return self.reached >= 0


def fixed_point(
    block_map: BlockMap, start: Float[Tensor, " n"], scale: float = 2.0, steps: int = 50
) -> FixedPoint:
    """K* = R(K*) by Newton's method from `start`, with the Jacobian of autograd.

    K* is differentiable in whatever R closes over, by the implicit function theorem; eigenvalues
    and exponents are as well. At a marginal direction (y = 0) K* has no derivative and is a
    constant.

    Args:
        block_map: R from couplings [n] to [n].
        start: near the fixed point that is wanted; Newton's method finds unstable ones too.
        scale: b > 1, the factor by which R coarsens.
        steps: most Newton steps.

    Raises:
        ArgumentError: no fixed point was found to 1e3 roundings.

    Cardy, Scaling and Renormalization in Statistical Physics (1996), section 3.3.
    """
    return _one(_of_block_map(block_map, scale), start, steps)


def beta_fixed_point(beta: Beta, start: Float[Tensor, " n"], steps: int = 50) -> FixedPoint:
    """beta(K*) = 0 by Newton's method; exponents y are Re of the eigenvalues of d beta / dK.

    Gradients and arguments are those of `fixed_point`; dK / d ln(length) = beta(K).

    Args:
        beta: from couplings [n] to [n].
        start: near the zero that is wanted.
        steps: most Newton steps.
    """
    return _one(_of_beta(beta), start, steps)


def fixed_points(
    block_map: BlockMap,
    starts: Float[Tensor, "m n"],
    scale: float = 2.0,
    steps: int = 50,
    apart: float = 1e-5,
) -> FixedPointSearch:
    """Every fixed point that Newton's method finds from any of the starts, each once.

    Args:
        block_map: R from couplings [n] to [n].
        starts: guesses; what lies far from all of them may be missed.
        scale: b > 1, the factor by which R coarsens.
        steps: most Newton steps from each start.
        apart: points nearer than this, or than this share of their size, are one; so are those
            nearer than the square root of 1e3 roundings, as multiple roots come no nearer.

    Raises:
        ArgumentError: no start came to a fixed point.
    """
    return _all(_of_block_map(block_map, scale), starts, steps, apart)


def beta_fixed_points(
    beta: Beta, starts: Float[Tensor, "m n"], steps: int = 50, apart: float = 1e-5
) -> FixedPointSearch:
    """Every zero of a beta function that any start leads to, as `fixed_points` tells."""
    return _all(_of_beta(beta), starts, steps, apart)


class _Equation(NamedTuple):
    """F(K) = 0, and eigenvalues and exponents by dF/dK."""

    residual: Callable[[Tensor], Tensor]
    spectrum: Callable[[Tensor], tuple[Tensor, Tensor]]


def _of_block_map(block_map: BlockMap, scale: float) -> _Equation:
    if not 1 < scale < math.inf:
        raise ArgumentError("scale", scale, "a number > 1", "pass the factor of coarsening")

    def spectrum(slope: Tensor) -> tuple[Tensor, Tensor]:
        unit = torch.eye(len(slope), dtype=slope.dtype, device=slope.device)
        values = torch.linalg.eigvals(slope + unit)
        values = values[values.detach().abs().argsort(descending=True)]
        return values, values.abs().log() / math.log(scale)

    return _Equation(lambda k: applied(block_map, k) - k, spectrum)


def _of_beta(beta: Beta) -> _Equation:
    def spectrum(slope: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.linalg.eigvals(slope)
        values = values[values.detach().real.argsort(descending=True)]
        return values.exp(), values.real

    return _Equation(lambda k: applied(beta, k), spectrum)


def _one(equation: _Equation, start: Tensor, steps: int) -> FixedPoint:
    if start.dim() != 1 or not bool(start.detach().isfinite().all()):
        raise ArgumentError(
            "start", f"shape {list(start.shape)}", "finite couplings [n]", "pass a guess"
        )
    point, error = _root(equation.residual, start.detach(), steps)
    if not _converged(point, error):
        raise ArgumentError(
            "start",
            f"{start.tolist()}, from which K' - K stays {error:.2g}",
            "a guess near a fixed point",
            "start nearer, or allow more steps",
        )
    return _described(equation, point)


def _all(equation: _Equation, starts: Tensor, steps: int, apart: float) -> FixedPointSearch:
    if starts.dim() != 2 or not len(starts) or not bool(starts.detach().isfinite().all()):
        raise ArgumentError(
            "starts", f"shape {list(starts.shape)}", "finite couplings [m, n]", "pass guesses"
        )
    if not 0 < apart < 1:
        raise ArgumentError("apart", apart, "in (0, 1)", "pass 1e-5")
    apart = max(apart, math.sqrt(_rounding(starts)))
    found: list[Tensor] = []
    reached: list[int] = []
    for start in starts.detach():
        point, error = _root(equation.residual, start, steps)
        if not _converged(point, error):
            reached.append(-1)
            continue
        same = [i for i, old in enumerate(found) if _near(old, point, apart)]
        reached.append(same[0] if same else len(found))
        if not same:
            found.append(point)
    if not found:
        raise ArgumentError(
            "starts",
            f"{len(starts)} from which Newton's method does not end",
            "one near a fixed point",
            "spread them wider, or allow more steps",
        )
    points = [_described(equation, point) for point in found]
    return FixedPointSearch(points, torch.tensor(reached, device=starts.device))


def _root(residual: Callable[[Tensor], Tensor], point: Tensor, steps: int) -> tuple[Tensor, float]:
    """Where Newton's method ends, and the largest residual there."""
    smallest = float(torch.finfo(point.dtype).eps)
    slope = _jacobian(residual, point)
    for _ in range(steps):
        # Least squares, for a marginal direction makes the matrix singular; by singular values,
        # since torch.linalg.lstsq loses components where a zero column comes before others.
        step = -torch.linalg.pinv(slope) @ residual(point).detach()
        point = point + step
        slope = _jacobian(residual, point)
        if not bool(slope.isfinite().all()):
            break
        if float(step.abs().max()) <= smallest * float(point.abs().max()):
            break
    return point, float(residual(point).detach().abs().max())


def _converged(point: Tensor, error: float) -> bool:
    # NaN is not <= either.
    return error <= _rounding(point) * max(1.0, float(point.abs().max()))


def _described(equation: _Equation, point: Tensor) -> FixedPoint:
    slope = _jacobian(equation.residual, point).detach()
    if float(torch.linalg.svdvals(slope).min()) > math.sqrt(_rounding(point)):
        # One step more with gradients: its derivative is that of the implicit function.
        point = point - torch.linalg.solve(slope, equation.residual(point))
    return FixedPoint(point, *equation.spectrum(_slope(equation.residual, point)))


def _near(one: Tensor, other: Tensor, apart: float) -> bool:
    return bool((one - other).norm() <= apart * max(1.0, float(one.norm())))


def _rounding(values: Tensor) -> float:
    return 1e3 * float(torch.finfo(values.dtype).eps)


def _slope(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    slope: Tensor = torch.func.jacrev(function)(point)
    return slope


def _jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    return _slope(function, point).detach()
