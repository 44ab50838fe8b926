"""States whose fidelities stand for the weights of one head's far keys, in closed form."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from .calibration import CalibrationPairs, fitted_gain
from .far_kernels import FidelityFar


def fit_fidelity(pairs: CalibrationPairs, amplitudes: int, scale: float) -> FidelityFar:
    """exp(x) ~ (1 + x / 2)^2 for the part x of the logits that m - 1 directions hold best.

    About the means q_0 of queries and k_0 of far keys,

        c q.k = c (q - q_0).(k - k_0) + (a number of the query) + c q_0.k,

    where gain and gate take what belongs to one token. Cut off after its m - 1 largest singular
    values, the matrix of the first term is a product of states without their first amplitude,
    which is 1. The gain is fitted last.
    """
    keys = pairs.far_keys
    middles = pairs.query.mean(0), keys.mean(0)
    _, reading = torch.linalg.qr(pairs.query - middles[0])
    _, writing = torch.linalg.qr(keys - middles[1])
    left, values, right = torch.linalg.svd(scale * reading @ writing.mT)
    rank = min(amplitudes - 1, len(values))
    half = (values[:rank] / 2).sqrt()
    found = FidelityFar(
        _states(_solved(reading, left[:, :rank] * half), middles[0], amplitudes),
        _states(_solved(writing, right[:rank].mT * half), middles[1], amplitudes),
        scale * middles[0],
        pairs.query.new_zeros(len(middles[0]) + 1),
    )
    return replace(found, gain=fitted_gain(pairs, found.log_weights(pairs.query, pairs.key)))


def _solved(triangle: Tensor, target: Tensor) -> Tensor:
    """X with triangle X = target, least in norm where directions are missing."""
    inverse: Tensor = torch.linalg.pinv(triangle, rtol=1e-6)
    return inverse @ target


def _states(
    directions: Float[Tensor, "D n"], middle: Float[Tensor, " D"], amplitudes: int
) -> Float[Tensor, "m D_and_1"]:
    """The map of (x, 1) to 1, directions^T (x - middle) and zeros."""
    found = directions.new_zeros(amplitudes, len(middle) + 1)
    found[0, -1] = 1.0
    rows = slice(1, 1 + directions.shape[1])
    found[rows, :-1] = directions.mT
    found[rows, -1] = -(middle @ directions)
    return found
