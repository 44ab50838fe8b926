"""Units of length along each coordinate, in which laws of a metric know no units of coordinates."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...mathematics.geometry.jets import MetricJet

_ROUNDS = 8  # each takes the square root of what is out of balance


def lengths_of(metric: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    """s_i with the largest entry of each row of g_ij / (s_i s_j) near 1, in double precision."""
    values = metric.double()
    lengths = torch.ones_like(values[..., 0])
    for _ in range(_ROUNDS):
        largest = divided(values, lengths).abs().amax(-1)
        lengths = lengths * torch.where(largest == 0, 1.0, largest).sqrt()
    return lengths


def divided(values: Float[Tensor, "*b n n"], lengths: Float[Tensor, "*b n"]) -> Tensor:
    """g_ij / (s_i s_j)."""
    return values / lengths[..., :, None] / lengths[..., None, :]


def divided_jet(jet: MetricJet, lengths: Float[Tensor, "*b n"]) -> MetricJet:
    """g, d_k g and d_k d_m g after the change of coordinates to s_i x_i."""
    s = lengths.to(jet.metric)
    first = _lowered(jet.first, s, 3)
    return MetricJet(divided(jet.metric, s), first, _lowered(jet.second, s, 4))


def in_lengths(tensor: Tensor, lengths: Float[Tensor, "*b n"], lower: int) -> Tensor:
    """s_i T^i_jk.. / (s_j s_k ..), of so many lower indices, as Gamma^k_ij has two."""
    s = lengths.to(tensor)
    return _lowered(tensor, s, lower) * s.reshape(*s.shape, *(1,) * lower)


def _lowered(tensor: Tensor, lengths: Tensor, indices: int) -> Tensor:
    """T divided by the length of each of its last indices."""
    before = tensor.dim() - lengths.dim()
    for after in range(indices):
        *batch, n = lengths.shape
        tensor = tensor / lengths.reshape(*batch, *(1,) * (before - after), n, *(1,) * after)
    return tensor
