"""The specification's view of scale: connection, flow, fixed points, anomalies, invariants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .anomaly import Exponents, Rational, anomaly_polynomial
from .beta_function import Beta, beta_flow
from .block_map import BlockMap, renormalization_flow
from .box_dimension import box_dimension
from .fixed_points import FixedPoint, beta_fixed_points, fixed_points
from .free_energy import FreeEnergy, Inhomogeneity, free_energy
from .scale_connection import ScaleConnection, beta_connection, block_connection
from .scaling_fields import invariant_ratio, scaling_fields


class RenormalizationFlow(NamedTuple):
    """An observable and its couplings from scale to scale."""

    log_scales: Tensor
    """ln(length) [t], 0 first."""
    couplings: Tensor
    """K [t, *b, n]."""
    values: Tensor
    """The observable of them [t, *b], or the couplings."""

    @property
    def resting(self) -> Tensor:
        """Whether the last step moved K by less than 1e-6 of max(1, |K|) [*b]."""
        move = (self.couplings[-1] - self.couplings[-2]).norm(dim=-1)
        resting: Tensor = move <= 1e-6 * self.couplings[-1].norm(dim=-1).clamp(min=1)
        return resting


class ScaleInvariant(NamedTuple):
    """A function of couplings, or a number, that tells a structure apart from its scale."""

    name: str
    weight: Tensor
    """y of a scaling field, which grows by b^y a step, or 0 of an invariant; else the number."""
    error: Tensor
    """Of the number; 0 for a field, whose series is exact to its order."""
    function: Callable[[Tensor], Tensor] | None
    """Of couplings near the fixed point [*b, n]."""


class ScaleCohomology:
    """A change of scale of couplings, and what it keeps.

    Functions of couplings that R keeps, phi(R(K)) = phi(K), are its 0-cocycles; what each step
    leaves behind, g, is a 1-cocycle, which `free_energy` writes as a coboundary.

    Args:
        couplings: K at scale 0, [*b, n].
        block_map: R, of couplings [*b, n] and of [n]; or
        beta: dK / d ln(length), of the same shapes. One of the two.
        scale: b > 1 of the block map; of a beta function, the ratio of scales of `flow`'s steps.
        steps: how many scales a flow has.
        order: of the series of scaling fields.
    """

    def __init__(
        self,
        couplings: Float[Tensor, "*b n"],
        *,
        block_map: BlockMap | None = None,
        beta: Beta | None = None,
        scale: float = 2.0,
        steps: int = 16,
        order: int = 3,
    ) -> None:
        if (block_map is None) == (beta is None):
            raise ArgumentError("block_map", block_map, "it or beta", "pass one of the two")
        if not couplings.dim() or not bool(couplings.detach().isfinite().all()):
            raise ArgumentError(
                "couplings", f"shape {list(couplings.shape)}", "finite [..., n]", "pass K"
            )
        if not 1 < scale < math.inf:
            raise ArgumentError("scale", scale, "a number > 1", "pass the factor of coarsening")
        if steps < 1:
            raise ArgumentError("steps", steps, "a whole number >= 1", "pass 16")
        self.couplings, self.scale, self.steps, self.order = couplings, scale, steps, order
        self.block_map, self.beta = block_map, beta

    def scale_connection(self, scale1: float, scale2: float) -> ScaleConnection:
        """dK(scale2) / dK(scale1): `block_connection`, by number of coarsenings, or
        `beta_connection`, by ln(length)."""
        if self.beta is not None:
            return beta_connection(self.beta, self.couplings, scale1, scale2)
        if scale1 != int(scale1) or scale2 != int(scale2):
            raise ArgumentError(
                "scales", (scale1, scale2), "whole numbers", "count coarsenings of the block map"
            )
        return block_connection(self._step(), self.couplings, int(scale1), int(scale2), self.scale)

    def renormalization_flow(
        self, observable: Callable[[Tensor], Tensor] | None = None
    ) -> RenormalizationFlow:
        """Couplings at `steps` scales and an observable of them, from [*b, n] to [*b]."""
        log_scales = math.log(self.scale) * torch.arange(self.steps + 1).to(self.couplings)
        if self.beta is not None:
            path = beta_flow(self.beta, self.couplings, log_scales)
        else:
            path = renormalization_flow(self._step(), self.couplings, self.steps)
        values = path if observable is None else torch.stack([observable(k) for k in path])
        return RenormalizationFlow(log_scales, path, values)

    def fixed_points(
        self, flow: RenormalizationFlow | Float[Tensor, "m n"] | None = None
    ) -> list[FixedPoint]:
        """Every fixed point to which Newton's method leads from couplings of a flow, each once.

        Args:
            flow: starts, as a flow or as couplings [m, n]; by default the flow from `couplings`.

        Raises:
            ArgumentError: none was found.
        """
        if flow is None:
            flow = self.renormalization_flow()
        path = flow.couplings if isinstance(flow, RenormalizationFlow) else flow
        starts = path.detach().reshape(-1, path.shape[-1])
        starts = starts[starts.isfinite().all(1)]
        if self.beta is not None:
            return beta_fixed_points(self.beta, starts).points
        return fixed_points(self._step(), starts, self.scale).points

    def anomaly_polynomial(
        self, symmetry: Iterable[tuple[Sequence[Rational], Rational]], degree: int = 3
    ) -> dict[Exponents, object]:
        """Exact anomaly of fermions with the charges of a symmetry, as `anomaly_polynomial`."""
        return dict(anomaly_polynomial(symmetry, degree))

    def scale_invariants(
        self, structure: FixedPoint | Float[Tensor, "m n"], sizes: Sequence[float] = ()
    ) -> list[ScaleInvariant]:
        """What a change of scale keeps of a structure.

        Args:
            structure: a fixed point of the block map, whose scaling fields and their invariant
                ratios are given; or m places, whose dimensions D_0, D_1 and D_2 are.
            sizes: of boxes for places; by default the first three to eight halvings of their
                extent, as far as boxes hold eight points on average.
        """
        if isinstance(structure, FixedPoint):
            return self._fields(structure)
        sizes = sizes or _halvings(structure)
        found = []
        for name, order in (("box", 0.0), ("information", 1.0), ("correlation", 2.0)):
            fitted = box_dimension(structure, sizes, order=order)
            found.append(ScaleInvariant(f"{name} dimension", fitted[0], fitted[1], None))
        return found

    def free_energy(
        self, inhomogeneity: Inhomogeneity, cells: float, steps: int = 60
    ) -> FreeEnergy:
        """f of `couplings` with f(K) = f(R(K)) / cells + g(K), as `free_energy` tells."""
        return free_energy(self._step(), inhomogeneity, self.couplings, cells, steps)

    def _fields(self, fixed: FixedPoint) -> list[ScaleInvariant]:
        fields = scaling_fields(self._step(), fixed, self.order)
        zero = fixed.exponents.new_zeros(())
        found = [
            ScaleInvariant(f"scaling field {i}", field.exponent, zero, field)
            for i, field in enumerate(fields)
        ]
        scaled = [i for i, field in enumerate(fields) if field.tells_scale]
        for i in scaled[1:]:
            ratio = partial(invariant_ratio, fields[scaled[0]], fields[i])
            name = f"ratio of fields {scaled[0]} and {i}"
            found.append(ScaleInvariant(name, zero, zero, ratio))
        return found

    def _step(self) -> BlockMap:
        if self.block_map is None:
            raise ArgumentError(
                "block_map", None, "a block map", "pass one: a beta function has none of its own"
            )
        return self.block_map


def _halvings(places: Float[Tensor, "m n"]) -> list[float]:
    # A little more than the extent, so that no box holds the last place alone.
    extent = (1 + 1e-9) * float((places.amax(0) - places.amin(0)).max())
    halvings = [extent / 2**k for k in range(1, 9)]
    boxes = box_dimension(places, halvings).entropies.exp()
    return halvings[: max(3, int((8 * boxes <= len(places)).sum()))]
