"""How much a splat weighs: determinants of covariances and masses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .splats import Splats


def log_determinant(splats: Splats) -> Tensor:
    """log det Sigma [H, K], without forming Sigma."""
    if splats.kind == "scalar":
        return 2 * splats.width * splats.scale.log()
    logs = 2 * splats.scale.log().sum(-1)
    if splats.kind != "low_rank":
        return logs
    assert splats.factor is not None
    # det(P^-1 + F F^T) = det(P^-1) det(I + F^T P F)
    scaled = splats.factor / splats.scale[..., None]
    eye = torch.eye(splats.factor.shape[-1]).to(scaled)
    inner: Tensor = torch.linalg.slogdet(eye + scaled.mT @ scaled).logabsdet
    return logs + inner


def log_mass(splats: Splats) -> Tensor:
    """log of a sqrt(det(2 pi Sigma)), the integral of a splat, [H, K]; empty slots count too."""
    return splats.log_amplitude + _log_volume(splats)


def log_amplitude_of(mass: Tensor, splats: Splats) -> Tensor:
    """The log amplitude that gives splats of these covariances the log mass `mass` [H, K]."""
    return mass - _log_volume(splats)


def _log_volume(splats: Splats) -> Tensor:
    return 0.5 * (splats.width * math.log(2 * math.pi) + log_determinant(splats))
