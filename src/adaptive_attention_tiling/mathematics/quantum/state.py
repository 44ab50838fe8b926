"""A finite quantum system of several factors, with all that can be done to its states."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import ArgumentError
from .density_matrix import check_density_matrix, pure_state
from .entanglement import (
    chsh_maximum,
    concurrence,
    decomposable_witness,
    log_negativity,
    negativity,
)
from .entropy import quantum_renyi_entropy
from .evolution import evolve_density
from .geometric_tensor import quantum_geometric_tensor
from .measurement import Measurement, expectation, measure, variance
from .preparation import amplitude_state, angle_state, ensemble_state

Preparation = Literal["amplitude", "angle", "density"]


@dataclass(frozen=True)
class HilbertSpace:
    """C^d0 x C^d1 x ... with <x|y> = sum conj(x) y; the first factor is the slowest in the index.

    Args:
        dimensions: of the factors.
    """

    dimensions: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.dimensions or min(self.dimensions) < 1:
            raise ArgumentError(
                "dimensions", self.dimensions, "factors of at least 1", "pass (2, 2) for two qubits"
            )

    @property
    def dimension(self) -> int:
        """d = d0 d1 ..."""
        return math.prod(self.dimensions)

    def inner(
        self, one: Complex[Tensor, "*b d"], other: Complex[Tensor, "*b d"]
    ) -> Complex[Tensor, "*b"]:
        """<x|y>, antilinear in x."""
        return (one.conj() * other).sum(-1)


@dataclass(frozen=True)
class Expectation:
    """<A>, its variance, and the measurement behind them (outcomes, samples, states after)."""

    value: Float[Tensor, "*b"]
    variance: Float[Tensor, "*b"]
    measurement: Measurement


@dataclass(frozen=True)
class EntanglementMetrics:
    """How entangled the first factor is with the others.

    Args:
        negativity: sum of |negative eigenvalues| of the partial transpose.
        log_negativity: log_2 (2 N + 1).
        witness: W with tr(W sigma) >= 0 for separable sigma.
        witness_value: tr(W rho), the least eigenvalue of the partial transpose; below 0 it proves
            entanglement, otherwise it proves nothing beyond 2 x 2 and 2 x 3 dimensions.
        concurrence: of two qubits; None for others.
        chsh_maximum: of two qubits; None for others.
    """

    negativity: Float[Tensor, "*b"]
    log_negativity: Float[Tensor, "*b"]
    witness: Complex[Tensor, "*b d d"]
    witness_value: Float[Tensor, "*b"]
    concurrence: Float[Tensor, "*b"] | None
    chsh_maximum: Float[Tensor, "*b"] | None


class QuantumStateSpace:
    """States of a product of finite factors, as density matrices [*b, d, d].

    The functions of this room do the same, and take vectors where vectors are cheaper.

    Args:
        dimensions: of the factors; (2, 2) for two qubits.
        dtype: complex128 or complex64, of the states that `prepare_state` makes.
    """

    def __init__(
        self, dimensions: tuple[int, ...] = (2, 2), dtype: torch.dtype = torch.complex128
    ) -> None:
        if not dtype.is_complex:
            raise ArgumentError("dtype", dtype, "a complex one", "pass torch.complex128")
        self.hilbert_space = HilbertSpace(tuple(dimensions))
        self.dtype = dtype

    @property
    def dimension(self) -> int:
        """d, the product of the factors' dimensions."""
        return self.hilbert_space.dimension

    def prepare_state(
        self,
        classical_data: Float[Tensor, "*b n"],
        preparation: Preparation = "amplitude",
        phases: Float[Tensor, "*b n"] | None = None,
    ) -> Complex[Tensor, "*b d d"]:
        """A density matrix of classical data; of rank one unless the preparation is "density".

        Args:
            classical_data: for "amplitude" d numbers; for "angle" one polar angle for each qubit;
                for "density" samples [*b, n, d].
            preparation: see `amplitude_state`, `angle_state` and `ensemble_state`.
            phases: of amplitudes, or azimuths of qubits; None for "density".
        """
        if preparation not in ("amplitude", "angle", "density"):
            raise ArgumentError(
                "preparation", preparation, "amplitude, angle or density", "choose one of them"
            )
        if preparation == "density" and phases is not None:
            raise ArgumentError("phases", "some", "None for density", "pass complex samples")
        width = classical_data.shape[-1] if classical_data.dim() else 0
        found = 2**width if preparation == "angle" else width
        if found != self.dimension:
            raise ArgumentError(
                "classical_data",
                f"{width} numbers for {preparation} preparation, dimension {found}",
                f"dimension {self.dimension}",
                "pad the data, or choose other dimensions",
            )
        if preparation == "density":
            return ensemble_state(classical_data).to(self.dtype)
        prepare = angle_state if preparation == "angle" else amplitude_state
        return pure_state(prepare(classical_data, phases).to(self.dtype))

    def evolve_state(
        self,
        state: Complex[Tensor, "*b d d"],
        hamiltonian: Complex[Tensor, "*b d d"],
        time: float | Float[Tensor, "*b"],
        jumps: Complex[Tensor, "*b k d d"] | None = None,
    ) -> Complex[Tensor, "*b d d"]:
        """The state after a time, with hbar = 1; by Lindblad's equation if there are jumps."""
        self._check(state)
        return evolve_density(state, hamiltonian, time, jumps)

    def measure_observable(
        self, state: Complex[Tensor, "*b d d"], observable: Complex[Tensor, "d d"]
    ) -> Expectation:
        """<A>, its variance and the projective measurement of A."""
        self._check(state)
        value = expectation(state, observable)
        return Expectation(value, variance(state, observable), measure(state, observable))

    def compute_entropy(
        self, state: Complex[Tensor, "*b d d"], order: float = 1.0
    ) -> Float[Tensor, "*b"]:
        """Rényi's entropy in nats, by default von Neumann's."""
        self._check(state)
        return quantum_renyi_entropy(state, order)

    def entanglement_witness(self, state: Complex[Tensor, "*b d d"]) -> EntanglementMetrics:
        """Entanglement of the first factor with the others."""
        dimensions = self.hilbert_space.dimensions
        if len(dimensions) < 2:
            raise ArgumentError(
                "dimensions", dimensions, "two factors or more", "split the space into factors"
            )
        self._check(state)
        qubits = dimensions == (2, 2)
        witness = decomposable_witness(state, dimensions)
        return EntanglementMetrics(
            negativity(state, dimensions),
            log_negativity(state, dimensions),
            witness,
            expectation(state, witness),
            concurrence(state) if qubits else None,
            chsh_maximum(state) if qubits else None,
        )

    def metric_tensor(
        self, family: Callable[[Tensor], Tensor], parameters: Float[Tensor, "*b p"]
    ) -> Float[Tensor, "*b p p"]:
        """The Fubini-Study metric of a family of vectors; see `quantum_geometric_tensor`."""
        return quantum_geometric_tensor(family, parameters).real

    def _check(self, state: Tensor) -> None:
        size = self.dimension
        if state.shape[-2:] != (size, size) or not state.is_complex():
            raise ArgumentError(
                "state",
                f"{state.dtype} {list(state.shape)}",
                f"a complex density matrix [..., {size}, {size}]",
                "use prepare_state or pure_state",
            )
        check_density_matrix(state)
