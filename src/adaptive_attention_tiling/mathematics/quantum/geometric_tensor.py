"""The geometry of families of pure states: Fubini-Study metric, Berry curvature and holonomy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError


def quantum_geometric_tensor(
    family: Callable[[Tensor], Tensor], parameters: Float[Tensor, "*b p"]
) -> Complex[Tensor, "*b p p"]:
    """Q_ij = <d_i psi| (1 - P) |d_j psi> / <psi|psi>, P = |psi><psi| / <psi|psi>.

    Its real part is the Fubini-Study metric, d s^2 = 1 - |<psi|psi + d psi>|^2, its imaginary part
    -1/2 of Berry's curvature. Norm and phase of psi, which may depend on x, drop out.

    Args:
        family: psi(x), complex [*b, d], of parameters [*b, p], row by row.
        parameters: x.

    Provost and Vallee, Riemannian structure on manifolds of quantum states (1980), section 2.
    """
    if parameters.dim() < 1 or not parameters.is_floating_point():
        raise ArgumentError(
            "parameters",
            f"{parameters.dtype} {list(parameters.shape)}",
            "floating [..., p]",
            "pass at least one parameter",
        )
    state, slopes = _with_slopes(family, parameters)
    square = state.abs().square().sum(-1)
    if not bool((square.detach() > 0).all()):
        raise ArgumentError("family", "a state of norm 0 or NaN", "norms above 0", "shift it")
    along = torch.einsum("...id,...d->...i", slopes.conj(), state) / square[..., None]
    products = slopes.conj() @ slopes.mT / square[..., None, None]
    tensor: Tensor = products - along[..., :, None] * along[..., None, :].conj()
    return tensor


def fubini_study_metric(
    family: Callable[[Tensor], Tensor], parameters: Float[Tensor, "*b p"]
) -> Float[Tensor, "*b p p"]:
    """g_ij = Re Q_ij: a quarter of the quantum Fisher information of pure states."""
    return quantum_geometric_tensor(family, parameters).real


def berry_curvature(
    family: Callable[[Tensor], Tensor], parameters: Float[Tensor, "*b p"]
) -> Float[Tensor, "*b p p"]:
    """F_ij = d_i A_j - d_j A_i = -2 Im Q_ij of Berry's connection A_i = i <psi|d_i psi>.

    Berry, Quantal phase factors accompanying adiabatic changes (1984).
    """
    return -2 * quantum_geometric_tensor(family, parameters).imag


def pancharatnam_phase(loop: Complex[Tensor, "*b n d"]) -> Float[Tensor, "*b"]:
    """gamma = -arg prod_k <psi_k|psi_(k+1)>, psi_n = psi_0: the integral of A, from -pi to pi.

    Phases and norms of the states do not matter; the error of a smooth loop is of order n^-2.

    Args:
        loop: the states in order, without the first one again; at least 3.

    Pancharatnam (1956); Resta, Manifestations of Berry's phase (2000).
    """
    if loop.dim() < 2 or loop.shape[-2] < 3 or not loop.is_complex():
        raise ArgumentError(
            "loop", f"{loop.dtype} {list(loop.shape)}", "complex [..., n, d], n >= 3", "add states"
        )
    links = (loop.conj() * loop.roll(-1, -2)).sum(-1)
    if not bool((links.detach().abs() > 0).all()):
        raise ArgumentError("loop", "neighbours that are orthogonal", "an overlap", "add states")
    total = (links / links.abs()).prod(-1)
    return -total.angle()


def berry_holonomy(frames: Complex[Tensor, "*b n d k"]) -> Complex[Tensor, "*b k k"]:
    """W = M_0 M_1 ... M_(n-1), M_j the unitary factor of V_j^H V_(j+1), V_n = V_0.

    States V_0 c of a level with k equal energies come back from a slow loop as V_0 W^H c, up to
    the dynamical phase. Other frames of the same subspaces, V_j U_j, change W to U_0^H W U_0: its
    eigenvalues are of the loop alone. For k = 1 it is e^(-i gamma), gamma the `pancharatnam_phase`.

    Args:
        frames: an orthonormal basis of each subspace, in order, without the first one again; at
            least 3. The error of a smooth loop is of order n^-2.

    Wilczek and Zee, Appearance of gauge structure in simple dynamical systems (1984); Resta,
    Manifestations of Berry's phase (2000).
    """
    shape = frames.shape
    if frames.dim() < 3 or shape[-3] < 3 or shape[-1] > shape[-2] or not frames.is_complex():
        raise ArgumentError(
            "frames",
            f"{frames.dtype} {list(shape)}",
            "complex [..., n, d, k], n >= 3, k <= d",
            "stack one basis for each point of the loop",
        )
    rounding = torch.finfo(frames.dtype).eps ** 0.5
    gram = (frames.mH @ frames).detach() - torch.eye(shape[-1]).to(frames)
    if not float(gram.abs().max()) <= rounding:
        raise ArgumentError(
            "frames", "columns that are not orthonormal, or NaN", "V^H V = 1", "use torch.linalg.qr"
        )
    links = frames.mH @ frames.roll(-1, -3)
    if bool((torch.linalg.svdvals(links.detach())[..., -1] <= rounding).any()):
        raise ArgumentError("frames", "neighbours with nothing in common", "overlap", "add points")
    unitary, total = _unitary_factor(links), torch.eye(shape[-1]).to(frames)
    for k in range(shape[-3]):
        total = total @ unitary[..., k, :, :]
    return total


def _unitary_factor(matrix: Tensor) -> Tensor:
    """M of A = M (A^H A)^(1/2), by Newton's iteration; differentiable at equal singular values.

    Higham, Computing the polar decomposition with applications (1986), section 3.
    """
    identity = torch.eye(matrix.shape[-1]).to(matrix)
    for _ in range(64):
        gram = (matrix.mH @ matrix).detach()
        matrix = (matrix + torch.linalg.inv(matrix).mH) / 2
        if float((gram - identity).abs().max()) <= torch.finfo(matrix.dtype).eps ** 0.8:
            break
    return matrix


def _with_slopes(family: Callable[[Tensor], Tensor], parameters: Tensor) -> tuple[Tensor, Tensor]:
    """psi [*b, d] and d psi / d x [*b, p, d], by one backward pass for each real number of psi."""
    kept = torch.is_grad_enabled() and parameters.requires_grad
    with torch.enable_grad():
        x = parameters if kept else parameters.detach().requires_grad_()
        state = family(x)
        numbers = torch.view_as_real(state).flatten(-2)
        columns = [
            torch.autograd.grad(
                numbers[..., k].sum(),
                x,
                create_graph=kept,
                retain_graph=True,
                materialize_grads=True,
            )[0]
            for k in range(numbers.shape[-1])
        ]
        slopes = torch.view_as_complex(torch.stack(columns, -1).unflatten(-1, (-1, 2)))
    return (state, slopes) if kept else (state.detach(), slopes.detach())
