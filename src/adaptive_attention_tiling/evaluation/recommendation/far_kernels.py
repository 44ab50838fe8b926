"""Weights of far keys that are sums of products, so that linear time is enough to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ...ops.fidelity_attention.interface import BACKGROUND
from ...splats import SplatField

_LEAST = 1e-300


class FarKernel(Protocol):
    """log w_ij of far keys, in the units of the head's own exp(scale q.k)."""

    def log_weights(
        self, query: Float[Tensor, "r D"], key: Float[Tensor, "S D"]
    ) -> Float[Tensor, "r S"]:
        """log w of every query and key, in float64."""

    def multiply_adds(self, width: int, value_width: int) -> float:
        """What a token costs: writing its key and value, reading by its query."""


@dataclass(frozen=True)
class SplatFar:
    """w_ij = exp(g.q_i + g_0) sum_s a_s G_s(q_i) G_s(k_j), s over splats and a background.

    A token costs 2 F (D + E + 1) + D: F features of query and of key, D multiply-adds each; sums
    of F (E + 1) written and read; and its gain.

    Args:
        field: of one head.
        gain: (g, g_0) [D + 1].
    """

    field: SplatField
    gain: Float[Tensor, " D_and_1"]

    def log_weights(
        self, query: Float[Tensor, "r D"], key: Float[Tensor, "S D"]
    ) -> Float[Tensor, "r S"]:
        with torch.no_grad():
            reading = self.field.log_features(query.double()[None, None])[0, 0].double()
            writing = self.field.log_features(key.double()[None, None])[0, 0].double()
            highs = [x.amax(-1, keepdim=True) for x in (reading, writing)]
            product = (reading - highs[0]).exp() @ (writing - highs[1]).exp().mT
            # A query and a key that share no splat would weigh 0, and 0 has no logarithm.
            return (
                product.clamp_min(_LEAST).log()
                + highs[0]
                + highs[1].mT
                + affine(query, self.gain)[:, None]
            )

    def multiply_adds(self, width: int, value_width: int) -> float:
        return 2.0 * self.field.features * (width + value_width + 1) + width


@dataclass(frozen=True)
class FidelityFar:
    """w_ij = exp(g.q_i + g_0 + h.k_j) ((x.y)^2 + b |x|^2 |y|^2), x = A (q_i, 1), y = B (k_j, 1).

    That is the fidelity of the states x / |x| and y / |y|, with the background b of
    `fidelity_attention`, a gate on each key and a gain on each query. With m amplitudes and
    f = m (m + 1) / 2, a token costs 2 m D + 2 f + 2 f (E + 1) + 2 D: states, their products,
    sums written and read, gate and gain.

    Args:
        query_map, key_map: A, B [m, D + 1].
        gate: h [D].
        gain: (g, g_0) [D + 1].
    """

    query_map: Float[Tensor, "m D_and_1"]
    key_map: Float[Tensor, "m D_and_1"]
    gate: Float[Tensor, " D"]
    gain: Float[Tensor, " D_and_1"]
    background: float = BACKGROUND

    def log_weights(
        self, query: Float[Tensor, "r D"], key: Float[Tensor, "S D"]
    ) -> Float[Tensor, "r S"]:
        reading, writing = affine(query, self.query_map), affine(key, self.key_map)
        norms = reading.square().sum(-1)[:, None] * writing.square().sum(-1)
        weight = (reading @ writing.mT).square() + self.background * norms
        gate = key.double() @ self.gate
        return weight.log() + gate + affine(query, self.gain)[:, None]

    def multiply_adds(self, width: int, value_width: int) -> float:
        amplitudes = len(self.query_map)
        features = amplitudes * (amplitudes + 1) / 2
        return 2.0 * (amplitudes * width + features + features * (value_width + 1) + width)


def affine(
    points: Float[Tensor, "r D"], weights: Float[Tensor, "*m D_and_1"]
) -> Float[Tensor, "r ..."]:
    """Products of (x, 1) with each row of weights, in float64."""
    slopes = weights[..., :-1]
    return points.double() @ (slopes.mT if weights.dim() > 1 else slopes) + weights[..., -1]
