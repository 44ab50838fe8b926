"""Growth rates of small perturbations: of homogeneous states by wave number, of periodic orbits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate

Reaction = Callable[[Tensor], Tensor]


class TuringThreshold(NamedTuple):
    """ratio d_c = D_2 / D_1 and wavenumber_squared k_c^2, in units of D_1 = 1, [*b]."""

    ratio: Tensor
    wavenumber_squared: Tensor


def reaction_jacobian(reaction: Reaction, state: Float[Tensor, "*b s"]) -> Float[Tensor, "*b s s"]:
    """df_i / du_j at each state, by autograd; i is the row."""
    flat = state.reshape(-1, state.shape[-1])
    found: Tensor = torch.func.vmap(torch.func.jacrev(reaction))(flat)
    return found.reshape(*state.shape, state.shape[-1])


def dispersion_relation(
    reaction: Reaction,
    state: Float[Tensor, "*b s"],
    diffusion: Float[Tensor, "s s"] | Float[Tensor, " s"],
    wavenumbers: Float[Tensor, " k"],
) -> Complex[Tensor, "*b k s"]:
    """The rates sigma of perturbations e^(sigma t + i k x): the eigenvalues of J - k^2 D.

    Args:
        reaction: f, [..., s] to [..., s].
        state: where f vanishes.
        diffusion: D, [s] or with cross diffusion [s, s].
        wavenumbers: k.

    Raises:
        ArgumentError: f does not vanish at the state.

    Source: Murray, Mathematical Biology II (2003), equation 2.22.
    """
    _check_rest(reaction, state)
    matrix = torch.diag_embed(diffusion) if diffusion.dim() == 1 else diffusion
    jacobian = reaction_jacobian(reaction, state)[..., None, :, :]
    found: Tensor = torch.linalg.eigvals(jacobian - wavenumbers.square()[:, None, None] * matrix)
    return found


def growth_rate(
    reaction: Reaction,
    state: Float[Tensor, "*b s"],
    diffusion: Float[Tensor, "s s"] | Float[Tensor, " s"],
    wavenumbers: Float[Tensor, " k"],
) -> Float[Tensor, "*b k"]:
    """The largest real part of the dispersion relation at each wave number."""
    return dispersion_relation(reaction, state, diffusion, wavenumbers).real.amax(-1)


def turing_threshold(reaction: Reaction, state: Float[Tensor, "*b 2"]) -> TuringThreshold:
    """Where diffusion makes a stable state of two species grow: the larger root d_c of

        d f_u + g_v = 2 sqrt(d det J),    at    k_c^2 = sqrt(det J / d_c).

    With D_1 other than 1 divide k_c^2 by it. Differentiable in all that the reaction depends on.

    Args:
        reaction: (f, g) of (u, v); u, the activator, comes first: f_u > 0.
        state: where both vanish, stable without diffusion.

    Raises:
        ArgumentError: no such state, as f_u <= 0, tr J >= 0 or det J <= 0.

    Source: Murray, Mathematical Biology II (2003), equations 2.27 to 2.30.
    """
    if state.shape[-1] != 2:
        raise ArgumentError("state", list(state.shape), "[*b, 2]", "pass two species")
    _check_rest(reaction, state)
    jacobian = reaction_jacobian(reaction, state)
    f_u, g_v = jacobian[..., 0, 0], jacobian[..., 1, 1]
    determinant = torch.linalg.det(jacobian)
    if not bool(((f_u > 0) & (f_u + g_v < 0) & (determinant > 0)).all()):
        raise ArgumentError(
            "state", jacobian.tolist(), "a Jacobian with f_u > 0, tr < 0 and det > 0",
            "put the activator first, and take a state that is stable without diffusion",
        )  # fmt: skip
    root = (determinant.sqrt() + (determinant - f_u * g_v).sqrt()) / f_u
    return TuringThreshold(root.square(), determinant.sqrt() / root)


def floquet_multipliers(
    field: Callable[[Tensor], Tensor],
    state: Float[Tensor, " n"],
    period: float | Tensor,
    *,
    steps: int = 400,
) -> Complex[Tensor, " n"]:
    """The eigenvalues of the monodromy matrix of x' = f(x), largest first.

        M' = (df/dx) M,    M(0) = 1,    along the orbit for one period, by rk4.

    One is 1, along the orbit; it is stable where all others lie inside the unit circle.

    Args:
        field: f, [n] to [n].
        state: on the orbit.
        period: T.
        steps: of rk4.

    Raises:
        ArgumentError: the orbit has not closed after a period, to 1e-3 of 1 + |x|.

    Source: Hartman, Ordinary Differential Equations (1964), section IV.6.
    """
    end, monodromy = monodromy_matrix(field, state, period, steps=steps)
    gap = float((end - state).detach().norm())
    if not gap <= 1e-3 * (1 + float(state.detach().norm())):
        got = float(torch.as_tensor(period, dtype=torch.float64).detach())
        raise ArgumentError(
            "period", got, f"a period; the orbit misses by {gap:.3g}",
            "start on the orbit, or take more steps",
        )  # fmt: skip
    multipliers = torch.linalg.eigvals(monodromy)
    found: Tensor = multipliers[multipliers.detach().abs().argsort(descending=True)]
    return found


def monodromy_matrix(
    field: Callable[[Tensor], Tensor],
    state: Float[Tensor, " n"],
    time: float | Tensor,
    *,
    steps: int = 400,
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n n"]]:
    """Where x' = f(x) takes a state in a time, and the derivative of that by the state."""
    if state.dim() != 1:
        raise ArgumentError("state", list(state.shape), "[n]", "pass one state")

    def slope(t: Tensor, pair: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        point, columns = pair
        moved = torch.func.vmap(lambda v: torch.func.jvp(field, (point,), (v,))[1], 1, 1)(columns)
        return field(point), moved

    end = torch.as_tensor(time, dtype=state.dtype, device=state.device)
    times = torch.stack([torch.zeros_like(end), end])
    eye = torch.eye(len(state), dtype=state.dtype, device=state.device)
    path, matrices = integrate(slope, (state, eye), times, method="rk4", steps=steps)
    return path[-1], matrices[-1]


def _check_rest(reaction: Reaction, state: Tensor) -> None:
    rate = float(reaction(state).detach().abs().max())
    allowed = 1e3 * torch.finfo(state.dtype).eps * (1 + float(state.detach().abs().max())) ** 3
    if not rate <= allowed:
        raise ArgumentError(
            "state", f"one that moves at {rate:.3g}", "a steady state", "solve f(u) = 0 first"
        )
