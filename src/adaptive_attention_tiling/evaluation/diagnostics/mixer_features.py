"""What each linear-time mixer sees of a head's queries and keys."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...mathematics.linalg import matrix_inverse_sqrt, matrix_sqrt
from ...ops.fidelity_attention import FidelityKernel
from ...ops.linear_attention import FEATURE_MAPS
from ...splats.clusters import cluster_variance, k_means
from ...splats.log_features import prepare
from ...splats.splats import Splats
from .attention_rows import one_of_each_stretch

_AMPLITUDES = 12
_SPLATS = 64
# Splats lie in so many of the principal directions: more are no better, and dearer.
_SPLAT_WIDTH = 16
_POINTS = 512
_ITERATIONS = 10
# Directions that a head does not use get this share of its mean second moment.
_FLOOR = 1e-9
_TINY = 1e-30


class FeaturePair(NamedTuple):
    """phi(q_i) and psi(k_j) [T, F] of all tokens of a text, in float64."""

    query: Float[Tensor, "T F"]
    key: Float[Tensor, "T F"]


def mixer_features(
    query: Float[Tensor, "T D"],
    key: Float[Tensor, "T D"],
    *,
    scale: float | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, FeaturePair]:
    """Features of the mixers, in coordinates x, y in which logits scale q.(k - mean k) are x.y.

    Of all coordinates that leave the logits alone these have second moments that are diagonal,
    largest first, and the same s_d for queries and keys: singular values of Q K^T, as a mixer's
    own projections could make them.

        linear        elu(x) + 1
        exponential   exp(x), of each coordinate
        fidelity      density matrices of 12 amplitudes: (2 sqrt(11), x_1 / sqrt(s_1), ...
                      x_11 / sqrt(s_11)), normalised; without the first one, x and -x are one state
        splat         exp(-|x - mu_s|^2 / (2 r^2)) over their sum for 64 centres mu_s of k-means
                      in the first 16 coordinates; r^2 = 1 + sqrt(1 + 4 v), twice what is best for
                      points of variance v around a centre (`splats.teacher`)

    Sums of splats are divided out, as gates of keys and the normaliser of rows would.

    Args:
        query, key: of one head, rotated if the model rotates them.
        scale: of the logits; None is D ** -0.5.
        generator: of the start of k-means; by default a new one with seed 0.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    x, y, moments = _balanced(scale * query.detach().double(), key.detach().double())
    states = [_states(z, moments) for z in (x, y)]
    kernel = FidelityKernel(states[0].shape[1], is_complex=False, background=0.0)
    return {
        "linear": FeaturePair(*(FEATURE_MAPS["elu"]((), z) for z in (x, y))),
        "exponential": FeaturePair(*(FEATURE_MAPS["exp"]((), z) for z in (x, y))),
        "fidelity": FeaturePair(*(kernel.feature_map(kernel.states(z)) for z in states)),
        "splat": _splat_features(x[:, :_SPLAT_WIDTH], y[:, :_SPLAT_WIDTH], generator),
    }


def _balanced(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Float[Tensor, " D"]]:
    """x = S^1/2 U^T C_q^-1/2 q and y = S^1/2 V^T C_k^-1/2 k with U S V^T = C_q^1/2 C_k^1/2."""
    key = key - key.mean(0)
    scatter = [_second_moments(query), _second_moments(key)]
    left, moments, right = torch.linalg.svd(matrix_sqrt(scatter[0]) @ matrix_sqrt(scatter[1]))
    sides = (query, scatter[0], left), (key, scatter[1], right.mT)
    x, y = (z @ matrix_inverse_sqrt(c) @ turn * moments.sqrt() for z, c, turn in sides)
    return x, y, moments


def _second_moments(points: Float[Tensor, "T D"]) -> Float[Tensor, "D D"]:
    found = points.mT @ points / len(points)
    floor = _FLOOR * found.diagonal().mean() + _TINY
    return found + floor * torch.eye(len(found)).to(found)


def _states(x: Float[Tensor, "T D"], moments: Float[Tensor, " D"]) -> Float[Tensor, "T m"]:
    used = min(_AMPLITUDES - 1, x.shape[1])
    first = torch.full_like(x[:, :1], 2 * math.sqrt(used))
    return torch.cat([first, x[:, :used] / moments[:used].sqrt()], 1)


def _splat_features(x: Tensor, y: Tensor, generator: torch.Generator) -> FeaturePair:
    drawn = one_of_each_stretch(len(x), _POINTS, generator)
    points = torch.cat([x[drawn], y[drawn]])[None]
    count = min(_SPLATS, points.shape[1])
    clusters = k_means(points, count, iterations=_ITERATIONS, generator=generator)
    variance = cluster_variance(points, clusters).mean()
    radius = (1 + (1 + 4 * variance).sqrt()).sqrt()
    even = torch.zeros_like(clusters.sizes)
    alive = torch.ones_like(even, dtype=torch.bool)
    splats = Splats(
        kind="scalar",
        mean=clusters.centres,
        scale=radius.expand_as(even),
        log_amplitude=even,
        alive=alive,
    )
    features = prepare(splats, None, None)
    return FeaturePair(*(features(z[None, None])[0, 0].softmax(-1) for z in (x, y)))
