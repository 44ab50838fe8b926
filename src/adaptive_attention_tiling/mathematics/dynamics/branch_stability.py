"""Stability along a branch of solutions of F(u, lambda) = 0, its folds and its Hopf points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .bifurcation import Branch, Fold, Residual, fold_point

_NEWTON_STEPS = 30


@dataclass(frozen=True)
class Hopf:
    """A point where a pair of eigenvalues +-i omega of F_u crosses the imaginary axis.

    Args:
        state: u, [n].
        parameter: lambda, [].
        frequency: omega > 0, [].
        residual: the largest entry of the equations that is left.
    """

    state: Float[Tensor, " n"]
    parameter: Float[Tensor, ""]
    frequency: Float[Tensor, ""]
    residual: float


@dataclass(frozen=True)
class BifurcationDiagram:
    """A branch of steady states of u' = F(u, lambda), the rates at each, folds and Hopf points.

    Args:
        branch: the points.
        eigenvalues: of F_u at each, [k, n], complex.
        folds, hopfs: solved for, in the order of the branch.
    """

    branch: Branch
    eigenvalues: Complex[Tensor, "k n"]
    folds: list[Fold]
    hopfs: list[Hopf]

    @property
    def stable(self) -> Bool[Tensor, " k"]:
        """Whether all rates have negative real parts."""
        return self.eigenvalues.real.amax(-1) < 0


def bifurcation_diagram(residual: Residual, branch: Branch) -> BifurcationDiagram:
    """The diagram of a branch from `continued`.

    A fold is sought where lambda turns back, a Hopf point where a complex pair changes the sign of
    its real part; steps must be short enough to hold one event each.

    Source: Kuznetsov, Elements of Applied Bifurcation Theory (2004), section 10.3.
    """
    jacobians = torch.func.vmap(torch.func.jacrev(residual))(branch.states, branch.parameters)
    rates = torch.linalg.eigvals(jacobians)
    folds = [
        fold_point(residual, branch.states[k], float(branch.parameters[k])) for k in branch.folds()
    ]
    hopfs = [
        hopf_point(residual, branch.states[k], float(branch.parameters[k]))
        for k in _crossings(rates)
    ]
    return BifurcationDiagram(branch, rates, folds, hopfs)


def hopf_point(
    residual: Residual,
    state: Float[Tensor, " n"],
    parameter: float,
    *,
    tolerance: float = 1e-9,
) -> Hopf:
    """The Hopf point nearest to a guess, by Newton's method on

        F = 0,    F_u v + omega w = 0,    F_u w - omega v = 0,
        a . v + b . w = 1,    a . w - b . v = 0

    for (u, v, w, lambda, omega), where a + i b is the guess at the eigenvector v + i w of the pair
    nearest to the axis.

    Args:
        residual: F, ([n], []) -> [n]; twice differentiable.
        state, parameter: near the point, such as one of `continued`.
        tolerance: of the largest entry of the system, relative to 1 + |F_u|'s largest entry.

    Raises:
        ArgumentError: no complex pair at the guess, or Newton's method finds no such point.

    Source: Griewank and Reddien, IMA J. Numer. Anal. 3 (1983).
    """
    size = len(state)
    guess = state.new_tensor(parameter)
    jacobian = torch.func.jacrev(residual)(state, guess)
    rates, vectors = torch.linalg.eig(jacobian)
    pairs = (rates.imag > 1e-9 * (1 + rates.abs().max())).nonzero()[:, 0]
    if len(pairs) == 0:
        raise ArgumentError("state", "a guess with real rates", "a complex pair", "start nearer")
    nearest = pairs[rates[pairs].real.abs().argmin()]
    real, imaginary = vectors[:, nearest].real, vectors[:, nearest].imag
    unknown = torch.cat([state, real, imaginary, guess[None], rates[nearest].imag[None]])

    def system(point: Tensor) -> Tensor:
        u, v, w = point[:size], point[size : 2 * size], point[2 * size : -2]
        at, omega = point[-2], point[-1]
        found = torch.func.jvp(lambda x: residual(x, at), (u,), (v,))
        value, slope = found[0], found[1]
        turned = torch.func.jvp(lambda x: residual(x, at), (u,), (w,))[1]
        # F_u (v + i w) = i omega (v + i w), with the length and phase of the guess.
        scale = real @ v + imaginary @ w - 1
        phase = real @ w - imaginary @ v
        ends = torch.stack([scale, phase])
        return torch.cat([value, slope + omega * w, turned - omega * v, ends])

    allowed = tolerance * (1 + float(jacobian.abs().max()))
    for _ in range(_NEWTON_STEPS):
        value = system(unknown)
        off = float(value.abs().max())
        if not math.isfinite(off) or off <= 1e-3 * allowed:
            break
        correction, failed = torch.linalg.solve_ex(torch.func.jacfwd(system)(unknown), value)
        if int(failed):
            break
        unknown = unknown - correction
    off = float(system(unknown).abs().max())
    if not off <= allowed or float(unknown[-1].abs()) < 1e-9:
        raise ArgumentError(
            "state", f"a guess that leaves {off:.3g}", f"a Hopf point to {allowed:.3g}",
            "start nearer to where a complex pair crosses the imaginary axis",
        )  # fmt: skip
    return Hopf(unknown[:size], unknown[-2], unknown[-1].abs(), off)


def _crossings(rates: Tensor) -> list[int]:
    """Points next to where two rates or more change sides and the one nearest to the axis turns.

    A growing pair that meets on the real axis changes no side, and real pairs, as of the sine and
    the cosine of a Turing pattern, do not turn.
    """
    growing = (rates.real > 0).sum(-1)
    nearest = rates.gather(-1, rates.real.abs().argmin(-1, keepdim=True))[:, 0]
    turning = nearest.imag.abs() > 1e-9 * (1 + rates.abs().amax(-1))
    found = []
    for k in ((growing[:-1] - growing[1:]).abs() >= 2).nonzero()[:, 0].tolist():
        ends = [j for j in (k, k + 1) if bool(turning[j])]
        if ends:
            found.append(min(ends, key=lambda j: float(nearest[j].real.abs())))
    return found
