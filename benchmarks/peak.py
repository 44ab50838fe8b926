"""Memory that a call takes above what is there before it, results included."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from adaptive_attention_tiling.backends import memory

MEBIBYTE = 2**20


def lifted_bytes(run: Callable[[], object]) -> int | None:
    """How far a call lifts this process's memory at its peak; None where that is not known.

    Freed memory goes back to the system first, so that it cannot hide in the peak.
    """
    gc.collect()
    memory.give_back_freed_memory()
    known, before = memory.reset_peak(), memory.resident_bytes()
    kept = run()
    peak = memory.peak_bytes()
    del kept
    return peak - before if known and peak is not None and before is not None else None


def in_a_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()
