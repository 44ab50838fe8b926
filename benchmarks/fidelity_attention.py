"""From which length on sums over features beat all pairs, and which chunk length is best.

Causal, batch 1, 8 heads, values of width 64, float32, one thread. Process CPU time, forms in
turn, medians over rounds of the ratio of two forms in the same round.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.ops.fidelity_attention import (
    FidelityKernel,
    fidelity_attention,
    interface,
)

HEADS, E = 8, 64
DIMENSIONS = (12, 16, 24, 32, 48, 64)
CHUNKS = (64, 128, 256, 512)
# Lengths are doubled until sums over features win, up to this one.
LONGEST = 4096


def main(*, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    dimensions = (12, 32) if quick else DIMENSIONS
    check(dimensions)
    rounds = 2 if quick else 5
    results: dict[str, Any] = {"chunks": [], "crossover": []}
    for m in dimensions:
        for backward in (False, True):
            row = best_chunk(m, rounds, backward=backward)
            _tell(row)
            results["chunks"].append(row)
    for m in dimensions:
        for backward in (False, True):
            row = crossover(m, rounds, backward=backward)
            _tell(row)
            results["crossover"].append(row)
    return results


def check(dimensions: tuple[int, ...]) -> None:
    """No time is told of a form that is wrong."""
    for m in dimensions:
        tensors = [t.double().detach()[:, :2] for t in _tensors(m, 300)]
        pairs, chunked = (
            fidelity_attention(*tensors, is_causal=True, implementation=form)
            for form in ("parallel", "chunked")
        )
        short = [t[:, :, :16] for t in tensors]
        reference = fidelity_attention(*short, is_causal=True, implementation="reference")
        errors = (pairs - chunked).abs().max(), (pairs[:, :, :16] - reference).abs().max()
        if not max(errors) < 1e-10:
            raise SystemExit(f"m = {m}: forms differ by {float(max(errors)):.1e}")
        _tell(f"m = {m}: forms agree to {float(max(errors)):.1e}")


def best_chunk(m: int, rounds: int, *, backward: bool) -> dict[str, Any]:
    tensors = _tensors(m, 2048)
    given = interface.chunk_tokens
    times: dict[int, list[float]] = {length: [] for length in CHUNKS}
    for _ in range(rounds):
        for length in CHUNKS:
            interface.chunk_tokens = lambda _, length=length: length  # type: ignore[assignment]
            times[length].append(_seconds(_run(tensors, "chunked", backward=backward)))
    interface.chunk_tokens = given
    relative = {
        length: round(median(a / b for a, b in zip(own, times[CHUNKS[1]], strict=True)), 3)
        for length, own in times.items()
    }
    return {"m": m, "tokens": 2048, "backward": backward, f"time / chunk {CHUNKS[1]}": relative}


def crossover(m: int, rounds: int, *, backward: bool) -> dict[str, Any]:
    features = FidelityKernel(m, False, 1e-4).features
    ratios: dict[int, float] = {}
    cpu_ms = {}
    tokens = 256 if m < 24 else 512 if m < 48 else 1024
    while tokens <= LONGEST and (len(ratios) < 2 or ratios[tokens // 2] < 1):
        tensors = _tensors(m, tokens)
        pairs, chunked = (
            _run(tensors, form, backward=backward) for form in ("parallel", "chunked")
        )
        # Repeated, because short calls are near the resolution of the clock.
        times = max(1, 1024 // tokens)
        both = [(_seconds(pairs, times), _seconds(chunked, times)) for _ in range(rounds)]
        ratios[tokens] = median(a / b for a, b in both)
        cpu_ms[tokens] = [round(1e3 * median(part), 1) for part in zip(*both, strict=True)]
        tokens *= 2
    return {
        "m": m,
        "features": features,
        "backward": backward,
        "pairs / chunked": {tokens: round(ratio, 3) for tokens, ratio in ratios.items()},
        "cpu_ms": cpu_ms,
        "crossover_tokens": round(_length_at_one(ratios)),
    }


def _length_at_one(ratios: dict[int, float]) -> float:
    """Where the ratio is 1, by a straight line in logarithms: between two lengths, or past them."""
    points = [(math.log(tokens), math.log(ratio)) for tokens, ratio in ratios.items()]
    lines = list(pairwise(points))
    (x, y), (x1, y1) = next((line for line in lines if line[0][1] <= 0 <= line[1][1]), lines[-1])
    return math.exp(x - y * (x1 - x) / (y1 - y))


def _tensors(m: int, tokens: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, HEADS, tokens, width, generator=source).requires_grad_()
        for width in (m, m, E)
    ]


def _run(tensors: list[Tensor], form: str, *, backward: bool) -> Callable[[], None]:
    def forward() -> None:
        with torch.no_grad():
            fidelity_attention(*tensors, is_causal=True, implementation=form)

    def both() -> None:
        out = fidelity_attention(*tensors, is_causal=True, implementation=form)
        torch.autograd.grad(out.sum(), tensors)

    return both if backward else forward


def _tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seconds(run: Callable[[], None], times: int = 1) -> float:
    gc.collect()
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times
