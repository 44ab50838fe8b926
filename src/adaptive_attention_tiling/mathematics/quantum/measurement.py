"""Observables: expectations, variances, projective measurements, uncertainty relations."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from ...errors import ArgumentError
from .density_matrix import check_density_matrix
from .evolution import check_hermitian


def expectation(
    state: Complex[Tensor, "*b d d"], observable: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """<A> = tr(rho A)."""
    _check(state, observable)
    return _trace(state, observable).real


def variance(
    state: Complex[Tensor, "*b d d"], observable: Complex[Tensor, "*b d d"]
) -> Float[Tensor, "*b"]:
    """tr(rho (A - <A>)^2), in which no digits cancel."""
    _check(state, observable)
    centred = _centred(state, observable)
    return _trace(state, centred @ centred).real


@dataclass(frozen=True)
class Measurement:
    """What a projective measurement of A = sum_k a_k P_k finds, and what it leaves.

    Args:
        values: a_k, increasing, [k].
        projectors: P_k, [k, d, d].
        probabilities: p_k = tr(rho P_k), [*b, k].
        state: rho, [*b, d, d].

    Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 2.2.5.
    """

    values: Float[Tensor, " k"]
    projectors: Complex[Tensor, "k d d"]
    probabilities: Float[Tensor, "*b k"]
    state: Complex[Tensor, "*b d d"]

    def sample(
        self, count: int, generator: torch.Generator | None = None
    ) -> Int[Tensor, "*b count"]:
        """The numbers k of `count` independent outcomes, each on a fresh copy of rho."""
        if count < 1:
            raise ArgumentError("count", count, "at least 1", "pass count=1")
        weights = self.probabilities.detach().clamp(min=0)
        flat = weights.reshape(-1, weights.shape[-1])
        drawn = torch.multinomial(flat, count, replacement=True, generator=generator)
        return drawn.reshape(*weights.shape[:-1], count)

    def after(self, outcome: int) -> Complex[Tensor, "*b d d"]:
        """P_k rho P_k / p_k."""
        if not 0 <= outcome < len(self.values):
            raise ArgumentError(
                "outcome", outcome, f"0 to {len(self.values) - 1}", "number the values from 0"
            )
        projector, probability = self.projectors[outcome], self.probabilities[..., outcome]
        if bool((probability.detach() <= torch.finfo(probability.dtype).eps).any()):
            raise ArgumentError(
                "outcome",
                f"{outcome} with probability {float(probability.min()):.3g}",
                "one that can happen",
                "leave out states that never show it",
            )
        return projector @ self.state @ projector / probability[..., None, None]

    def unread(self) -> Complex[Tensor, "*b d d"]:
        """sum_k P_k rho P_k: the state when nobody looks at the outcome."""
        state = self.state[..., None, :, :]
        return (self.projectors @ state @ self.projectors).sum(-3)


def measure(state: Complex[Tensor, "*b d d"], observable: Complex[Tensor, "d d"]) -> Measurement:
    """The projective measurement of one observable.

    Eigenvalues closer than sqrt(eps) of the largest one are one outcome. Gradients go through
    probabilities to the state; the projectors are constants.
    """
    _check(state, observable)
    if observable.dim() != 2:
        raise ArgumentError("observable", list(observable.shape), "[d, d]", "measure one at a time")
    values, vectors = torch.linalg.eigh(observable.detach())
    gap = math.sqrt(torch.finfo(values.dtype).eps) * float(values.abs().max())
    starts = [0, *((values.diff() > gap).nonzero()[:, 0] + 1).tolist(), len(values)]
    groups = [vectors[:, a:b] for a, b in itertools.pairwise(starts)]
    projectors = torch.stack([group @ group.mH for group in groups])
    means = [values[a:b].mean() for a, b in itertools.pairwise(starts)]
    probabilities = torch.einsum("...ij,kji->...k", state, projectors).real
    return Measurement(torch.stack(means), projectors, probabilities, state)


def robertson_schroedinger(
    state: Complex[Tensor, "*b d d"],
    one: Complex[Tensor, "*b d d"],
    other: Complex[Tensor, "*b d d"],
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Both sides of var A var B >= <{A_0, B_0}>^2 / 4 + |<[A, B]>|^2 / 4, A_0 = A - <A>.

    The right side is |<A_0 B_0>|^2; both are equal for every pure qubit.

    Schrödinger, Zum Heisenbergschen Unschärfeprinzip (1930).
    """
    _check(state, one)
    _check(state, other)
    product = _trace(state, _centred(state, one) @ _centred(state, other))
    bound = product.real.square() + product.imag.square()
    return variance(state, one) * variance(state, other), bound


def maassen_uffink(
    state: Complex[Tensor, "*b d d"], one: Complex[Tensor, "d d"], other: Complex[Tensor, "d d"]
) -> tuple[Float[Tensor, "*b"], Float[Tensor, ""]]:
    """Both sides of H(A) + H(B) >= -2 log max_jk |<a_j|b_k>|, in nats.

    With equal eigenvalues, outcomes are projectors and |P_j Q_k| (largest singular value) takes the
    place of |<a_j|b_k>|.

    Maassen and Uffink, Generalized entropic uncertainty relations (1988); Krishna and
    Parthasarathy, An entropic uncertainty principle for quantum measurements (2002).
    """
    first, second = measure(state, one), measure(state, other)
    products = first.projectors[:, None] @ second.projectors
    overlap = torch.linalg.matrix_norm(products, ord=2).max()
    entropies = [
        -torch.xlogy(m.probabilities, m.probabilities.clamp(min=0)) for m in (first, second)
    ]
    return entropies[0].sum(-1) + entropies[1].sum(-1), -2 * overlap.log()


def _trace(one: Tensor, other: Tensor) -> Tensor:
    return (one * other.mT).sum((-2, -1))


def _centred(state: Tensor, observable: Tensor) -> Tensor:
    identity = torch.eye(state.shape[-1], dtype=state.dtype, device=state.device)
    return observable - _trace(state, observable).real[..., None, None] * identity


def _check(state: Tensor, observable: Tensor) -> None:
    check_density_matrix(state)
    check_hermitian("observable", observable)
    if observable.shape[-1] != state.shape[-1]:
        raise ArgumentError(
            "observable",
            f"dimension {observable.shape[-1]}",
            f"that of the state, {state.shape[-1]}",
            "name operators on the same space",
        )
