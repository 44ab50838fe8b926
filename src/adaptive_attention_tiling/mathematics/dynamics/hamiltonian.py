"""Hamilton's equations of a function H(q, p), by autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..geometry import SymplecticForm
from ..runge_kutta import integrate
from .symplectic_integrators import (
    SPLITTINGS,
    implicit_midpoint_orbit,
    split_orbit,
    stability_reach,
)

Energy = Callable[[Tensor, Tensor], Tensor]
Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HamiltonianFlow:
    """An orbit: times [t], positions and momenta [t, *b, n], energies [t, *b]."""

    times: Tensor
    positions: Tensor
    momenta: Tensor
    energies: Tensor

    @property
    def energy_error(self) -> Float[Tensor, "*b"]:
        """max_t |H(t) - H(0)|."""
        return (self.energies - self.energies[0]).abs().amax(0)


class HamiltonianSystem:
    """Mechanics of n positions q and n momenta p, both [*b, n], with z = (q, p) [*b, 2n].

        q' = dH/dp,    p' = -dH/dq

    Everything has gradients, in the start and in whatever H depends on.

    Args:
        hamiltonian: H, two tensors [*b, n] to [*b], each row on its own; in units of energy.

    Source: Arnold, Mathematical Methods of Classical Mechanics (1989), sections 15 and 40.
    """

    def __init__(self, hamiltonian: Energy) -> None:
        self.hamiltonian = hamiltonian

    def compute_hamiltonian(
        self, state: Float[Tensor, "*b n"], momentum: Float[Tensor, "*b n"]
    ) -> Float[Tensor, "*b"]:
        """H(q, p)."""
        _check(state, momentum)
        return self.hamiltonian(state, momentum)

    def hamilton_equations(
        self, state: tuple[Tensor, Tensor], hamiltonian: Energy | None = None
    ) -> tuple[Float[Tensor, "*b n"], Float[Tensor, "*b n"]]:
        """(q', p') at a state (q, p), of another H if one is given."""
        _check(*state)
        energy = self.hamiltonian if hamiltonian is None else hamiltonian
        slopes = torch.func.grad(lambda q, p: energy(q, p).sum(), argnums=(0, 1))(*state)
        return slopes[1], -slopes[0]

    def symplectic_form(
        self, vectors: tuple[Float[Tensor, "*b 2n"], Float[Tensor, "*b 2n"]]
    ) -> Float[Tensor, "*b"]:
        """omega(u, v) = sum_i u_q v_p - u_p v_q of two changes (dq, dp)."""
        u, v = vectors
        return SymplecticForm.standard(u.shape[-1] // 2)(u, u, v)

    def poisson_bracket(
        self, f: Function, g: Function, state: Float[Tensor, "*b 2n"]
    ) -> Float[Tensor, "*b"]:
        """{f, g} = sum_i df/dq_i dg/dp_i - df/dp_i dg/dq_i at z; {q, p} = 1, f' = {f, H}."""
        return SymplecticForm.standard(state.shape[-1] // 2).poisson_bracket(f, g)(state)

    def stability_limit(
        self,
        state: Float[Tensor, "*b n"],
        momentum: Float[Tensor, "*b n"],
        method: str = "leapfrog",
    ) -> float:
        """The largest step at which a splitting of small swings about these states stays bounded.

        reach / omega, omega^2 the largest eigenvalue of T''(p) V''(q) over the batch, and reach
        that of the method: 2 for "leapfrog". Infinite where nothing swings.

        Raises:
            ArgumentError: no splitting; second derivatives of H that are not finite.
        """
        _check(state, momentum)
        if method not in SPLITTINGS:
            raise ArgumentError(
                "method", repr(method), f"one of {sorted(SPLITTINGS)}", "others have no such limit"
            )
        if state.numel() == 0:
            return math.inf
        rows = state.detach().reshape(-1, state.shape[-1])
        moving = momentum.detach().reshape_as(rows)
        bent = torch.func.vmap(torch.func.hessian(self.hamiltonian, argnums=0))(rows, moving)
        inertia = torch.func.vmap(torch.func.hessian(self.hamiltonian, argnums=1))(rows, moving)
        matrix = (inertia @ bent).detach()
        if not bool(matrix.isfinite().all()):
            raise ArgumentError(
                "state", "second derivatives of H that are not finite", "a state where H is smooth",
                "begin elsewhere",
            )  # fmt: skip
        squares = torch.linalg.eigvals(matrix)
        fastest, rounding = float(squares.real.max()), torch.finfo(matrix.dtype).eps
        swings = fastest > 4 * rounding * float(squares.abs().max())
        return stability_reach(method) / math.sqrt(fastest) if swings else math.inf

    def flow(
        self,
        state: Float[Tensor, "*b n"],
        momentum: Float[Tensor, "*b n"],
        *,
        step: float,
        steps: int,
        method: str = "leapfrog",
    ) -> HamiltonianFlow:
        """The orbit in `steps` equal steps.

        Args:
            method: "symplectic_euler", "leapfrog" or "yoshida4" for H = T(p) + V(q), which the
                start is asked about; "implicit_midpoint" for any H; "euler", "midpoint" or "rk4",
                whose energies drift.

        Raises:
            ArgumentError: a splitting of an H that is no sum; a step beyond `stability_limit` at
                the start; an orbit that leaves the finite numbers.
        """
        _check(state, momentum)
        half = state.shape[-1]
        times = step * torch.arange(steps + 1, dtype=state.dtype, device=state.device)
        if method in SPLITTINGS:
            self._check_separable(state, momentum)
            self._check_stable(state, momentum, step, method)
            orbit = split_orbit(
                lambda p: self.hamilton_equations((state, p))[0],
                lambda q: self.hamilton_equations((q, momentum))[1],
                state,
                momentum,
                step=step,
                steps=steps,
                method=method,
            )
            positions, momenta = orbit.positions, orbit.momenta
        else:
            start = torch.cat([state, momentum], -1)
            if method == "implicit_midpoint":
                phase = implicit_midpoint_orbit(self._field, start, step=step, steps=steps)
            else:
                phase = integrate(lambda t, z: self._field(z), start, times, method=method, steps=1)
            positions, momenta = phase[..., :half], phase[..., half:]
        if not bool((positions.isfinite() & momenta.isfinite()).all()):
            raise ArgumentError(
                "step", step, "one that keeps the orbit finite", "take smaller steps, or fewer"
            )
        return HamiltonianFlow(times, positions, momenta, self.hamiltonian(positions, momenta))

    def _field(self, z: Tensor) -> Tensor:
        half = z.shape[-1] // 2
        return torch.cat(self.hamilton_equations((z[..., :half], z[..., half:])), -1)

    def _check_stable(self, state: Tensor, momentum: Tensor, step: float, method: str) -> None:
        limit = self.stability_limit(state, momentum, method)
        if abs(step) >= limit:
            raise ArgumentError(
                "step",
                step,
                f"|step| < {limit:.6g}, beyond which {method} lets small swings grow",
                "take smaller steps, or method='implicit_midpoint'",
            )

    def _check_separable(self, state: Tensor, momentum: Tensor) -> None:
        """Raise an ArgumentError where d^2 H / dq dp v is not 0 for a direction v."""
        direction = torch.linspace(1, 2, momentum.shape[-1], dtype=momentum.dtype).to(momentum)
        mixed = torch.func.jvp(
            lambda p: self.hamilton_equations((state, p))[1],
            (momentum,),
            (direction.expand_as(momentum).contiguous(),),
        )[1]
        largest = float(mixed.detach().abs().max()) if mixed.numel() else 0.0
        if largest > 0:
            raise ArgumentError(
                "method",
                f"a splitting for H with d^2 H / dq dp up to {largest:.3g}",
                "H = T(p) + V(q)",
                "pass method='implicit_midpoint'",
            )


def _check(state: Tensor, momentum: Tensor) -> None:
    alike = state.shape == momentum.shape and state.dtype == momentum.dtype
    if not alike or state.dim() < 1 or not state.is_floating_point():
        raise ArgumentError(
            "momentum",
            f"{momentum.dtype} {list(momentum.shape)} beside {state.dtype} {list(state.shape)}",
            "positions and momenta, floating, [*b, n]",
            "pass one momentum for each position",
        )
