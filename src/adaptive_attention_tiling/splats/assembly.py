"""From centres and covariances to a field: what all constructors share."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from .clusters import check_points
from .field import Bounds, SplatField
from .splats import Kind, Splats, check_kind


def assemble(
    kind: Kind,
    mean: Float[Tensor, "H K D"],
    scale: Tensor,
    factor: Tensor | None,
    log_amplitude: Float[Tensor, "H K"],
    *,
    background: Float[Tensor, " H"] | float | None,
    norm_factor: Float[Tensor, " H"] | float | None = None,
    bounds: Bounds,
    capacity: int | None,
    alive: Tensor | None = None,
) -> SplatField:
    """A field of these splats with empty slots up to `capacity`."""
    if alive is None:
        alive = torch.ones_like(log_amplitude, dtype=torch.bool)
    splats = Splats(
        kind=kind, mean=mean, scale=scale, factor=factor, log_amplitude=log_amplitude, alive=alive
    )
    if capacity is not None:
        splats = with_capacity(splats, capacity)
    return SplatField(splats, background=background, norm_factor=norm_factor, bounds=bounds)


def with_capacity(splats: Splats, capacity: int) -> Splats:
    """The same splats in more slots; the last ones are empty round splats at the centre."""
    if capacity < splats.count:
        raise ArgumentError(
            "capacity", capacity, f"at least the {splats.count} splats", "raise it, or leave it out"
        )
    missing = capacity - splats.count
    middle = splats.mean.mean(1, keepdim=True)
    typical = splats.scale.mean(1, keepdim=True)
    blank = {
        "mean": middle,
        "scale": typical,
        "log_amplitude": splats.log_amplitude.mean(1, keepdim=True),
        "alive": torch.zeros_like(splats.alive[:, :1]),
    }
    if splats.factor is not None:
        blank["factor"] = torch.zeros_like(splats.factor[:, :1])
    arrays = {
        name: torch.cat([array, blank[name].expand(-1, missing, *array.shape[2:])], 1)
        for name, array in splats.arrays().items()
    }
    return splats.with_arrays(arrays)


def shape_of_variance(variance: Float[Tensor, "H K D"], kind: Kind) -> Tensor:
    """The scale of a scalar or diagonal kind with this variance, or its mean."""
    return (variance.mean(-1) if kind == "scalar" else variance).sqrt()


def shape_of_covariance(
    covariance: Float[Tensor, "H K D D"], kind: Kind, rank: int
) -> tuple[Tensor, Tensor | None]:
    """Scale and factor of a kind that come nearest to a positive definite covariance.

    A low-rank one is exact along its leading directions when the others are alike, and has the
    variance along every axis exactly: F = U (lambda - rest)^1/2, scale^2 = diag(Sigma - F F^T).
    """
    if kind in ("scalar", "diagonal"):
        return shape_of_variance(covariance.diagonal(dim1=-2, dim2=-1), kind), None
    if kind == "full":
        lower = torch.linalg.cholesky(covariance)
        return lower.diagonal(dim1=-2, dim2=-1), lower.tril(-1)
    spectrum, axes = torch.linalg.eigh(covariance)
    rest = spectrum[..., : max(1, spectrum.shape[-1] - rank)].mean(-1, keepdim=True)
    excess = (spectrum[..., -rank:] - rest).clamp(min=0.0)
    factor = axes[..., -rank:] * excess.sqrt()[..., None, :]
    left = covariance.diagonal(dim1=-2, dim2=-1) - factor.square().sum(-1)
    return torch.maximum(left, spectrum[..., :1]).sqrt(), factor


def within(bounds: Bounds, scale: Tensor, factor: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Scale and factor with what lies beyond the bounds moved to them."""
    scale = scale.clamp(*bounds.scale)
    largest = bounds.scale[1]
    return scale, None if factor is None else factor.clamp(-largest, largest)


def wide_enough(mean: Tensor) -> Bounds:
    """The usual bounds, with room for centres to go twice as far as the farthest."""
    return Bounds(mean=max(Bounds().mean, 2 * float(mean.abs().max())))


def check_rank(kind: Kind, rank: int, width: int) -> None:
    """Raise an ArgumentError for a kind without a meaning or a rank that does not fit."""
    check_kind(kind)
    if kind == "low_rank" and not 1 <= rank <= width:
        raise ArgumentError("rank", rank, f"1 to {width}, the width", "use rank=2")


def check_positive(name: str, value: float) -> None:
    """Raise an ArgumentError unless 0 < value < inf."""
    if not 0 < value < float("inf"):
        raise ArgumentError(name, value, "a finite number > 0", f"leave {name} out")


def accurate(name: str, points: Tensor) -> Tensor:
    """Checked points without gradients, in float32 at least."""
    check_points(name, points)
    points = points.detach()
    return points if points.dtype == torch.float64 else points.float()
