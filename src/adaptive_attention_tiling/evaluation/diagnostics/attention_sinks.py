"""Keys that rows attend to wherever they stand: attention sinks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .attention_rows import AttentionRows
from .placement_null import non_increasing

# Keys that fewer rows see have no mean to speak of; fewer keys, no spread.
_LEAST_ROWS, _LEAST_KEYS = 8, 16
# So many deviations count in full.
_OUTLYING = 3
# Rounds in which rows and distances are brought to what the other leaves.
_ROUNDS = 3
# Normal deviates per median of their absolute values.
_MEDIAN_TO_DEVIATION = 1.4826


class AttentionSink(NamedTuple):
    """A key that stands out from the others."""

    key: int
    share: float
    """Mean attention of the rows that see it, in [0, 1]."""
    z: float
    """Of its mean level among all keys' levels."""
    p_value: float
    """Chance that any key of the head stands out so far."""


def find_sinks(rows: AttentionRows, *, level: float = 0.01) -> list[AttentionSink]:
    """Keys that get more from all rows than keys at like distances do, the clearest first.

    With x_ij = log(n_i a_ij), n_i the keys that row i sees, less the decay with distance (the best
    fit that never rises, so that nearness is no merit) and the row's mean, and cut off at three
    deviations, a key's mean m_j over the c_j rows that see it is compared with those of all keys:

        z_j = (m_j - median m) / sqrt(tau^2 + sigma^2 / c_j)

    sigma^2 the variance within keys and tau^2 that of keys beyond it, both from medians, which a
    few sinks do not move. p_j is the normal tail times the number of keys. `share` tells how much
    a sink holds: Gu et al. (2024) call one only what holds 0.3.

    Args:
        rows: of `attention_rows`. Keys that fewer than 8 of them see are not judged, and a head
            with fewer than 16 other keys has no sinks.
        level: the largest p_value, in (0, 1).

    Xiao et al., Efficient streaming language models with attention sinks (2023); Gu et al., When
    attention sink emerges in language models (2024).
    """
    if not 0 < level < 1:
        raise ArgumentError("level", level, "0 < level < 1", "pass level=0.01")
    there = torch.arange(rows.tokens, device=rows.weights.device) < rows.seen[:, None]
    counts = there.sum(0)
    judged = counts >= _LEAST_ROWS
    if int(judged.sum()) < _LEAST_KEYS:
        return []
    rest = _beyond_distance(rows, there)
    mean = rest.sum(0) / counts.clamp_min(1)
    spread = _deviations(rest, there, mean, counts, judged)
    z = (mean - mean[judged].median()) / spread
    tail = torch.special.erfc(z / 2**0.5) / 2 * int(judged.sum())
    share = rows.weights.sum(0) / counts.clamp_min(1)
    found = (judged & (tail <= level)).nonzero()[:, 0]
    found = found[z[found].argsort(descending=True)]
    return [AttentionSink(int(j), float(share[j]), float(z[j]), float(tail[j])) for j in found]


def _beyond_distance(rows: AttentionRows, there: Tensor) -> Float[Tensor, "r T"]:
    """log(n a) less its decay with distance, and the row's mean."""
    tiny = torch.finfo(rows.weights.dtype).tiny
    level = (rows.weights * rows.seen[:, None]).clamp_min(tiny).log()
    keys = torch.arange(rows.tokens, device=level.device)
    distance = (rows.queries[:, None] - keys).abs()
    pairs = distance[there]
    many = torch.bincount(pairs, minlength=rows.tokens)
    level = level * there
    for _ in range(_ROUNDS):
        level = (level - level.sum(1, keepdim=True) / rows.seen[:, None]) * there
        total = level.new_zeros(rows.tokens).index_add(0, pairs, level[there])
        decay = non_increasing(total, many.to(total), torch.zeros_like(many))
        level = (level - decay[distance]) * there
    # One strong link to a key makes it no sink.
    most = _OUTLYING * _MEDIAN_TO_DEVIATION * float(level[there].abs().median())
    return level.clamp(-most, most)


def _deviations(
    rest: Tensor, there: Tensor, mean: Tensor, counts: Tensor, judged: Tensor
) -> Float[Tensor, " T"]:
    """sqrt(tau^2 + sigma^2 / c) of each key."""
    within = ((rest - mean) * there).square().sum(0) / (counts - 1).clamp_min(1)
    sigma = within[judged].median()
    noise = sigma / counts.clamp_min(1)
    off = (mean - mean[judged].median()).abs()[judged]
    both = (_MEDIAN_TO_DEVIATION * off.median()).square()
    tau = (both - noise[judged].median()).clamp_min(0)
    return (tau + noise).sqrt().clamp_min(1e-12)
