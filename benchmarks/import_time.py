"""How long the package takes to import beyond torch, and its first call beyond the second.

Each in fresh processes, in turn. `TiledCache` is left out: its import is that of transformers. The
first call is splat attention at 256 tokens, which must not compile anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from .measure import Options, tell

_PROGRAM = """
import json, time
import torch
start = time.perf_counter(), time.process_time()
import adaptive_attention_tiling as aat
for name in {names}:
    getattr(aat, name)
imported = time.perf_counter(), time.process_time()
first = second = imported
if {call}:
    field = aat.SplatField.random(heads=2, splats=16, width=16)
    query, key, value = torch.randn(3, 1, 2, 256, 16)
    begun = time.perf_counter(), time.process_time()
    aat.splat_attention(query, key, value, field, is_causal=True)
    first = time.perf_counter(), time.process_time()
    aat.splat_attention(query, key, value, field, is_causal=True)
    second = time.perf_counter(), time.process_time()
else:
    begun = imported
print(json.dumps([
    [b - a for a, b in zip(start, imported)],
    [b - a for a, b in zip(begun, first)],
    [b - a for a, b in zip(first, second)],
]))
"""
WAYS = {
    "the package": ([], False),
    "the package and its other names": (None, False),
    "splat_attention and its first call": (["SplatField", "splat_attention"], True),
}


def run(options: Options) -> dict[str, Any]:
    rounds = 2 if options.quick else 7
    found: dict[str, list[Any]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (names, call) in WAYS.items():
            found[name].append(_measured(names, call=call))
    rows = []
    tell(f"{'':40}{'import cpu ms':>15}{'wall':>8}{'first call':>12}{'second':>9}")
    for name, times in found.items():
        parts = [
            [1e3 * median(t[part][clock] for t in times) for clock in (1, 0)] for part in (0, 1, 2)
        ]
        (cpu, wall), (first, _), (second, _) = ([round(x, 2) for x in part] for part in parts)
        row = {"what": name, "cpu_ms": cpu, "wall_ms": wall}
        if WAYS[name][1]:
            row |= {"first_call_cpu_ms": first, "second_call_cpu_ms": second}
        rows.append(row)
        tell(f"{name:40}{cpu:>15}{wall:>8}{first:>12}{second:>9}")
    return {"rows": rows}


def _measured(names: list[str] | None, *, call: bool) -> Any:
    listed = "[n for n in aat.__all__ if n != 'TiledCache']" if names is None else repr(names)
    program = _PROGRAM.format(names=listed, call=call)
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(told.stdout)
