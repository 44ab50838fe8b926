"""A library of kernels that were compiled ahead of time, and how its calls are made."""

from __future__ import annotations

import ctypes
import functools
import struct
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UnsupportedError
from .layout import AXES, View, read_structures

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_OUT_OF_MEMORY = 1


class Library:
    """The kernels of one instruction set.

    `call` fills the structure that a call takes: tensors give their address and strides (the last
    axis must be contiguous; the caller sees to shapes and dtypes), None a null pointer, numbers
    themselves. Fields that are not named are null or zero.

    Raises:
        OSError: the file is no library that this machine can load.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instruction_set = path.stem.removeprefix("libaat_")
        self._binary = ctypes.CDLL(str(path))
        self._structures = read_structures(self._text("aat_interface"))
        self._functions: dict[tuple[str, torch.dtype], ctypes._NamedFuncPointer] = {}

    @property
    def vector_bytes(self) -> int:
        return int(self._binary.aat_vector_bytes())

    @property
    def fastest_set(self) -> str:
        """The fastest instruction set of this processor; asked of the baseline library."""
        return self._text("aat_fastest_set")

    def call(self, name: str, dtype: torch.dtype, **fields: Tensor | float | int | None) -> None:
        """Run one kernel; returns when its outputs are written."""
        self.run(name, dtype, self.arguments(name, **fields))

    def arguments(self, name: str, **fields: Tensor | float | int | None) -> ctypes.Structure:
        """What a call takes; holds addresses, so the tensors must live until it was made."""
        if name not in self._structures:
            raise UnsupportedError(
                f"{self.path.name} has no call {name!r}: it was compiled from other sources. "
                "Fix: install again, or in a checkout: python csrc/build.py"
            )
        structure = self._structures[name]
        places, count, packing = _packing(structure)
        # All numbers are packed at once: setting field by field takes longer than small kernels.
        numbers: list[float | int] = [0] * count
        for field, value in fields.items():
            if field not in places:
                raise AttributeError(f"the call {name!r} has no field {field!r}")
            place = places[field]
            if isinstance(value, Tensor):
                numbers[place : place + 1 + AXES] = _shown(value)
            elif value is not None:
                numbers[place] = value
        return structure.from_buffer(bytearray(packing.pack(*numbers)))

    def run(self, name: str, dtype: torch.dtype, structure: ctypes.Structure) -> None:
        status = self.function(name, dtype)(ctypes.byref(structure))
        if status == _OUT_OF_MEMORY:
            raise MemoryError(f"{name}: no memory for its scratch")

    def function(self, name: str, dtype: torch.dtype) -> ctypes._NamedFuncPointer:
        found = self._functions.get((name, dtype))
        if found is None:
            found = getattr(self._binary, f"aat_{name}_{_SUFFIX[dtype]}")
            found.argtypes, found.restype = (ctypes.c_void_p,), ctypes.c_int
            self._functions[name, dtype] = found
        return found

    def _text(self, name: str) -> str:
        ask = getattr(self._binary, name)
        ask.restype = ctypes.c_char_p
        return str(ask().decode())


def fill(view: View, tensor: Tensor) -> None:
    """Let a view show a tensor."""
    view.data, *strides = _shown(tensor)
    view.stride[:] = strides


def _shown(tensor: Tensor) -> tuple[int, ...]:
    """The numbers of a view: where the tensor begins, and its strides."""
    strides = tensor.stride()
    assert len(strides) <= AXES
    assert not strides or strides[-1] == 1 or tensor.shape[-1] <= 1
    return tensor.data_ptr(), *strides, *_NO_STRIDES[len(strides) :]


_NO_STRIDES = (0,) * AXES


@functools.cache
def _packing(structure: type[ctypes.Structure]) -> tuple[dict[str, int], int, struct.Struct]:
    """Where each field's numbers begin, how many numbers there are, and how they lie in memory."""
    places, letters = {}, ""
    for name, kind, *_ in structure._fields_:
        places[name] = len(letters)
        letters += "q" * (1 + AXES) if kind is View else "d" if kind is ctypes.c_double else "q"
    packing = struct.Struct("=" + letters)
    assert packing.size == ctypes.sizeof(structure)
    return places, len(letters), packing
