"""Structures are laid out as the compiler does, and what cannot be laid out is refused."""

import ctypes

import pytest

from adaptive_attention_tiling.backends.native.layout import View, read_structures

HEADER = """
/* struct aat_commented { int64_t never; }; */
struct aat_view {
  void *data;
  int64_t stride[4];
};
struct aat_scale {
  struct aat_view from; /* [n] */
  int64_t count;        /* n; of 1 or
                           more */
  double factor;
};
"""


def test_a_call_has_its_fields_in_order():
    structures = read_structures(HEADER)
    assert list(structures) == ["scale"]
    assert structures["scale"]._fields_ == [
        ("from", View),
        ("count", ctypes.c_int64),
        ("factor", ctypes.c_double),
    ]
    assert ctypes.sizeof(structures["scale"]) == (1 + 4 + 1 + 1) * 8


@pytest.mark.parametrize("field", ["float factor;", "int64_t a, b;", "int64_t shape[2];", "oops"])
def test_a_field_that_cannot_be_laid_out_is_refused(field):
    with pytest.raises(ValueError, match=r"aat_scale: '.*' is no field"):
        read_structures(HEADER.replace("double factor;", field))


def test_a_structure_refuses_names_that_are_no_field_of_it():
    structure = read_structures(HEADER)["scale"]()
    structure.count = 3
    with pytest.raises(AttributeError, match="counts"):
        structure.counts = 3
