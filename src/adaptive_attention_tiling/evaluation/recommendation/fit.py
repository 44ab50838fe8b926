"""Fitting an option to a head."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..diagnostics.head_tensors import check_head
from .calibration import CalibrationPairs, calibration_pairs
from .far_kernels import FarKernel
from .fidelity_fit import fit_fidelity
from .fitted_head import FittedHead, tiled_reading
from .options import HeadOption
from .splat_fit import fit_splats

_QUERIES = 256


def fit_option(
    option: HeadOption,
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    rows: Int[Tensor, " r"] | None = None,
    generator: torch.Generator | None = None,
) -> FittedHead:
    """The head that reads by `option`, with what it needs to know of this text; no training.

    Exact and window need nothing. Tiled is run once, for the share of far rows that it reads.
    Splat and fidelity are fitted to 256 queries that have keys outside of the window, and to
    these; a text without any leaves them as a window.

    Args:
        query, key, value: of one head on a text, rotated if the model rotates them.
        rows: the only queries that a fit may look at; by default all.
        generator: of the draws; by default a new one with seed 0.
    """
    check_head(query, key, value)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    head = FittedHead(option, is_causal, scale, query.shape[-1], value.shape[-1])
    if option.kind == "tiled":
        return tiled_reading(head, query, key, value)[1]
    if option.kind not in ("splat", "fidelity"):
        return head
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    pairs = calibration_pairs(
        query,
        key,
        rows=torch.arange(len(query), device=query.device) if rows is None else rows,
        samples=_QUERIES,
        window=option["window"],
        sinks=option["sinks"],
        is_causal=is_causal,
        scale=scale,
        generator=generator,
    )
    return head if pairs is None else replace(head, far=_fitted(option, pairs, scale, generator))


def _fitted(
    option: HeadOption, pairs: CalibrationPairs, scale: float, generator: torch.Generator
) -> FarKernel:
    if option.kind == "splat":
        return fit_splats(pairs, option["splats"], scale, generator)
    return fit_fidelity(pairs, option["amplitudes"], scale)
