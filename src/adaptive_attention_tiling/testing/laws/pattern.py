"""Laws of patterns: stable, symmetric, the same at every scale; and conserved quantities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import HamiltonianSystem, PatternDynamics, SemilinearFlow
from .perturbation import (
    Dynamics,
    check_rate_converged,
    checked_fields,
    full_rate,
    linear_rate,
    time_map,
)
from .report import LawReport, at_place, judged, summarised
from .rescaling import Function, Rescaling, before_and_after
from .symmetry_group import Crystal, Group, moved, roundings_of

Observable = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class PatternValidation:
    """Laws of a pattern: a tensor, a `Crystal`, or where scales are changed a function.

    Args:
        dynamics: of stability: a PatternDynamics, a SemilinearFlow, or u' as a function of u.
        step: of time, where the dynamics has none of its own; a rate u' is gone through by half of
            it too, and must grow alike.
        largest_rate: up to which a perturbation does not grow, per time; translations of a pattern
            have a rate of 0, and a number below 0 asks for decay.
        rounds: how often the time is gone through by the linearised flow; with more of them its
            rate is that of the fastest perturbation instead of the one given.
        rest: how far a steady pattern may move, as a share of its largest entry.
        tolerance: of symmetries, as a share of the spread max - min of a tensor or of the longest
            vector of a crystal; of scale, as a share of each number; of a bracket, of its terms.
        group_axioms: ask for the identity, products and inverses too.
        points: where functions are compared, or conserved quantities looked at.
        seed: of the tensor that functions are composed on.
    """

    dynamics: Dynamics | None = None
    step: float = 0.1
    largest_rate: float = 1e-6
    rounds: int = 1
    rest: float = 1e-6
    tolerance: float = 1e-9
    group_axioms: bool = True
    points: Tensor | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.rounds, bool) or self.rounds < 1:
            raise ArgumentError("rounds", self.rounds, "an integer >= 1", "pass rounds=1")
        for name in ("rest", "tolerance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ArgumentError(name, getattr(self, name), "a number >= 0", f"pass {name}=1e-9")

    def check_pattern_stability(
        self, pattern: Tensor, perturbation: Tensor, time: float
    ) -> LawReport:
        """A perturbation does not grow in a time, linearised about the pattern and as it is.

        With Phi the flow for the time and v the perturbation,

            ln(|DPhi(u) v| / |v|) / time    and    ln(|Phi(u + v) - Phi(u)| / |v|) / time

        are at most `largest_rate`, where Phi(u) = u: the pattern rests, or the time is its period.
        A norm may grow for a while though every rate is negative: take a longer time.

        Args:
            pattern: u, of a shape that the dynamics take.
            perturbation: v, other than 0.
            time: > 0.
        """
        u, v = checked_fields(pattern, perturbation)
        advance = time_map(self.dynamics, time, self.step)
        with torch.no_grad():
            end = advance(u)
        drift = (end - u).abs()
        size = float(u.abs().max())
        rounding = 64 * torch.finfo(u.dtype).eps
        at_rest = judged(
            drift, law="pattern is steady, or of this period", quantity="how far it moves",
            upper=(self.rest + rounding) * (size if size > 0 else 1.0),
            where=at_place("entry", drift.shape), not_shown="its stability",
        )  # fmt: skip
        if not at_rest:
            return at_rest
        rate = linear_rate(advance, u, v, time, self.rounds)
        if not isinstance(self.dynamics, PatternDynamics | SemilinearFlow):
            finer = time_map(self.dynamics, time, self.step / 2)
            check_rate_converged(rate, linear_rate(finer, u, v, time, self.rounds), self.step)
        law = "pattern is stable: |v(t)| <= exp(rate t) |v(0)|"
        rates = (
            (rate, "rate of the linearised flow"),
            (full_rate(advance, u, end, v, time), "rate of the perturbation as it is"),
        )
        # That something is gone altogether is a rate of minus infinity.
        return summarised(*(
            LawReport(
                law=law, quantity=quantity, measured=max(rate, -1e300),
                upper=self.largest_rate + rounding / time, where=f"after time {time:g}",
                cases=self.rounds,
                not_shown="other perturbations, which may grow, and larger ones",
            ) for rate, quantity in rates
        ))  # fmt: skip

    def verify_symmetries(self, pattern: Tensor | Crystal, symmetry_group: Group) -> LawReport:
        """Every operation keeps the pattern, and the operations are a group.

        Args:
            pattern: a tensor, or a `Crystal`.
            symmetry_group: beside a tensor a list of functions of it, or permutations [s, m] of its
                first axis, u[p]; beside a crystal its `SymmetryOperations`.
        """
        found = moved(pattern, symmetry_group, self.seed)
        rounding, of_probe = roundings_of(pattern)

        def part(values: Tensor, law: str, quantity: str, name: str, slack: float) -> LawReport:
            return judged(
                values, law=law, quantity=quantity, upper=self.tolerance + slack,
                where=at_place(name, values.shape), not_shown="symmetries that were not given",
            )  # fmt: skip

        kept = part(
            found.pattern,
            "pattern is symmetric: g u = u",
            "how far g moves it",
            "operation",
            rounding,
        )
        if not self.group_axioms:
            return kept
        law = "symmetries are a group: 1, g h and the inverse of g are among them"
        return summarised(
            kept,
            part(
                found.identity[None], law, "distance to the identity", "nearest operation", of_probe
            ),
            part(
                found.products, law, "distance of a product to the nearest one", "product", of_probe
            ),
            part(found.inverses, law, "distance to the nearest inverse", "operation", of_probe),
        )

    def check_scale_invariance(
        self,
        pattern: Tensor | Function,
        scale_transformation: Callable[[Any], Any] | Rescaling,
    ) -> LawReport:
        """A change of scale keeps the pattern: R(u) = u, or f(b x) = b^-y f(x).

        Args:
            pattern: a tensor, as couplings of a block map; or a function of `points`, as a
                correlation.
            scale_transformation: R from tensors to tensors or from functions to functions; or a
                `Rescaling` of functions.

        Each number is compared with itself, so leave out points where f is 0 but for rounding;
        entries of a tensor that are 0 beside the largest one are told from it by themselves.
        """
        before, after = before_and_after(pattern, scale_transformation, self.points, self.seed)
        size = torch.maximum(before.abs(), after.abs())
        if isinstance(pattern, Tensor):
            # Couplings that vanish by symmetry do so but for the rounding of others.
            most = size.max()
            size = torch.where(size > 4 * torch.finfo(size.dtype).eps * most, size, most)
        apart = (after - before).abs() / torch.where(size > 0, size, 1.0)
        return judged(
            apart, law="pattern has no scale: R(u) = u", quantity="relative change",
            upper=self.tolerance + 64 * torch.finfo(apart.dtype).eps,
            where=at_place("entry" if isinstance(pattern, Tensor) else "point", apart.shape),
            not_shown="other changes of scale, and which perturbations are relevant",
        )  # fmt: skip

    def verify_conservation(
        self, hamiltonian: HamiltonianSystem, generator: Observable
    ) -> LawReport:
        """Noether: G generates a symmetry of H, and is conserved, where {H, G} = 0.

        Args:
            hamiltonian: a system of n positions and momenta.
            generator: G, from z = (q, p) [*b, 2n] to [*b], looked at in `points` [*b, 2n].

        Source: Arnold, Mathematical Methods of Classical Mechanics (1989), section 40.
        """
        if self.points is None or self.points.shape[-1] % 2 or not self.points.numel():
            raise ArgumentError("points", None, "[*b, 2n]", "pass PatternValidation(points=z)")
        z, n = self.points.detach(), self.points.shape[-1] // 2

        def energy(x: Tensor) -> Tensor:
            return hamiltonian.compute_hamiltonian(x[..., :n], x[..., n:])

        bracket = hamiltonian.poisson_bracket(energy, generator, z)
        one, other = (_gradient(f, z) for f in (energy, generator))
        terms = (one[..., :n] * other[..., n:]).abs() + (one[..., n:] * other[..., :n]).abs()
        unit = terms.sum(-1)
        if not bool((other != 0).any()):
            raise ArgumentError("generator", "a constant", "a function of z", "pass G(z)")
        share = bracket.abs() / torch.where(unit > 0, unit, 1.0)
        return judged(
            share, law="G is conserved: {H, G} = 0", quantity="bracket, as a share of its terms",
            upper=self.tolerance + 64 * n * torch.finfo(share.dtype).eps,
            where=at_place("point", share.shape), not_shown="points that were not given",
        )  # fmt: skip

    def all(
        self,
        pattern: Tensor,
        perturbation: Tensor | None = None,
        time: float = 1.0,
        symmetry_group: Group | None = None,
        scale_transformation: Callable[[Any], Any] | None = None,
    ) -> list[LawReport]:
        """Each law of the class for which there is something to judge."""
        found = []
        if perturbation is not None:
            found.append(self.check_pattern_stability(pattern, perturbation, time))
        if symmetry_group is not None:
            found.append(self.verify_symmetries(pattern, symmetry_group))
        if scale_transformation is not None:
            found.append(self.check_scale_invariance(pattern, scale_transformation))
        if not found:
            raise ArgumentError(
                "perturbation", None, "one of perturbation, symmetry_group, scale_transformation",
                "name a law to judge by",
            )  # fmt: skip
        return found


def _gradient(function: Observable, z: Float[Tensor, "*b 2n"]) -> Float[Tensor, "*b 2n"]:
    found: Tensor = torch.func.grad(lambda x: function(x).sum())(z)
    return found
