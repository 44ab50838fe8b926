"""A library of kernels that were compiled ahead of time, and how its calls are made."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UnsupportedError
from .layout import View, read_structures

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
        structure = self._structures[name]()
        for field, value in fields.items():
            if isinstance(value, Tensor):
                fill(getattr(structure, field), value)
            elif value is not None:
                setattr(structure, field, value)
        return structure

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
    assert tensor.dim() <= len(view.stride)
    assert not tensor.dim() or tensor.shape[-1] <= 1 or tensor.stride(-1) == 1
    view.data = tensor.data_ptr()
    view.stride[: tensor.dim()] = tensor.stride()
