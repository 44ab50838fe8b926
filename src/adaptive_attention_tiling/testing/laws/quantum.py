"""Laws of quantum states: normalised, uncertain, not entangled by local operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.quantum import maassen_uffink, negativity
from ...mathematics.quantum.evolution import check_hermitian
from .operations import Operation, entangled_states, product_states, single_operations
from .report import LawReport, at_place, judged, summarised
from .uncertainty import Moments, moments_of, variance_rounding

Relation = Literal["robertson_schroedinger", "heisenberg", "maassen_uffink"]

_STATE = "state is normalised: tr rho = 1, rho = rho^H, no eigenvalue < 0"
_VECTOR = "state is normalised: <psi|psi> = 1"
_RELATIONS = {
    "robertson_schroedinger": "var A var B >= <{A_0, B_0}>^2 / 4 + |<[A, B]>|^2 / 4",
    "heisenberg": "var A var B >= |<[A, B]>|^2 / 4",
    "maassen_uffink": "H(A) + H(B) >= -2 log max |<a|b>|",
}
_PROBES = 4  # entangled states that an operation must take to states
_LOCAL = "local operations do not entangle: E(op(rho)) <= E(rho), and 0 for products"


@dataclass(frozen=True, kw_only=True)
class QuantumValidation:
    """Laws of states of finite quantum systems.

    A state is a vector [d], or density matrices [*b, d, d]; with `vectors` also vectors [*b, d]. An
    operation is a `Channel`; Kraus operators [k, d, d]; or a function from rho to rho. A channel of
    the size of one factor acts on that factor, one of the size of all on all. A family of
    operations that grow in strength, each the former followed by a further local one, is a list of
    these, or a channel or Kraus operators with one more axis in front.

    Args:
        vectors: take the last axis for the state, the others for a batch.
        dimensions: of the factors of the space that may be entangled.
        factor: the one that a small channel acts on.
        relation: of uncertainty.
        monotone: E, from rho [*b, d, d] to [*b], that local operations do not raise; None takes the
            largest negativity of one factor against the others.
        products: how many random product states an operation is tried on, beside the one given.
        slack: how far a relation or E may be off by rounding, relative and absolute.
        seed: of the product states.
    """

    vectors: bool = False
    dimensions: tuple[int, ...] = (2, 2)
    factor: int = 0
    relation: Relation = "robertson_schroedinger"
    monotone: Callable[[Tensor], Tensor] | None = None
    products: int = 16
    slack: float = 1e-9
    seed: int = 0

    def __post_init__(self) -> None:
        if self.relation not in _RELATIONS:
            raise ArgumentError("relation", self.relation, f"{list(_RELATIONS)}", "choose one")
        if self.products < 0:
            raise ArgumentError("products", self.products, "an integer >= 0", "pass products=16")
        if not 0 <= self.factor < len(self.dimensions):
            raise ArgumentError(
                "factor", self.factor, f"0 to {len(self.dimensions) - 1}", "number from 0"
            )

    def check_normalization(self, state: Tensor, tolerance: float = 1e-6) -> LawReport:
        """tr rho = 1, rho = rho^H and no eigenvalue below 0, or <psi|psi> = 1, to a tolerance."""
        matrices = not self._is_vector(state)
        found = _complex(state)
        allowed = tolerance + 8 * found.shape[-1] * torch.finfo(found.dtype).eps
        if not matrices:
            norm = found.abs().square().sum(-1)
            return judged(
                (norm - 1).abs(), law=_VECTOR, quantity="|<psi|psi> - 1|", upper=allowed,
                where=at_place("state", norm.shape), not_shown="phases",
            )  # fmt: skip
        trace = found.diagonal(dim1=-2, dim2=-1).sum(-1)
        where = at_place("state", trace.shape)
        told = "whether it is the state that was meant"
        sized = (
            judged(
                values, law=_STATE, quantity=quantity, upper=allowed, where=where, not_shown=told
            )
            for values, quantity in (
                ((trace - 1).abs(), "|tr rho - 1|"),
                ((found - found.mH).abs().amax((-1, -2)), "|rho - rho^H|"),
            )
        )
        positive = judged(
            _least_eigenvalue(found), law=_STATE, quantity="least eigenvalue", lower=-allowed,
            where=where, not_shown=told,
        )  # fmt: skip
        return summarised(*sized, positive)

    def verify_uncertainty_relations(
        self, state: Tensor | Moments, observables: tuple[Tensor, Tensor] | None = None
    ) -> LawReport:
        """Two observables are as uncertain as the relation asks.

        A state that is not normalised fails as such, to 1e-6; one that is so far is judged as the
        state next to it, of trace 1 and without negative eigenvalues.

        Args:
            state: of a kind above, or `Moments` that were measured, which have no entropies.
            observables: A and B, Hermitian [d, d]; None beside moments.

        Source: Robertson, Phys. Rev. 34 (1929); Schrödinger (1930); Maassen and Uffink, Phys. Rev.
        Lett. 60 (1988).
        """
        if isinstance(state, Moments):
            return self._of_moments(state, 0.0)
        normal = self.check_normalization(state)
        if not normal:
            return normal
        if observables is None or len(observables) != 2:
            raise ArgumentError("observables", observables, "two matrices [d, d]", "pass (A, B)")
        rho = _nearest_state(self._density(state))
        one, other = (self._observable(a, rho) for a in observables)
        if self.relation != "maassen_uffink":
            return self._of_moments(moments_of(rho, one, other), variance_rounding(rho, one, other))
        entropies, bound = maassen_uffink(rho, one, other)
        slack = self.slack + 64 * torch.finfo(rho.dtype).eps
        return self._uncertain(entropies - bound, torch.full_like(entropies, slack))

    def check_entanglement_monotonicity(
        self, operation: Operation | list[Operation], initial_state: Tensor
    ) -> LawReport:
        """No operation entangles the state more than it was, nor a product state at all.

        Each member of a family is compared with the one before it. What comes out, of entangled
        states too, must be a state to 1e-6, and fails as such otherwise: a map that is positive but
        not completely so, as a partial transposition, gives itself away on these.

        Args:
            operation: of a kind above, or a family.
            initial_state: of a kind above, of the product space.

        Source: Vidal and Werner, Phys. Rev. A 65 (2002), section II.
        """
        steps = single_operations(operation, self.dimensions, self.factor)
        normal = self.check_normalization(initial_state)
        if not normal:
            return normal
        start = self._density(initial_state)
        size = math.prod(self.dimensions)
        if start.shape[-1] != size:
            raise ArgumentError(
                "initial_state", f"dimension {start.shape[-1]}", f"{size}, of {self.dimensions}",
                "pass QuantumValidation(dimensions=...)",
            )  # fmt: skip
        given = start.reshape(-1, size, size)
        states = torch.cat(
            [given, product_states(self.dimensions, self.products, self.seed).to(given)]
        )
        probes = entangled_states(self.dimensions, _PROBES, self.seed).to(given)
        entangled = [self._entanglement(states)]
        for step in steps:
            with torch.no_grad():
                after = torch.stack([step(rho) for rho in torch.cat([states, probes])])
            whole = QuantumValidation(dimensions=self.dimensions).check_normalization(after)
            if not whole:
                return whole
            entangled.append(self._entanglement(after[: len(states)]))
        values = torch.stack(entangled)

        def where(case: int) -> str:
            member, number = divmod(case, len(states))
            kind = "state" if number < len(given) else "product state"
            return f"{kind} {number - (number >= len(given)) * len(given)}, operation {member}"

        return judged(
            values.diff(dim=0), law=_LOCAL, quantity="rise of E",
            upper=self.slack + 64 * torch.finfo(start.dtype).eps, where=where,
            not_shown="that the operation is local; other states, and entanglement with others",
        )  # fmt: skip

    def all(
        self,
        state: Tensor,
        observables: tuple[Tensor, Tensor] | None = None,
        operation: Operation | list[Operation] | None = None,
        tolerance: float = 1e-6,
    ) -> list[LawReport]:
        """Each law of the class for which there is something to judge."""
        found = [self.check_normalization(state, tolerance)]
        if observables is not None:
            found.append(self.verify_uncertainty_relations(state, observables))
        if operation is not None:
            found.append(self.check_entanglement_monotonicity(operation, state))
        return found

    def _is_vector(self, state: Tensor) -> bool:
        if not isinstance(state, Tensor) or not state.numel() or state.dim() < 1:
            got = list(state.shape) if isinstance(state, Tensor) else type(state).__name__
            raise ArgumentError("state", got, "[d], or density matrices [*b, d, d]", "pass states")
        if self.vectors or state.dim() == 1:
            return True
        if state.shape[-1] != state.shape[-2]:
            raise ArgumentError(
                "state", list(state.shape), "[d], or density matrices [*b, d, d]",
                "pass QuantumValidation(vectors=True) for a batch of vectors",
            )  # fmt: skip
        return False

    def _density(self, state: Tensor) -> Complex[Tensor, "*b d d"]:
        found = _complex(state)
        if self._is_vector(state):
            return found[..., :, None] * found[..., None, :].conj()
        return found

    def _observable(self, observable: Tensor, rho: Tensor) -> Complex[Tensor, "d d"]:
        found = _complex(observable)
        check_hermitian("observables", found)
        if found.shape != rho.shape[-2:]:
            raise ArgumentError(
                "observables", list(found.shape), str(list(rho.shape[-2:])), "act on one space"
            )
        return found.to(rho)

    def _of_moments(self, moments: Moments, rounding: float) -> LawReport:
        if self.relation == "maassen_uffink":
            raise ArgumentError(
                "relation", self.relation, "one of variances, beside moments", "pass a state"
            )
        first, second, covariance, commutator = (part.double() for part in moments)
        # A variance below 0 belongs to no state, whatever the product of two is.
        product = torch.where((first < 0) | (second < 0), -(first * second).abs(), first * second)
        bound = commutator.square() / 4
        if self.relation == "robertson_schroedinger":
            bound = bound + covariance.square()
        slack = self.slack * torch.maximum(product.abs(), bound) + rounding
        return self._uncertain(product - bound, slack)

    def _uncertain(self, excess: Tensor, slack: Tensor) -> LawReport:
        equation = _RELATIONS[self.relation]
        return judged(
            excess, law=f"uncertainty: {equation}", quantity="left side minus right side",
            lower=-slack.double(), where=at_place("state", excess.shape),
            not_shown="other observables",
        )  # fmt: skip

    def _entanglement(self, states: Complex[Tensor, "p d d"]) -> Float[Tensor, " p"]:
        if self.monotone is None:
            # Both sides of a cut have the same; of two factors there is one cut.
            cuts = range(len(self.dimensions) if len(self.dimensions) > 2 else 1)
            found = [negativity(states, self.dimensions, (factor,)) for factor in cuts]
            return torch.stack(found).amax(0)
        values = self.monotone(states).detach()
        if values.shape != states.shape[:1]:
            raise ArgumentError(
                "monotone", f"values {list(values.shape)}", f"{list(states.shape[:1])}",
                "return one number for each state",
            )  # fmt: skip
        return values


def _complex(state: Tensor) -> Tensor:
    if not (state.is_complex() or state.is_floating_point()):
        raise ArgumentError("state", state.dtype, "complex or real numbers", "convert it")
    return state.detach().to(state.dtype.to_complex())


def _nearest_state(rho: Complex[Tensor, "*b d d"]) -> Complex[Tensor, "*b d d"]:
    """Without the eigenvalues below 0 and of trace 1."""
    values, vectors = torch.linalg.eigh((rho + rho.mH) / 2)
    kept = values.clamp(min=0)
    kept = kept / kept.sum(-1, keepdim=True)
    found: Tensor = (vectors * kept[..., None, :]) @ vectors.mH
    return found


def _least_eigenvalue(matrices: Tensor) -> Tensor:
    finite = matrices.isfinite().all(-1).all(-1)
    safe = torch.where(finite[..., None, None], matrices, 0.0)
    least = torch.linalg.eigvalsh((safe + safe.mH) / 2)[..., 0]
    return torch.where(finite, least, math.nan)
