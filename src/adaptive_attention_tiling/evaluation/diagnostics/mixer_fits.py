"""How well linear-time mixers could do a head's work, by least squares in their features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ArgumentError
from .attention_rows import AttentionRows, attention_rows
from .head_tensors import check_head
from .mixer_features import FeaturePair, mixer_features

# Of the largest product of eigenvalues of the two Gram matrices.
_RIDGE = 1e-5
# Rows come in this many stretches; of each three, two are fitted to and the third is held out.
_STRETCHES = 48


@dataclass(frozen=True)
class MixerFit:
    """How near a mixer comes to a head on rows that it was not fitted to.

    Args:
        name: of the mixer.
        features: F; the memory of a head has F (E + 1) numbers.
        error: root of sum |o_i' - o_i|^2 over sum |o_i|^2, o_i' with fitted weights >= 0.
        explained: share of the variance of far attention that these weights explain; at most 1,
            negative where the mean of all would be nearer.
    """

    name: str
    features: int
    error: float
    explained: float


def mixer_fits(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    value: Float[Tensor, "T E"],
    *,
    is_causal: bool = True,
    scale: float | None = None,
    rows: int = 384,
    window: int = 64,
    sinks: int = 4,
    generator: torch.Generator | None = None,
) -> dict[str, MixerFit]:
    """Far attention as phi(q_i)^T M psi(k_j), for the features of each mixer; see `fit_to_rows`.

    Besides `mixer_features` there are two baselines: "window" leaves far keys out, and "mean"
    gives them all the same weight. Rows are from the last quarter of the text.

    This tells what a mixer's features could hold of a head; a mixer that is put in its place has
    scales, gates and projections to fit as well.

    Args:
        query, key: of one head, rotated if the model rotates them.
        value: of the head's group.
        scale: of the logits; None is D ** -0.5.
        rows: how many, two thirds of them fitted to; see `attention_rows`.
        window: keys at a distance below it are read exactly, before a query and, without
            causality, after it.
        sinks: first keys, which are read exactly.
        generator: of rows and k-means; by default a new one with seed 0.
    """
    check_head(query, key, value)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    found = attention_rows(
        query,
        key,
        rows=rows,
        first=3 * len(query) // 4,
        is_causal=is_causal,
        scale=scale,
        generator=generator,
    )
    one = query.new_ones(len(query), 1, dtype=torch.float64)
    features = {
        "window": FeaturePair(one[:, :0], one[:, :0]),
        "mean": FeaturePair(one, one),
        **mixer_features(query, key, scale=scale, generator=generator),
    }
    return fit_to_rows(features, found, value, window=window, sinks=sinks)


def fit_to_rows(
    features: Mapping[str, FeaturePair],
    rows: AttentionRows,
    value: Float[Tensor, "T E"],
    *,
    window: int = 64,
    sinks: int = 4,
) -> dict[str, MixerFit]:
    """M of each pair of features from two thirds of the rows, and how it does on the others.

        M = argmin sum_ij (a_ij - phi(q_i)^T M psi(k_j))^2 + ridge |M|^2

    over keys j that are far from all rows fitted to: with eigenvectors of Phi^T Phi and Psi^T Psi
    each entry of M is found by itself. On the other rows all far keys are read with
    max(0, phi(q_i)^T M psi(k_j)) beside the exact a_ij of window and sinks, under one normaliser.
    The figures are NaN where no key is far from rows of either kind.

    Args:
        features: of all tokens, by name of the mixer.
        rows: attention that adds up to 1 in each row.
        value: of the head's group.
        window, sinks: as in `mixer_fits`.
    """
    for name, size in (("window", window), ("sinks", sinks)):
        if size < 0:
            raise ArgumentError(name, size, "an integer >= 0", f"pass {name}=0")
    held = torch.arange(len(rows.queries)) // max(1, len(rows.queries) // _STRETCHES) % 3 == 2
    far = _far(rows, window, sinks)
    common = far[~held].all(0)
    if not (bool(common.any()) and bool(far[held].any())):
        return {n: MixerFit(n, x.key.shape[1], math.nan, math.nan) for n, x in features.items()}
    target = rows.weights[~held][:, common]
    place, asked = rows.queries[~held], rows.queries[held]
    trial = _HeldRows(rows.weights[held], far[held], value.detach().double())
    fits = {}
    for name, (phi, psi) in features.items():
        matrix = _least_squares(phi[place], psi[common], target)
        error, explained = trial.judged(phi[asked] @ matrix @ psi.mT)
        fits[name] = MixerFit(name, phi.shape[1], error, explained)
    return fits


class _HeldRows:
    """Rows that fits are judged by."""

    def __init__(self, weights: Tensor, far: Bool[Tensor, "r T"], value: Tensor) -> None:
        self.far, self.value = far, value
        self.wanted = weights * far
        near = weights - self.wanted
        self.mass, self.near = near.sum(1, keepdim=True), near @ value
        self.output = self.near + self.wanted @ value
        present = self.wanted[far]
        self.spread = (present - present.mean()).square().sum()
        # Weights that are equal up to rounding have no variance.
        self.varies = bool(self.spread > 1e-20 * present.square().sum())

    def judged(self, fitted: Float[Tensor, "r T"]) -> tuple[float, float]:
        """Error of the output and share of variance explained."""
        read = fitted.clamp_min(0) * self.far
        output = (self.near + read @ self.value) / (self.mass + read.sum(1, keepdim=True))
        norm = self.output.norm()
        error = float((output - self.output).norm() / norm) if norm > 0 else math.nan
        missed = (read - self.wanted).square().sum()
        return error, float(1 - missed / self.spread) if self.varies else math.nan


def _far(rows: AttentionRows, window: int, sinks: int) -> Bool[Tensor, "r T"]:
    keys = torch.arange(rows.tokens, device=rows.queries.device)
    offset = rows.queries[:, None] - keys
    if not rows.is_causal:
        offset = offset.abs()
    return (offset >= window) & (offset >= 0) & (keys >= sinks)


def _least_squares(
    phi: Float[Tensor, "r F"], psi: Float[Tensor, "s F"], target: Float[Tensor, "r s"]
) -> Float[Tensor, "F F"]:
    if not phi.shape[1]:
        return phi.mT @ phi
    left, reading = torch.linalg.eigh(phi.mT @ phi)
    right, writing = torch.linalg.eigh(psi.mT @ psi)
    product = left.clamp_min(0)[:, None] * right.clamp_min(0)
    ridge = (_RIDGE * product.max()).clamp_min(torch.finfo(product.dtype).tiny)
    along = reading.mT @ (phi.mT @ (target @ psi)) @ writing
    matrix: Tensor = reading @ (along / (product + ridge)) @ writing.mT
    return matrix
