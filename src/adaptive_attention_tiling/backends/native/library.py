"""Kernels that were compiled ahead of time: which there are, which one runs, and how to call it."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from .layout import View, read_structures

VARIABLE = "AAT_NATIVE"
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
_FOLDER = Path(__file__).parent / "libraries"
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_OUT_OF_MEMORY = 1


class Library:
    """The kernels of one instruction set.

    `call` fills the structure that a call takes: tensors give their address and strides (the last
    axis must be contiguous; the caller sees to shapes and dtypes), None a null pointer, numbers
    themselves. Fields that are not named are null or zero.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instruction_set = path.stem.removeprefix("libaat_")
        self._binary = ctypes.CDLL(str(path))
        self._structures = read_structures(path.parent / "interface")
        self._functions: dict[tuple[str, torch.dtype], ctypes._NamedFuncPointer] = {}

    @property
    def vector_bytes(self) -> int:
        return int(self._binary.aat_vector_bytes())

    def call(self, name: str, dtype: torch.dtype, **fields: Tensor | float | int | None) -> None:
        """Run one kernel; returns when its outputs are written."""
        self.run(name, dtype, self.arguments(name, **fields))

    def arguments(self, name: str, **fields: Tensor | float | int | None) -> ctypes.Structure:
        """What a call takes; holds addresses, so the tensors must live until it was made.

        Threads are torch's own number unless given.
        """
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


def fill(view: View, tensor: Tensor) -> None:
    """Let a view show a tensor."""
    assert tensor.dim() <= len(view.stride)
    assert not tensor.dim() or tensor.shape[-1] <= 1 or tensor.stride(-1) == 1
    view.data = tensor.data_ptr()
    view.stride[: tensor.dim()] = tensor.stride()


@dataclass(frozen=True)
class Choice:
    """The library that runs, or None; and why."""

    library: Library | None
    reason: str


def choice() -> Choice:
    """Which kernels run in this process, as the machine and the environment say.

    The variable AAT_NATIVE pins an instruction set ("avx512", "avx2", "baseline") or turns native
    kernels "off"; it is read at every call. A pinned set that cannot run raises.

    Raises:
        ArgumentError: AAT_NATIVE holds something else.
        UnsupportedError: the pinned set was not built, or this processor lacks it.
    """
    pinned = os.environ.get(VARIABLE, "")
    if pinned == "off":
        return Choice(None, f"{VARIABLE}=off")
    if not pinned:
        return _fastest()
    if pinned not in INSTRUCTION_SETS:
        names = ", ".join(repr(name) for name in INSTRUCTION_SETS)
        raise ArgumentError(VARIABLE, repr(pinned), f"{names} or 'off'", "correct or unset it")
    runnable = runnable_sets()
    if pinned not in runnable:
        why = "was not built" if not _path(pinned).exists() else "is not what this processor has"
        raise UnsupportedError(
            f"{VARIABLE}: the instruction set {pinned!r} {why}; what can run here: "
            f"{', '.join(runnable) or 'nothing'}. Fix: unset it, or install again with a compiler."
        )
    return Choice(library(pinned), f"pinned by {VARIABLE}={pinned}")


@functools.cache
def _fastest() -> Choice:
    runnable = runnable_sets()
    if not runnable:
        return Choice(None, "not built: there was no C++ compiler when the package was installed")
    return Choice(
        library(runnable[0]), f"the fastest instruction set of this processor that was built"
    )


@functools.cache
def runnable_sets() -> tuple[str, ...]:
    """The instruction sets that were built and that this processor can run, fastest first."""
    if not _path("baseline").exists():
        return ()
    ask = library("baseline")._binary.aat_fastest_set
    ask.restype = ctypes.c_char_p
    fastest = INSTRUCTION_SETS.index(ask().decode())
    return tuple(name for name in INSTRUCTION_SETS[fastest:] if _path(name).exists())


@functools.cache
def library(instruction_set: str) -> Library:
    """The kernels of one instruction set, loaded once."""
    return Library(_path(instruction_set))


def _path(instruction_set: str) -> Path:
    return _FOLDER / f"libaat_{instruction_set}.so"
