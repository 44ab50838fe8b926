"""Times of several runs, taken in turn, so that a machine's moods fall on all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

Run = Callable[[], object]


def interleaved(
    runs: Sequence[Run], rounds: int, *, repeats: int | Sequence[int] = 1, warm: bool = True
) -> list[list[tuple[float, float]]]:
    """(CPU, wall) seconds of each run in each round; which runs first changes by round.

    CPU time is that of all threads of the process. A run is called `repeats` times in a round
    (one number for all, or one for each), and its mean is told.
    """
    if isinstance(repeats, int):
        repeats = [repeats] * len(runs)
    if warm:
        for run in runs:
            run()
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for turn in range(rounds):
        gc.collect()
        for place in range(len(runs)):
            number = (place + turn) % len(runs)
            times[number].append(seconds(runs[number], repeats[number]))
    return times


def seconds(run: Run, repeats: int = 1) -> tuple[float, float]:
    """Mean (CPU, wall) seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats
