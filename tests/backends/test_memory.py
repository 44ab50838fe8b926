import subprocess
import sys

import pytest
import torch

from adaptive_attention_tiling.backends import memory

MEBIBYTE = 2**20

needs_peak = pytest.mark.skipif(
    not memory.reset_peak(), reason="this system cannot reset the peak of a process's memory"
)


@needs_peak
def test_the_peak_sees_a_tensor_that_is_gone_and_forgets_it_when_reset():
    memory.reset_peak()
    before = memory.peak_bytes()
    torch.ones(64 * MEBIBYTE, dtype=torch.uint8)
    assert memory.peak_bytes() - before > 60 * MEBIBYTE
    memory.reset_peak()
    assert memory.peak_bytes() - before < 30 * MEBIBYTE


@needs_peak
def test_resident_memory_is_at_most_the_peak():
    assert 0 < memory.resident_bytes() <= memory.peak_bytes()


def test_a_system_without_the_listing_says_that_it_does_not_know(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "none" / "below")
    assert memory.resident_bytes() is None
    assert memory.peak_bytes() is None
    assert memory.reset_peak() is False


def test_a_system_without_glibc_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    assert memory.keep_freed_memory() is False
    memory.give_back_freed_memory()


# In a process of its own: the setting cannot be taken back.
PROGRAM = """
import ctypes, sys
from adaptive_attention_tiling.backends import memory
kept = sys.argv[1] == "keep" and memory.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(2**24) for _ in range(8)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 2**24)
full = memory.resident_bytes()
for block in blocks:
    libc.free(block)
after = memory.resident_bytes()
memory.give_back_freed_memory()
print(full - after, full - memory.resident_bytes())
"""


@needs_peak
@pytest.mark.skipif(not memory._glibc(), reason="needs glibc")
@pytest.mark.parametrize("mode", ["keep", "default"])
def test_freed_memory_is_kept_until_it_is_given_back(mode):
    command = [sys.executable, "-c", PROGRAM, mode]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at_once, in_the_end = (int(size) // MEBIBYTE for size in output.split())
    assert (at_once < 10) == (mode == "keep")
    assert in_the_end > 110
