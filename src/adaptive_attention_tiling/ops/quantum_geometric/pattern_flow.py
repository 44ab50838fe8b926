"""Heat flow of attention patterns along the graph of keys that a query sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.geometry.normal_coordinates import (
    pairwise_square_difference,
    pairwise_square_distance,
)


@dataclass(frozen=True, kw_only=True)
class PatternFlow:
    """What a flow takes: its steps, and how heat passes between two keys.

    Attributes:
        rates: in (0, 1), of each step and query head [steps, H]: the share of the longest step
            that is safe on every graph.
        width: sigma > 0 of each key head [G], a distance.
        radius: R of the hyperbolic space that keys are points of; None where it is flat.
    """

    rates: Float[Tensor, "steps H"]
    width: Float[Tensor, " G"]
    radius: float | None

    @property
    def steps(self) -> int:
        """Of one flow."""
        return self.rates.shape[0]

    def conductance(self, points: Float[Tensor, "B G n b d"]) -> Float[Tensor, "B G n b b"]:
        """C_jl = exp(-d(k_j, k_l)^2 / (2 sigma^2)) of keys given by tangents at the origin."""
        if self.radius is None:
            square = pairwise_square_difference(points)
        else:
            square = self.radius**2 * pairwise_square_distance(points / self.radius)
        width = self.width.to(square)[:, None, None, None]
        return torch.exp(-square / (2 * width.square()))


class AttentionFlowMetrics(NamedTuple):
    """What a flow did to each row of its patterns, before the first step and after each.

    Attributes:
        energy: 1/2 sum_jl C_jl (p_j - p_l)^2 over the keys that a row sees [steps + 1, *b, b].
        mass: row sums, which the flow keeps [steps + 1, *b, b].
        step_size: tau of each step [steps, *].
    """

    energy: Tensor
    mass: Tensor
    step_size: Tensor


def flow_patterns(
    patterns: Float[Tensor, "*b t t"],
    conductance: Float[Tensor, "*#b t t"],
    step_size: Float[Tensor, "steps *#b 1 1"],
    *,
    is_causal: bool,
) -> Float[Tensor, "*b t t"]:
    """Explicit steps of the heat equation of each row on the graph of its keys.

        p_j <- p_j + tau sum_l C_jl (p_l - p_j)        over the keys l (l <= i in row i if causal)

    The sum of a row stays what it is. With 0 <= C <= 1 and tau (t - 1) <= 1 no entry falls below 0
    and the energy 1/2 sum_jl C_jl (p_j - p_l)^2 does not rise: tau is at most 1 / (largest degree),
    so that tau lambda <= 2 for every eigenvalue lambda of the Laplacian.

    Args:
        patterns: rows of weights; 0 above the diagonal if causal.
        conductance: symmetric, in [0, 1]; the diagonal has no effect.
        step_size: tau of each step.

    Source: Chung, Spectral Graph Theory (1997), chapter 1; for the bound on tau the explicit Euler
    scheme of the heat equation on a graph.
    """
    conductance = _between_different(conductance)
    degree = _degree(conductance, is_causal=is_causal)
    for tau in step_size:
        inflow = patterns @ conductance
        inflow = inflow.tril() if is_causal else inflow
        patterns = patterns + tau * (inflow - patterns * degree)
    return patterns


def measured_flow(
    patterns: Float[Tensor, "*b t t"],
    conductance: Float[Tensor, "*#b t t"],
    step_size: Float[Tensor, "steps *#b 1 1"],
    *,
    is_causal: bool,
) -> tuple[Float[Tensor, "*b t t"], AttentionFlowMetrics]:
    """`flow_patterns`, and what it did."""
    stages = [patterns]
    for tau in step_size:
        stages.append(flow_patterns(stages[-1], conductance, tau[None], is_causal=is_causal))
    energy = [dirichlet_energy(stage, conductance, is_causal=is_causal) for stage in stages]
    mass = torch.stack([stage.sum(-1) for stage in stages])
    return stages[-1], AttentionFlowMetrics(torch.stack(energy), mass, step_size)


def dirichlet_energy(
    patterns: Float[Tensor, "*b t t"], conductance: Float[Tensor, "*#b t t"], *, is_causal: bool
) -> Float[Tensor, "*b t"]:
    """E_i = 1/2 sum_jl C_jl (p_ij - p_il)^2 over the keys that row i sees, from differences."""
    size = patterns.shape[-1]
    seen = torch.ones(size, size, dtype=torch.bool, device=patterns.device)
    seen = seen.tril() if is_causal else seen
    energy = torch.zeros_like(patterns[..., 0])
    for key in range(size):
        difference = patterns - patterns[..., key, None]
        across = conductance[..., None, key, :] * difference.square()
        energy = energy + (across * (seen & seen[:, key, None])).sum(-1)
    return energy / 2


def longest_step(tile_size: int) -> float:
    """1 / (largest degree that a key of a tile can have)."""
    return 1 / max(1, tile_size - 1)


def check_patterns(patterns: Tensor, metric: Tensor, heads: int) -> None:
    """Raise unless these are patterns [B, H, n, b, b] and conductances in [0, 1] of their keys."""
    if (
        patterns.dim() != 5
        or patterns.shape[1] != heads
        or patterns.shape[-1] != patterns.shape[-2]
    ):
        raise ArgumentError(
            "patterns",
            f"shape {list(patterns.shape)}",
            f"[B, {heads}, n, b, b]",
            "pass what compute_attention_patterns returned",
        )
    batch, _, *tiles = patterns.shape
    fits = metric.dim() == 5 and metric.shape[0] == batch and list(metric.shape[2:]) == tiles
    if not fits or metric.shape[1] == 0 or heads % metric.shape[1]:
        raise ArgumentError(
            "metric",
            f"shape {list(metric.shape)}",
            f"{[batch, 'G', *tiles]} with G a divisor of {heads}",
            "pass the conductances of the same tiles",
        )
    if not torch.compiler.is_compiling() and not bool(((metric >= 0) & (metric <= 1)).all()):
        raise ArgumentError(
            "metric",
            f"entries from {float(metric.min()):.3g} to {float(metric.max()):.3g}",
            "conductances in [0, 1]",
            "pass exp(-d^2 / (2 sigma^2)) of distances d",
        )


def _between_different(conductance: Tensor) -> Tensor:
    size = conductance.shape[-1]
    same = torch.eye(size, dtype=torch.bool, device=conductance.device)
    return conductance.masked_fill(same, 0.0)


def _degree(conductance: Tensor, *, is_causal: bool) -> Tensor:
    """sum_l C_jl over the keys l of row i [*, i, j]; one row for all rows if not causal."""
    if is_causal:
        return conductance.cumsum(-1).mT
    return conductance.sum(-1)[..., None, :]
