"""How widely a head attends, and in how many different ways."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...mathematics.information import shannon_entropy
from ...mathematics.quantum import von_neumann_entropy
from .attention_rows import AttentionRows


@dataclass(frozen=True)
class HeadEntropy:
    """Entropies, in nats, of r rows of a head's attention.

    Args:
        shannon: mean entropy of a row, from 0 (one key) to log T (all alike).
        shannon_share: mean of entropy / log(keys seen) over rows that see more than one key, in
            [0, 1]; NaN if none does.
        von_neumann: of the rows together, from 0 (all alike) to log r (no key in common).
        von_neumann_share: von_neumann / log r, in [0, 1]; NaN of a single row.
        effective_rank: from 1 (all alike) to r.
    """

    shannon: float
    shannon_share: float
    von_neumann: float
    von_neumann_share: float
    effective_rank: float


def head_entropy(rows: AttentionRows) -> HeadEntropy:
    """How widely rows spread, and how different they are from each other.

        shannon = mean_i H(a_i),    H(a) = -sum_j a_j log a_j
        von_neumann = -tr rho log rho,    rho = mean_i |sqrt a_i><sqrt a_i|
        effective_rank = exp H(s / sum s),    s the singular values of the rows

    rho [T, T] is never formed: its eigenvalues other than 0 are those of the r x r matrix
    <sqrt a_i|sqrt a_j> / r. It mixes pure states that stand for the rows (their overlap is
    Bhattacharyya's coefficient), so that its entropy counts, in nats, how many rows tell apart.

    Args:
        rows: of one head; see `attention_rows`.

    Source: Nielsen and Chuang, Quantum Computation and Quantum Information (2010), section 11.3;
    Roy and Vetterli, The effective rank: a measure of effective dimensionality (2007).
    """
    entropies = shannon_entropy(rows.weights)
    wide = rows.seen > 1
    shares = entropies[wide] / rows.seen[wide].double().log()
    count = len(rows.queries)
    mixture = _von_neumann(rows.weights)
    return HeadEntropy(
        float(entropies.mean()),
        float(shares.mean()),
        mixture,
        mixture / math.log(count) if count > 1 else math.nan,
        _effective_rank(rows.weights),
    )


def _von_neumann(weights: Tensor) -> float:
    roots = weights.sqrt()
    gram = roots @ roots.mT / len(roots)
    return float(von_neumann_entropy(gram.to(torch.complex128)))


def _effective_rank(weights: Tensor) -> float:
    values = torch.linalg.svdvals(weights)
    return float(shannon_entropy(values / values.sum()).exp())
