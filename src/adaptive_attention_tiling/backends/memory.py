"""Memory of this process: how much it takes, the peak since a moment, and when it is given back."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")

# Options of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MEBIBYTE = 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor; False where there is no glibc.

    By default every large tensor is mapped afresh and unmapped when it is freed, so that the kernel
    hands out zeroed pages again and again: that took 15 % of a forward pass here. The
    setting holds for the whole process, so only a program should choose it, never a library.
    """
    libc = _glibc()
    if libc is None:
        return False
    settings = {
        _M_MMAP_THRESHOLD: 32 * _MEBIBYTE,
        _M_TRIM_THRESHOLD: 1024 * _MEBIBYTE,
        _M_TOP_PAD: 64 * _MEBIBYTE,
    }
    return all(libc.mallopt(name, size) == 1 for name, size in settings.items())


def give_back_freed_memory() -> None:
    """Return what glibc has kept to the system, so that it does not count as in use."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def resident_bytes() -> int | None:
    """Physical memory this process takes now; None where the system does not tell."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int | None:
    """The most that `resident_bytes` has been since `reset_peak`."""
    return _status_bytes("VmHWM")


def reset_peak() -> bool:
    """Begin a new peak from what is resident now; False where that cannot be done."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status_bytes(field: str) -> int | None:
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
    except OSError:
        return None
    has_both = hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")
    return libc if has_both else None
