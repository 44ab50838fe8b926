"""Which libraries there are, which of them runs, and why.

Two variables of the environment are read at every question, so that a program can set them late:
AAT_NATIVE pins an instruction set ("avx512", "avx2", "baseline") or turns native kernels "off";
AAT_NATIVE_LIBRARIES names another folder of libraries (those of a sanitizer, say).
"""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ...errors import ArgumentError, UnsupportedError
from .library import Library

VARIABLE = "AAT_NATIVE"
FOLDER_VARIABLE = "AAT_NATIVE_LIBRARIES"
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")
_FOLDER = str(Path(__file__).parent / "libraries")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The library that runs, or None; and why."""

    library: Library | None
    reason: str


def choice() -> Choice:
    """Which kernels run in this process, as the machine and the environment say.

    Raises:
        ArgumentError: AAT_NATIVE holds a word that it does not know.
        UnsupportedError: the pinned set was not built, or cannot run here.
    """
    pinned = os.environ.get(VARIABLE, "")
    if not pinned:
        return _fastest(_folder())
    if pinned == "off":
        return Choice(None, f"{VARIABLE}=off")
    if pinned not in INSTRUCTION_SETS:
        names = ", ".join(repr(name) for name in INSTRUCTION_SETS)
        raise ArgumentError(VARIABLE, repr(pinned), f"{names} or 'off'", "correct or unset it")
    return Choice(library(pinned), f"pinned by {VARIABLE}={pinned}")


def library(instruction_set: str) -> Library:
    """The kernels of one instruction set.

    Raises:
        UnsupportedError: it was not built, or cannot run here.
    """
    found = _examined(_folder())[instruction_set]
    if found.library is None:
        raise UnsupportedError(
            f"native kernels for {instruction_set!r}: {found.reason}. What can run here: "
            f"{', '.join(runnable_sets()) or 'nothing'}. Fix: unset {VARIABLE}, or install again "
            "with a C++ compiler (in a checkout: python csrc/build.py)"
        )
    return found.library


def runnable_sets() -> tuple[str, ...]:
    """The instruction sets that were built and that this processor can run, fastest first."""
    return tuple(name for name, found in _examined(_folder()).items() if found.library is not None)


def availability() -> dict[str, str]:
    """Every instruction set, fastest first: that it can run, or why it cannot."""
    return {name: found.reason for name, found in _examined(_folder()).items()}


def _folder() -> str:
    return os.environ.get(FOLDER_VARIABLE) or _FOLDER


@functools.cache
def _fastest(folder: str) -> Choice:
    passed_over: list[str] = []
    for name, found in _examined(folder).items():
        if found.library is not None:
            reason = "; ".join(["the fastest instruction set that can run here", *passed_over])
            return Choice(found.library, reason)
        passed_over.append(f"{name}: {found.reason}")
    return Choice(None, found.reason)


@functools.cache
def _examined(folder: str) -> dict[str, Choice]:
    """Every instruction set, fastest first: its library, or why it cannot run here."""
    baseline = _opened(folder, "baseline")
    if baseline.library is None:
        return dict.fromkeys(INSTRUCTION_SETS, baseline)
    here = INSTRUCTION_SETS.index(baseline.library.fastest_set)
    lacking = dict.fromkeys(INSTRUCTION_SETS[:here], Choice(None, "this processor lacks it"))
    slower = {name: _opened(folder, name) for name in INSTRUCTION_SETS[here:-1]}
    return {**lacking, **slower, "baseline": baseline}


def _opened(folder: str, instruction_set: str) -> Choice:
    path = Path(folder) / f"libaat_{instruction_set}.so"
    if not path.exists():
        told = path.with_name("reason.txt")
        reason = told.read_text().strip() if told.exists() else "the kernels were not compiled"
        return Choice(None, f"not built: {reason}")
    try:
        return Choice(Library(path), "can run here")
    except OSError as error:  # a file that the system's loader refuses: it alone can tell
        _logger.warning("%s cannot be loaded: %s", path, error)
        return Choice(None, f"cannot be loaded: {error}")
