"""Bits of keys: grids that are known, bounds of rounding, and that the figure is the least one."""

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.evaluation.diagnostics import (
    attention_rows,
    fixed_point_keys,
    key_bits,
)


def head(tokens=70, width=8, sharp=2.0):
    query, key, value = torch.randn(3, tokens, width)
    return query * sharp, key, value


def found_in(query, key, value, is_causal=True, **settings):
    rows = attention_rows(query, key, is_causal=is_causal, scale=settings.get("scale"))
    return key_bits(query, key, value, rows, **settings)


def error_with(bits, query, key, value, **settings):
    exact = attention_rows(query, key, **settings)
    rounded = fixed_point_keys(key, bits, 32).float()
    read = attention_rows(query, rounded, **settings)
    wanted = exact.weights @ value.double()
    return float((read.weights @ value.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("is_causal", [True, False])
@pytest.mark.parametrize("scale", [None, 0.1])
def test_the_bits_suffice_and_one_less_does_not(is_causal, scale):
    query, key, value = head()
    found = found_in(query, key, value, is_causal, scale=scale)
    errors = [
        error_with(bits, query, key, value, is_causal=is_causal, scale=scale)
        for bits in (found.bits, found.bits - 1)
    ]
    assert errors[0] <= 0.01 < errors[1]
    assert found.error == pytest.approx(errors[0], rel=1e-4)


def test_sharper_heads_and_smaller_errors_take_more_bits():
    query, key, value = head()
    bits = [found_in(query * s, key, value).bits for s in (0.25, 1, 4, 16)]
    assert bits == sorted(bits)
    assert bits[0] < bits[-1]
    strict = found_in(query, key, value, tolerance=1e-5).bits
    assert found_in(query, key, value).bits + 8 <= strict <= found_in(query, key, value).bits + 12


def test_keys_on_a_grid_take_the_bits_of_the_grid():
    query, _, value = head(64)
    key = torch.randint(-7, 8, (64, 8)) / 4.0
    key[0, 0] = key[40, 0] = 7 / 4
    found = found_in(query, key, value, tolerance=1e-12)
    assert found.bits == 4
    assert found.error == 0
    assert (found.integer_bits, found.fraction_bits) == (1, 2)


def test_each_tile_has_its_own_scale():
    key = torch.randn(64, 8)
    key[32:] *= 2.0**-20
    rounded = fixed_point_keys(key, 6, 32)
    for tile, part in ((key[:32], rounded[:32]), (key[32:], rounded[32:])):
        # A step is 2^(e - 5) with 2^(e - 1) <= max|k|; the largest codes are held one step down.
        assert float((part - tile).abs().max()) <= float(tile.abs().max()) / 16
    torch.testing.assert_close(fixed_point_keys(key, 32, 32), key.double(), rtol=0, atol=1e-8)
    assert float((rounded[32:] != 0).double().mean()) > 0.9


def test_codes_are_signed_integers_of_so_many_bits():
    key = torch.tensor([[0.999, -1.0, 0.26, 0.0]])
    # e = 1, since 1 <= |-1| < 2: the step is 2^(1 - 3 + 1) = 1/2, codes go from -4 to 3.
    assert fixed_point_keys(key, 3, 32).tolist() == [[1.0, -1.0, 0.5, 0.0]]
    largest = torch.tensor([[1.99, -1.99]])
    assert fixed_point_keys(largest, 3, 32).tolist() == [[1.5, -2.0]]
    assert fixed_point_keys(largest, 1, 32).tolist() == [[0.0, -2.0]]
    for bits in (1, 5, 9):
        assert int(found_in(*head()).budget.signed_width.max()) <= found_in(*head()).bits
        step = 2.0 ** (1 - bits + 1)
        codes = fixed_point_keys(largest, bits, 32) / step
        assert torch.equal(codes, codes.round())


@pytest.mark.parametrize("tokens", [1, 2, 33])
def test_short_texts_and_values_of_nothing(tokens):
    query, key, value = head(tokens)
    assert 1 <= found_in(query, key, value).bits <= 24
    nothing = found_in(query, key, torch.zeros_like(value))
    assert (nothing.bits, nothing.error) == (1, 0)


def test_a_head_that_no_bits_serve_says_so():
    query, key, value = head(32)
    key[0] += 2.0**40  # all others of the tile lose all their digits, and queries ask for them
    query[:, 0], key[0, 0] = -1e3, 1e12
    found = found_in(query, key.double().float(), value, is_causal=False, tolerance=1e-6)
    assert found.bits == 0
    assert found.error > 1e-6


def test_bad_arguments_are_named():
    query, key, value = head(8)
    rows = attention_rows(query, key)
    for given, name in (
        ((query, key, value[1:], rows), "value"),
        ((query, key, value[0], rows), "value"),
        ((query, key, value.long(), rows), "value"),
    ):
        with pytest.raises(ArgumentError, match=rf"^{name}"):
            key_bits(*given)
    with pytest.raises(ArgumentError, match=r"^tolerance"):
        key_bits(query, key, value, rows, tolerance=0.0)
    for bits in (0, 33):
        with pytest.raises(ArgumentError, match=r"^bits"):
            fixed_point_keys(key, bits, 32)
