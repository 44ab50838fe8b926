import pytest
import torch

from adaptive_attention_tiling.testing import TOLERANCES, tolerance


def test_golden_entries():
    assert tolerance("special_case", torch.float64) == (1e-12, 1e-10)
    assert tolerance("special_case", torch.float32).value == 1e-6
    assert tolerance("contract", torch.float64).value == 1e-10
    assert tolerance("contract", torch.float32).value == 1e-5
    assert tolerance("contract", torch.bfloat16).value == 2e-2


def test_a_dtype_outside_the_table_has_no_tolerance():
    with pytest.raises(KeyError):
        tolerance("contract", torch.int64)


def test_a_special_case_is_never_looser_than_the_contract():
    assert TOLERANCES["special_case"].keys() == TOLERANCES["contract"].keys()
    for dtype, entry in TOLERANCES["special_case"].items():
        assert entry.value <= tolerance("contract", dtype).value
