"""Density matrices: rho = rho^H, tr rho = 1, no negative eigenvalue.

The first factor of a product space is the slowest in the index, as in torch.kron.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Complex
from torch import Tensor

from ...errors import ArgumentError


def pure_state(vector: Complex[Tensor, "*b d"]) -> Complex[Tensor, "*b d d"]:
    """|psi><psi| / <psi|psi>.

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 2.4.
    """
    numbers = vector.is_complex() or vector.is_floating_point()
    norm = torch.linalg.vector_norm(vector.detach(), dim=-1) if numbers else torch.zeros(1)
    if vector.dim() < 1 or not bool((norm > 0).all() and norm.isfinite().all()):
        raise ArgumentError(
            "vector",
            f"{vector.dtype}, shape {list(vector.shape)}, with a norm of {norm.min().item()}",
            "[..., d] of finite norm above 0",
            "leave such vectors out",
        )
    column = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    state: Tensor = column[..., :, None] * column[..., None, :].conj()
    return state


def bell_state(dtype: torch.dtype = torch.complex128) -> Complex[Tensor, "4 4"]:
    """|Phi+><Phi+| of Phi+ = (|00> + |11>) / sqrt(2)."""
    return pure_state(torch.tensor([1, 0, 0, 1], dtype=dtype))


def check_density_matrix(state: Complex[Tensor, "*b d d"], name: str = "state") -> None:
    """Raise an ArgumentError unless this is a density matrix, each law to sqrt(eps)."""
    shape, complex_ = state.shape, state.is_complex()
    if state.dim() < 2 or shape[-1] != shape[-2] or not state.numel() or not complex_:
        raise ArgumentError(
            name, f"{state.dtype}, shape {list(shape)}", "complex [..., d, d]", "pass matrices"
        )
    state = state.detach()
    if not bool(torch.isfinite(state).all()):
        raise ArgumentError(name, "NaN or infinity", "finite numbers", "leave such states out")
    forgiven = math.sqrt(torch.finfo(state.dtype).eps)
    skew = float((state - state.mH).abs().max())
    if skew > forgiven:
        raise ArgumentError(name, f"{skew:.3g} from Hermitian", "rho^H = rho", "symmetrise it")
    trace = state.diagonal(dim1=-2, dim2=-1).sum(-1)
    if float((trace - 1).abs().max()) > forgiven:
        worst = float(trace.flatten()[(trace - 1).abs().flatten().argmax()].real)
        raise ArgumentError(name, f"a trace of {worst:.6g}", "tr rho = 1", "divide by the trace")
    least = float(torch.linalg.eigvalsh(state).min())
    if least < -forgiven:
        raise ArgumentError(
            name, f"an eigenvalue of {least:.3g}", "none below 0", "pass a mixture of pure states"
        )


def partial_trace(
    state: Complex[Tensor, "*b d d"], dimensions: Sequence[int], kept: Sequence[int]
) -> Complex[Tensor, "*b k k"]:
    """The reduced state of some factors of a product space.

    Args:
        state: rho.
        dimensions: d_0, d_1, ... of the factors, with product d.
        kept: the numbers of the factors that are not summed over; they stay in order.

    Nielsen and Chuang (2010), section 2.4.3.
    """
    split = split_factors(state, dimensions)
    check_factors(kept, dimensions)
    count, batch = len(dimensions), state.dim() - 2
    rows, columns = ([batch + shift + k for k in sorted(kept)] for shift in (0, count))
    others = [k for k in range(count) if k not in kept]
    order = [*range(batch), *rows, *columns]
    traced = split.permute(
        *order, *(batch + k for k in others), *(batch + count + k for k in others)
    )
    small = math.prod(dimensions[k] for k in kept)
    rest = math.prod(dimensions[k] for k in others)
    blocks = traced.reshape(*state.shape[:-2], small, small, rest, rest)
    return blocks.diagonal(dim1=-2, dim2=-1).sum(-1)


def partial_transpose(
    state: Complex[Tensor, "*b d d"], dimensions: Sequence[int], factors: Sequence[int]
) -> Complex[Tensor, "*b d d"]:
    """rho with the row and column indices of some factors exchanged.

    Peres, Separability criterion for density matrices (1996).
    """
    split = split_factors(state, dimensions)
    check_factors(factors, dimensions)
    count, batch = len(dimensions), state.dim() - 2
    for k in factors:
        split = split.transpose(batch + k, batch + count + k)
    return split.reshape(state.shape)


def split_factors(state: Tensor, dimensions: Sequence[int]) -> Tensor:
    """rho as [*b, d_0, d_1, ..., d_0, d_1, ...]: rows of the factors, then columns."""
    size = state.shape[-1] if state.dim() > 1 else 0
    if state.dim() < 2 or state.shape[-2] != size or math.prod(dimensions) != size:
        raise ArgumentError(
            "dimensions",
            f"{list(dimensions)} of a state {list(state.shape)}",
            "factors whose product is d of [..., d, d]",
            "name every factor",
        )
    return state.reshape(*state.shape[:-2], *dimensions, *dimensions)


def check_factors(factors: Sequence[int], dimensions: Sequence[int]) -> None:
    """Raise an ArgumentError unless these are different factors of the product."""
    count = len(dimensions)
    if len(set(factors)) < len(factors) or not all(0 <= k < count for k in factors):
        raise ArgumentError(
            "factors", list(factors), f"different ones of 0 to {count - 1}", "number from 0"
        )


def hermitian_factor(state: Complex[Tensor, "*b d d"]) -> Complex[Tensor, "*b d d"]:
    """T with rho = T T^H, whose gradient d rho = dT T^H + T dT^H does not ask for eigenvectors.

    T_0 = V l^(1/2) has no gradient, and T = (1 - P / 2) rho T_0^(-H) + T_0 / 2 is equal to it, P
    the projector on the range of rho. Gradients are of first order, for changes that keep the rank
    (a pure state stays pure); where the rank would grow T has none.
    """
    values, vectors = torch.linalg.eigh(state.detach())
    kept = values > 4 * torch.finfo(values.dtype).eps
    roots = torch.where(kept, values, 1.0).sqrt()
    root = vectors * torch.where(kept, roots, 0.0)[..., None, :]
    inverse = vectors * torch.where(kept, 1 / roots, 0.0)[..., None, :]
    moved = state @ inverse
    factor: Tensor = moved - inverse @ (root.mH @ moved) / 2 + root / 2
    return factor


def pauli_matrices(
    dtype: torch.dtype = torch.complex128, device: torch.device | None = None
) -> Complex[Tensor, "3 2 2"]:
    """sigma_x, sigma_y, sigma_z."""
    return torch.tensor(
        [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=dtype, device=device
    )
