"""Fidelity as a kernel: the weight of a pair, its exact features, and density matrices of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .qubits import qubit_density, qubit_features

_ROOT2 = 2**0.5


@dataclass(frozen=True)
class FidelityKernel:
    """w(q, k) = |<psi(q)|psi(k)>|^2 + background, psi(x) = x / |x|.

    States are real vectors here: m real amplitudes, or 2m numbers [Re, Im] of m complex ones.

    Attributes:
        dimension: m, that of the space of states.
        is_complex: whether amplitudes are complex.
        background: a weight that every pair has.
        qubits: n, if all states are products of n real qubits, m = 2^n; otherwise 0.
    """

    dimension: int
    is_complex: bool
    background: float
    qubits: int = 0

    @property
    def features(self) -> int:
        """Of density matrices, and one for the background."""
        return self._entries + (self.background > 0)

    @property
    def _entries(self) -> int:
        """m (m + 1) / 2, or m^2 if complex, or 3^n of products of qubits."""
        m = self.dimension
        if self.qubits:
            return int(3**self.qubits)
        return m * m if self.is_complex else m * (m + 1) // 2

    def states(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n"]:
        """x / |x|. The zero vector is no state: it stays zero, with fidelity and gradient 0."""
        square = (x * x).sum(-1, keepdim=True)
        is_state = square > torch.finfo(x.dtype).tiny
        return torch.where(is_state, x * torch.where(is_state, square, 1.0).rsqrt(), 0.0)

    def weights(
        self, query: Float[Tensor, "*b t n"], key: Float[Tensor, "*b s n"]
    ) -> Float[Tensor, "*b t s"]:
        """The weights of all pairs of two sets of `states`."""
        fidelity = (query @ key.mT).square()
        if self.is_complex:
            re, im = key.chunk(2, -1)
            fidelity = fidelity + (query @ torch.cat([im, -re], -1).mT).square()
        return fidelity + self.background if self.background else fidelity

    def feature_map(self, state: Float[Tensor, "*b n"]) -> Float[Tensor, "*b f"]:
        """phi with phi(q) . phi(k) = w(q, k): the density matrix |psi><psi|, written as a row.

        The diagonal, then sqrt(2) times the entries above it row by row (complex: all real
        parts, then all imaginary parts), then sqrt(background). Of qubits `qubit_features` first.
        """
        if self.qubits:
            products = qubit_features(state, self.qubits)
            constant = torch.full_like(products[..., :1], self.background**0.5)
            return torch.cat([products, constant], -1)[..., : self.features]
        if not self.is_complex and torch.compiler.is_compiling():
            return self._listed(state)  # compilers do not follow what is written in place
        if not self.is_complex:
            features: Tensor = _Pairs.apply(state, self.background)  # type: ignore[no-untyped-call]
            return features
        m = self.dimension
        re, im = state.chunk(2, -1)
        right_re, right_im = re * _ROOT2, im * _ROOT2
        parts = [re * re + im * im]
        for i in range(m - 1):
            a, b = re[..., i : i + 1], im[..., i : i + 1]
            parts.append(a * right_re[..., i + 1 :] + b * right_im[..., i + 1 :])
        for i in range(m - 1):
            a, b = re[..., i : i + 1], im[..., i : i + 1]
            parts.append(b * right_re[..., i + 1 :] - a * right_im[..., i + 1 :])
        if self.background:
            parts.append(torch.full_like(re[..., :1], self.background**0.5))
        return torch.cat(parts, -1)

    def _listed(self, state: Tensor) -> Tensor:
        """The real feature map in one gathering of pairs."""
        i, j = torch.triu_indices(self.dimension, self.dimension, 1, device=state.device)
        above = _ROOT2 * state[..., i] * state[..., j]
        constant = torch.full_like(state[..., :1], self.background**0.5)
        return torch.cat([state * state, above, constant], -1)[..., : self.features]

    def density(self, features: Float[Tensor, "*b f"]) -> Tensor:
        """The Hermitian matrices [*b, m, m] that (sums of) features are; without background."""
        if self.qubits:
            return qubit_density(features[..., : self._entries], self.qubits)
        m = self.dimension
        i, j = torch.triu_indices(m, m, 1, device=features.device)
        above = features[..., m : m + len(i)] / _ROOT2
        if self.is_complex:
            above = torch.complex(above, features[..., m + len(i) : m * m] / _ROOT2)
        matrix = above.new_zeros(*features.shape[:-1], m, m)
        matrix[..., i, j] = above
        matrix = matrix + matrix.mH
        return matrix + torch.diag_embed(features[..., :m])


class _Pairs(torch.autograd.Function):
    """The real feature map, written in place row by row: half the time of joining m pieces."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, background: float) -> Tensor:
        ctx.save_for_backward(x)
        m = x.shape[-1]
        pairs = m * (m + 1) // 2
        out = x.new_empty(*x.shape[:-1], pairs + (background > 0))
        torch.mul(x, x, out=out[..., :m])
        right, start = x * _ROOT2, m
        for i in range(m - 1):
            end = start + m - 1 - i
            torch.mul(right[..., i + 1 :], x[..., i : i + 1], out=out[..., start:end])
            start = end
        out[..., pairs:] = background**0.5
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        (x,) = ctx.saved_tensors
        m = x.shape[-1]
        right, start = x * _ROOT2, m
        out = 2 * grad[..., :m] * x
        for i in range(m - 1):
            end = start + m - 1 - i
            row = grad[..., start:end]
            out[..., i] += (row * right[..., i + 1 :]).sum(-1)
            out[..., i + 1 :] += row * right[..., i : i + 1]
            start = end
        return out, None
