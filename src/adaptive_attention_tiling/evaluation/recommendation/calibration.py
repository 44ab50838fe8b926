"""The queries and keys that a far kernel is fitted to, and what softmax makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .near import has_far_keys, near_keys

# Of the squared and standardised slopes of a gain, against the weighted mean of squared errors.
_RIDGE = 0.05


@dataclass(frozen=True)
class CalibrationPairs:
    """Some queries of a head with all keys, in float64.

    query [n, D], key [S, D]; far [n, S], True for keys beside the window and sinks; logits [n, S]
    of the keys that are seen, -inf elsewhere.
    """

    query: Float[Tensor, "n D"]
    key: Float[Tensor, "S D"]
    far: Bool[Tensor, "n S"]
    logits: Float[Tensor, "n S"]

    @property
    def far_keys(self) -> Float[Tensor, "s D"]:
        """The keys that are far from one query at least."""
        return self.key[self.far.any(0)]

    @property
    def near_mass(self) -> Float[Tensor, " n"]:
        """log of the sum of exp(logits) over near keys."""
        return self.logits.masked_fill(self.far, -torch.inf).logsumexp(-1)

    def far_mass(self, logits: Float[Tensor, "n S"]) -> Float[Tensor, " n"]:
        """log of the sum of exp(logits) over far keys."""
        return logits.masked_fill(~self.far, -torch.inf).logsumexp(-1)


def calibration_pairs(
    query: Tensor,
    key: Tensor,
    *,
    rows: Int[Tensor, " r"],
    samples: int,
    window: int,
    sinks: int,
    is_causal: bool,
    scale: float,
    generator: torch.Generator,
) -> CalibrationPairs | None:
    """So many of `rows` that have far keys, drawn at random; None if none has."""
    kept = rows[has_far_keys(rows, len(key), window, sinks, is_causal=is_causal)]
    if not len(kept):
        return None
    if len(kept) > samples:
        drawn = torch.randperm(len(kept), generator=generator)[:samples]
        kept = kept[drawn.to(kept.device).sort().values]
    columns = torch.arange(len(key), device=rows.device)
    far = ~near_keys(kept, columns, window, sinks, is_causal=is_causal)
    q, k = query[kept].detach().double(), key.detach().double()
    logits = scale * (q @ k.mT)
    if is_causal:
        unseen = columns > kept[:, None]
        far, logits = far & ~unseen, logits.masked_fill(unseen, -torch.inf)
    return CalibrationPairs(q, k, far, logits)


def fitted_gain(
    pairs: CalibrationPairs, log_weights: Float[Tensor, "n S"]
) -> Float[Tensor, " D_and_1"]:
    """(g, g_0) that make exp(g.q + g_0) sum_far w the mass that softmax gives to far keys.

        min_g sum_i (f_i (1 - f_i))^2 (log m_i - log sum_far w_ij - g.q_i - g_0)^2 + ridge,

    m_i the mass, f_i its share of the query's normaliser: an error of the logarithm changes the
    share by f (1 - f) as much.
    """
    mass = pairs.far_mass(pairs.logits)
    wanted = mass - pairs.far_mass(log_weights)
    share = torch.sigmoid(mass - pairs.near_mass)
    weight = (share * (1 - share)).square() + 1e-8
    weight = (weight / weight.sum())[:, None]
    centre = (weight * pairs.query).sum(0)
    deviation = (weight * (pairs.query - centre).square()).sum(0).sqrt().clamp_min(1e-12)
    points = (pairs.query - centre) / deviation
    middle = (weight[:, 0] * wanted).sum()
    gram = points.mT @ (weight * points) + _RIDGE * torch.eye(points.shape[1]).to(points)
    slope = torch.linalg.solve(gram, points.mT @ (weight[:, 0] * (wanted - middle))) / deviation
    return torch.cat([slope, (middle - slope @ centre)[None]])
