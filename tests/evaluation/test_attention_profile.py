"""Attention by offset, against a loop over all pairs."""

import pytest
import torch

from adaptive_attention_tiling.evaluation.diagnostics import (
    AttentionRows,
    attention_profile,
    attention_rows,
)


def by_loop(rows):
    """Mass and keys of each bin, told by the offset nearest to 0."""
    mass, keys = {}, {}
    for i, row in zip(rows.queries.tolist(), rows.weights.tolist(), strict=True):
        for j, weight in enumerate(row):
            offset = i - j
            if rows.is_causal and offset < 0:
                continue
            size = abs(offset)
            first = 2 ** (size.bit_length() - 1) if size else 0
            name = first if offset >= 0 else -first
            mass[name] = mass.get(name, 0) + weight / len(rows.queries)
            keys[name] = keys.get(name, 0) + 1 / len(rows.queries)
    order = sorted(mass)
    return order, [mass[n] for n in order], [keys[n] for n in order]


@pytest.mark.parametrize("tokens", [1, 2, 5, 70])
@pytest.mark.parametrize("is_causal", [True, False])
def test_profiles_are_sums_over_pairs(tokens, is_causal):
    rows = attention_rows(*torch.randn(2, tokens, 8), rows=20, is_causal=is_causal)
    offsets, mass, keys = by_loop(rows)
    found = attention_profile(rows)
    assert found.offsets.tolist() == offsets
    torch.testing.assert_close(found.mass, torch.tensor(mass, dtype=torch.float64))
    torch.testing.assert_close(found.keys, torch.tensor(keys, dtype=torch.float64))
    assert float(found.mass.sum()) == pytest.approx(1)


def test_attention_that_is_spread_evenly_gives_every_offset_as_much_a_key():
    rows = AttentionRows(torch.tensor([63]), torch.full((1, 64), 1 / 64).double(), True)
    found = attention_profile(rows)
    assert found.offsets.tolist() == [0, 1, 2, 4, 8, 16, 32]
    torch.testing.assert_close(found.mean_attention, torch.full((7,), 1 / 64).double())
