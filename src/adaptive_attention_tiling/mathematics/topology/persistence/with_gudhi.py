"""Persistence pairs by gudhi, an optional package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....optional import require

Integers = NDArray[np.int64]

LARGEST_PRIME = 46337


def pairs_by_gudhi(edges: Integers, dimension: int, nodes: int, prime: int) -> list[Integers]:
    """As reduction.pairs, from the edges [m, 2] in their order.

    Edges get their places for levels, so that ties are broken, and classes told, as there.
    """
    gudhi = require("gudhi", "topology", 'persistence(implementation="gudhi")')
    tree = gudhi.SimplexTree()
    tree.insert_batch(np.arange(nodes)[None], np.full(nodes, -1.0))
    tree.insert_batch(edges.T, np.arange(len(edges), dtype=np.float64))
    tree.expansion(dimension + 1)
    # Left to itself, gudhi leaves out classes of the complex's own dimension.
    top = tree.dimension() <= dimension
    tree.compute_persistence(homology_coeff_field=prime, persistence_dim_max=top)
    found = [tree.persistence_intervals_in_dimension(k) for k in range(dimension + 1)]
    return [np.where(np.isinf(c), -1, c).astype(np.int64).reshape(-1, 2) for c in found]
