"""Splats for the far keys of one head, without training."""

from __future__ import annotations

import torch

from ...splats.teacher import from_teacher
from .calibration import CalibrationPairs, fitted_gain
from .far_kernels import SplatFar

_SAMPLES = 256
_ITERATIONS = 8


def fit_splats(
    pairs: CalibrationPairs, count: int, scale: float, generator: torch.Generator
) -> SplatFar:
    """`from_teacher` on the queries and the keys that are far from one of them, then the gain."""
    keys = pairs.far_keys
    field = from_teacher(
        pairs.query[None],
        keys[None],
        splats=min(count, len(pairs.query) + len(keys)),
        scale=scale,
        samples=_SAMPLES,
        iterations=_ITERATIONS,
        generator=generator,
    )
    unit = SplatFar(field, pairs.query.new_zeros(pairs.query.shape[1] + 1))
    return SplatFar(field, fitted_gain(pairs, unit.log_weights(pairs.query, pairs.key)))
