"""A pattern-forming system on a grid: evolved, judged, followed in a parameter and steered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .bifurcation import Branch, continued
from .branch_stability import BifurcationDiagram, bifurcation_diagram
from .pattern_control import Box, ControlSignal, controlled
from .periodic_grid import PeriodicGrid
from .reaction_diffusion import Reaction, SemilinearFlow, reaction_diffusion

ParametricReaction = Callable[[Tensor, Tensor], Tensor]

_MOST_UNKNOWNS = 2048


@dataclass(frozen=True)
class StabilityMetrics:
    """How small perturbations of a pattern behave.

    Args:
        residual: the largest rate of the pattern itself, 0 if it is steady.
        eigenvalues: of the linearised flow, largest real part first, [n].
        perturbation_rate: v . J v / v . v, at which this perturbation's square sets off.
    """

    residual: float
    eigenvalues: Complex[Tensor, " n"]
    perturbation_rate: Float[Tensor, ""]

    @property
    def growth_rate(self) -> Float[Tensor, ""]:
        """The largest real part."""
        return self.eigenvalues[0].real


class PatternDynamics:
    """u' = D Laplacian u + f(u, lambda) of fields [*b, *grid, s].

    Args:
        grid: the periodic box.
        diffusion: D, [s] or [s, s].
        reaction: f, ([..., s], []) to [..., s], point by point.
        parameter: lambda.
        step: of time.
        method: of `SemilinearFlow.evolve`.
    """

    def __init__(
        self,
        grid: PeriodicGrid,
        diffusion: Float[Tensor, "s s"] | Float[Tensor, " s"],
        reaction: ParametricReaction,
        parameter: float,
        *,
        step: float = 0.1,
        method: str = "etdrk4",
    ) -> None:
        self.grid = grid
        self.diffusion = diffusion
        self.reaction = reaction
        self.parameter = parameter
        self.step = step
        self.method = method

    def flow(self, parameter: float | Tensor | None = None) -> SemilinearFlow:
        """The equation at a parameter, the system's own if None."""
        own = self.parameter if parameter is None else parameter
        at = torch.as_tensor(own, dtype=self.diffusion.dtype, device=self.diffusion.device)
        return reaction_diffusion(self.grid, self.diffusion, lambda u: self.reaction(u, at))

    def reaction_diffusion(
        self,
        state: Float[Tensor, "*b *grid s"],
        diffusion_tensor: Float[Tensor, "s s"] | Float[Tensor, " s"] | None = None,
        reaction_term: Reaction | None = None,
        *,
        steps: int = 1,
    ) -> Float[Tensor, "*b *grid s"]:
        """The state after some steps, with another D or f if one is given."""
        own = self.flow()
        flow = reaction_diffusion(
            self.grid,
            self.diffusion if diffusion_tensor is None else diffusion_tensor,
            own.nonlinearity if reaction_term is None else reaction_term,
        )
        return flow.evolve(state, step=self.step, steps=steps, method=self.method)

    def stability_analysis(
        self, pattern: Float[Tensor, "*grid s"], perturbation: Float[Tensor, "*grid s"]
    ) -> StabilityMetrics:
        """The rates at which perturbations of a pattern grow, by the dense Jacobian.

        A pattern that breaks translations has a rate 0 for each direction it may be moved in.

        Raises:
            ArgumentError: over 2048 unknowns; a perturbation that is 0 or of another shape.
        """
        flow = self.flow()
        self._check(pattern)
        if perturbation.shape != pattern.shape or not bool((perturbation != 0).any()):
            raise ArgumentError(
                "perturbation", list(perturbation.shape), f"other than 0, {list(pattern.shape)}",
                "pass a like field",
            )  # fmt: skip
        jacobian = self._jacobian(flow, pattern)
        rates = torch.linalg.eigvals(jacobian)
        rates = rates[rates.real.detach().argsort(descending=True)]
        v = perturbation.reshape(-1)
        along = v @ jacobian @ v / (v @ v)
        moving = float(flow.rate(pattern).detach().abs().max())
        return StabilityMetrics(moving, rates, along)

    def bifurcation_analysis(
        self,
        pattern: Float[Tensor, "*grid s"],
        parameter: float,
        range: tuple[float, float],
        *,
        step: float = 0.1,
        steps: int = 50,
    ) -> BifurcationDiagram:
        """The branch of steady patterns from a guess, with stability, folds and Hopf points.

        Lengths are sqrt(mean u^2 + lambda^2). The branch ends where lambda leaves the range. Fix
        translations first, as by a homogeneous pattern: where they leave a rate of 0, Newton's
        matrix is singular.

        Args:
            pattern: a guess at a steady state, at `parameter`.
            range: of lambda, lowest and highest; it must hold `parameter`.
            step, steps: of `continued`.
        """
        self._check(pattern)
        low, high = range
        if not low <= parameter <= high or low == high:
            raise ArgumentError("range", range, f"low < high around {parameter}", "widen it")
        scale, linear = pattern.numel() ** 0.5, self.flow()

        def residual(u: Tensor, at: Tensor) -> Tensor:
            field = (u * scale).reshape(pattern.shape)
            rate = linear.linear_rate(field) + self.reaction(field, at)
            found: Tensor = rate.reshape(-1) / scale
            return found

        start = pattern.reshape(-1) / scale
        branch = continued(residual, start, parameter, step=step, steps=steps)
        outside = ((branch.parameters < low) | (branch.parameters > high)).nonzero()[:, 0]
        end = int(outside[0]) if len(outside) else len(branch.parameters)
        kept = Branch(branch.states[:end], branch.parameters[:end], branch.tangents[:end])
        return bifurcation_diagram(residual, kept)

    def pattern_control(
        self,
        current: Float[Tensor, "*grid s"],
        target: Float[Tensor, "*grid s"],
        constraints: Sequence[Box] = (),
        *,
        steps: int = 20,
        effort: float = 1e-3,
        iterations: int = 200,
    ) -> ControlSignal:
        """Forces on every point and species, inside all boxes, that lead to a target.

        u' = D Laplacian u + f(u) + c with c constant during each step; see `controlled`.
        """
        flow = self.flow()
        self.grid.check(current)

        step = flow.stepper(current, self.step, self.method)

        def advance(field: Tensor, force: Tensor) -> Tensor:
            def rate(spectrum: Tensor) -> Tensor:
                return self.grid.transform(flow.nonlinearity(self.grid.inverse(spectrum)) + force)

            return self.grid.inverse(step(self.grid.transform(field), rate))

        return controlled(
            advance, current, target, steps=steps, box=_meet(constraints, current), effort=effort,
            iterations=iterations,
        )  # fmt: skip

    def _jacobian(self, flow: SemilinearFlow, pattern: Tensor) -> Tensor:
        def rate(u: Tensor) -> Tensor:
            field = u.reshape(pattern.shape)
            return (flow.linear_rate(field) + flow.nonlinearity(field)).reshape(-1)

        found: Tensor = torch.func.jacrev(rate)(pattern.reshape(-1))
        return found

    def _check(self, pattern: Tensor) -> None:
        self.grid.check(pattern)
        if pattern.dim() != len(self.grid.points) + 1 or pattern.numel() > _MOST_UNKNOWNS:
            raise ArgumentError(
                "pattern", list(pattern.shape), f"one field of at most {_MOST_UNKNOWNS} unknowns",
                "pass one pattern, on a coarser grid",
            )  # fmt: skip


def _meet(constraints: Sequence[Box], like: Tensor) -> Box:
    lower = torch.full_like(like, -torch.inf)
    upper = torch.full_like(like, torch.inf)
    for box in constraints:
        lower = torch.maximum(lower, torch.as_tensor(box.lower, dtype=like.dtype))
        upper = torch.minimum(upper, torch.as_tensor(box.upper, dtype=like.dtype))
    return Box(lower, upper)
