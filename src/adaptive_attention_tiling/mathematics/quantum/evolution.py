"""How states change in time: Schrödinger's and Lindblad's equations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from ..runge_kutta import integrate
from .density_matrix import check_density_matrix


def check_hermitian(name: str, operator: Tensor) -> None:
    """Raise an ArgumentError unless this is [..., d, d], finite and Hermitian to sqrt(eps)."""
    shape, complex_ = operator.shape, operator.is_complex()
    if operator.dim() < 2 or shape[-1] != shape[-2] or not complex_ or not operator.numel():
        raise ArgumentError(
            name, f"{operator.dtype} {list(shape)}", "complex [..., d, d]", "pass matrices"
        )
    operator = operator.detach()
    if not bool(operator.isfinite().all()):
        raise ArgumentError(name, "NaN or infinity", "finite numbers", "look where they come from")
    skew = float((operator - operator.mH).abs().max())
    if skew > math.sqrt(torch.finfo(operator.dtype).eps) * float(operator.abs().max()):
        raise ArgumentError(name, f"{skew:.3g} from Hermitian", "A^H = A", "pass (A + A^H) / 2")


def propagator(
    hamiltonian: Complex[Tensor, "*b d d"], time: float | Float[Tensor, "*b"]
) -> Complex[Tensor, "*b d d"]:
    """U = exp(-i H t), with hbar = 1.

    By scaling and squaring (`torch.matrix_exp`), which is differentiable at equal energies too.

    Args:
        hamiltonian: H, in units of energy.
        time: t, in units of hbar over energy; may be negative.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 2.2.2.
    """
    check_hermitian("hamiltonian", hamiltonian)
    duration = torch.as_tensor(time, dtype=hamiltonian.real.dtype, device=hamiltonian.device)
    if not bool(duration.detach().isfinite().all()):
        raise ArgumentError("time", "NaN or infinity", "finite times", "pass a duration")
    found: Tensor = torch.linalg.matrix_exp(-1j * duration[..., None, None] * hamiltonian)
    return found


def evolve_vector(
    vector: Complex[Tensor, "*b d"],
    hamiltonian: Complex[Tensor, "*b d d"],
    time: float | Float[Tensor, "*b"],
) -> Complex[Tensor, "*b d"]:
    """exp(-i H t) psi, psi of any norm."""
    _check_size(hamiltonian, vector.shape[-1:])
    return (propagator(hamiltonian, time) @ vector[..., None])[..., 0]


def evolve_density(
    state: Complex[Tensor, "*b d d"],
    hamiltonian: Complex[Tensor, "*b d d"],
    time: float | Float[Tensor, "*b"],
    jumps: Complex[Tensor, "*b k d d"] | None = None,
) -> Complex[Tensor, "*b d d"]:
    """rho after a time t of d rho / dt = -i [H, rho] + sum_k L rho L^H - {L^H L, rho} / 2.

    Without jumps this is U rho U^H. With them it is exp(t G) of the d^2 x d^2 generator, exact and
    meant for d up to about 32.

    Args:
        state: rho.
        hamiltonian: H.
        time: t >= 0 if there are jumps.
        jumps: L_k, in units of 1 / sqrt(time).

    Lindblad, On the generators of quantum dynamical semigroups (1976), theorem 2.
    """
    check_density_matrix(state)
    _check_size(hamiltonian, state.shape[-1:])
    if jumps is None:
        turn = propagator(hamiltonian, time)
        return turn @ state @ turn.mH
    duration = torch.as_tensor(time, dtype=state.real.dtype, device=state.device)
    if not bool(((duration.detach() >= 0) & duration.detach().isfinite()).all()):
        raise ArgumentError("time", "one below 0, or NaN", "times >= 0", "decay has one direction")
    generator = lindblad_generator(hamiltonian, jumps)
    flow = torch.linalg.matrix_exp(duration[..., None, None] * generator)
    found: Tensor = (flow @ state.flatten(-2)[..., None])[..., 0].unflatten(-1, state.shape[-2:])
    return found


def evolve_driven(
    state: Complex[Tensor, "*b d d"],
    hamiltonian: Callable[[Tensor], Tensor],
    times: Float[Tensor, " t"],
    jumps: Complex[Tensor, "*b k d d"] | None = None,
    *,
    relative_tolerance: float = 1e-10,
    absolute_tolerance: float = 1e-12,
) -> Complex[Tensor, "t *b d d"]:
    """rho at each of the times, from Lindblad's equation with an H that changes in time.

    By Runge-Kutta steps of order 5; traces keep to rounding, eigenvalues to the tolerances.

    Args:
        state: rho at times[0].
        hamiltonian: H(t) [*b, d, d] of a time without axes; checked to be Hermitian at the first
            and the last of the times.
        times: rising; falling only without jumps.
        jumps: L_k, in units of 1 / sqrt(time).
        relative_tolerance: > 0, of a step.
        absolute_tolerance: >= 0, of a step.

    Breuer and Petruccione, The Theory of Open Quantum Systems (2002), section 3.2.1.
    """
    check_density_matrix(state)
    size = state.shape[-1]
    if jumps is None:
        jumps = state.new_zeros(1, size, size)
    elif times.dim() == 1 and len(times) > 1 and bool(times[0] > times[-1]):
        raise ArgumentError("times", "falling ones", "rising ones", "decay has one direction")
    _check_jumps(jumps, size)
    for end in times.flatten()[:: max(times.numel() - 1, 1)]:
        check_hermitian("hamiltonian", hamiltonian(end))
        _check_size(hamiltonian(end), state.shape[-1:])
        state = state.expand(torch.broadcast_shapes(state.shape, hamiltonian(end).shape))
    state = state.expand(torch.broadcast_shapes(state.shape, jumps[..., 0, :, :].shape))
    lost = (jumps.mH @ jumps).sum(-3) / 2

    def slope(time: Tensor, rho: Tensor) -> Tensor:
        drift = (-1j * hamiltonian(time) - lost) @ rho
        gained = jumps @ rho[..., None, :, :] @ jumps.mH
        return drift + drift.mH + gained.sum(-3)

    found: Tensor = integrate(
        slope,
        state,
        times,
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )
    return found


def stationary_density(
    hamiltonian: Complex[Tensor, "*b d d"], jumps: Complex[Tensor, "*b k d d"]
) -> Complex[Tensor, "*b d d"]:
    """The only rho with -i [H, rho] + sum_k L rho L^H - {L^H L, rho} / 2 = 0.

    Every state tends to it. It solves (G + 1 <tr| / d) rho = 1 / d, G the `lindblad_generator`.

    Args:
        hamiltonian: H.
        jumps: L_k; with too few of them more than one state stays, which is refused.

    Spohn, An algebraic condition for the approach to equilibrium of an open N-level system (1977).
    """
    generator = lindblad_generator(hamiltonian, jumps)
    size = hamiltonian.shape[-1]
    singular = torch.linalg.svdvals(generator.detach())
    rounding = math.sqrt(torch.finfo(singular.dtype).eps)
    if size > 1 and bool((singular[..., -2] <= rounding * singular[..., 0]).any()):
        raise ArgumentError(
            "jumps", "more than one state that stays", "one that all tend to", "add a jump"
        )
    trace = torch.eye(size).to(generator).flatten()
    system = generator + trace[:, None] * trace / size
    found = torch.linalg.solve(system, (trace / size).expand(system.shape[:-1]))
    rho: Tensor = found.unflatten(-1, (size, size))
    return rho


def lindblad_generator(
    hamiltonian: Complex[Tensor, "*b d d"], jumps: Complex[Tensor, "*b k d d"]
) -> Complex[Tensor, "*b e e"]:
    """G with d vec(rho) / dt = G vec(rho), e = d^2: vec(A rho B) = A x B^T vec(rho).

    Breuer and Petruccione, The Theory of Open Quantum Systems (2002), section 3.2.2.
    """
    check_hermitian("hamiltonian", hamiltonian)
    size = hamiltonian.shape[-1]
    _check_jumps(jumps, size)
    identity = torch.eye(size, dtype=hamiltonian.dtype, device=hamiltonian.device)
    drift = -1j * hamiltonian - (jumps.mH @ jumps).sum(-3) / 2
    gained = _kron(jumps, jumps.conj()).sum(-3)
    return gained + _kron(drift, identity) + _kron(identity, drift.conj())


def _check_size(hamiltonian: Tensor, size: tuple[int, ...]) -> None:
    if hamiltonian.shape[-1:] != size:
        raise ArgumentError(
            "hamiltonian",
            f"{list(hamiltonian.shape)} for states of dimension {list(size)}",
            "that of the states",
            "name operators on the same space",
        )


def _check_jumps(jumps: Tensor, size: int) -> None:
    if jumps.dim() < 3 or jumps.shape[-2:] != (size, size) or not jumps.is_complex():
        raise ArgumentError(
            "jumps",
            f"{jumps.dtype} {list(jumps.shape)}",
            f"complex [..., k, {size}, {size}]",
            "stack the operators",
        )
    if not bool(jumps.detach().isfinite().all()):
        raise ArgumentError("jumps", "NaN or infinity", "finite numbers", "look at their rates")


def _kron(one: Tensor, other: Tensor) -> Tensor:
    product = torch.einsum("...ij,...kl->...ikjl", one, other)
    return product.flatten(-4, -3).flatten(-2)
