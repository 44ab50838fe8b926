"""How many rows a cut reads as a text grows: log n where keys come back, n where they do not."""

import math

import pytest
import torch
from torch import Tensor

from adaptive_attention_tiling.ops.tiled_attention import TileLayout
from adaptive_attention_tiling.tiling import KeyTree

CLUSTERS, BLOCK, D = 8, 32, 4
LAYOUT = TileLayout(super_block=BLOCK, tile=4, group=2, cells=CLUSTERS)
# One unit of every size covers 2^k - 1 super-blocks, the most nodes for their number.
BLOCKS = (1, 3, 7, 15, 31, 63)


def rows_read(key: Tensor, tolerance: float) -> list[float]:
    """Mean rows of a query for the first 1, 3, 7, ... super-blocks."""
    torch.manual_seed(1)
    query = torch.randn(1, 8, D, dtype=torch.float64)
    tree, rows, done = KeyTree(LAYOUT), [], 0
    for blocks in BLOCKS:
        piece = key[:, done : blocks * BLOCK]
        tree.append(piece, torch.randn_like(piece))
        done = blocks * BLOCK
        rows.append(tree.cut(query, tolerance=tolerance).rows.double().mean().item())
    return rows


def planted(centres: Tensor, noise: float) -> Tensor:
    """Each super-block has every cluster equally often, in any order."""
    which = torch.rand(BLOCKS[-1], BLOCK).argsort(-1) % CLUSTERS
    away = noise * torch.randn(BLOCKS[-1], BLOCK, D, dtype=torch.float64)
    return (centres[which] + away).view(1, -1, D)


def corners() -> Tensor:
    """Of a box with sides 8, 4 and 2."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    return torch.nn.functional.pad(signs * torch.tensor([4.0, 2.0, 1.0]), (0, 1))


def slope(x: list[float], y: list[float]) -> float:
    """Of the least-squares line."""
    design = torch.stack([torch.tensor(x), torch.ones(len(x))], 1).double()
    return torch.linalg.lstsq(design, torch.tensor(y).double()[:, None]).solution[0].item()


def test_keys_that_come_back_take_log_n_rows():
    """8 rows each time the text doubles: units of every size, each with a node for a cluster."""
    torch.manual_seed(0)
    rows = rows_read(planted(corners(), 0.01), 0.1)
    doublings = [math.log2(blocks + 1) for blocks in BLOCKS]
    assert slope(doublings, rows) == pytest.approx(CLUSTERS, rel=0.02)
    line = [CLUSTERS * x for x in doublings]
    assert max(abs(a - b) for a, b in zip(line, rows, strict=True)) < 0.02 * rows[-1]


def test_keys_without_structure_take_n_rows():
    """Every part of the text matters: tiles have to be opened everywhere.

    Clusters that overlap lie between, and so do some that do not: nodes that mix them are opened.
    Whether the bisection mixes them, which takes two power steps for an axis, was not looked into.
    """
    torch.manual_seed(0)
    rows = rows_read(torch.randn(1, BLOCKS[-1] * BLOCK, D, dtype=torch.float64), 0.1)
    tokens = [math.log2(blocks * BLOCK) for blocks in BLOCKS]
    assert slope(tokens, [math.log2(r) for r in rows]) > 0.9
    centres = 2 * torch.randn(CLUSTERS, D, dtype=torch.float64)
    mixed = rows_read(planted(centres, 0.1), 0.1)
    assert CLUSTERS * len(BLOCKS) * 1.5 < mixed[-1] < rows[-1] / 2
