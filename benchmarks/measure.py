"""Let the contenders of a case pass the gate, time them in turn, and tell what came out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from .contender import Absent, Case, Contender, admitted
from .timing import interleaved, seconds

# A round of a contender lasts at least so long, by repeated calls.
LEAST_SECONDS = 0.02
MOST_CALLS = 200
# Passing the gate took so long: it is called once in a round, and not before.
LONG_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """quick: small inputs and few rounds; threads: of torch, the kernels and the peers."""

    quick: bool = False
    threads: int = 1


Times = list[tuple[float, float]]


def run_cases(cases: Iterable[Case]) -> dict[str, Any]:
    """The rows of all cases, told as they come."""
    rows = []
    for case in cases:
        found = measured(case)
        tell_rows(found)
        rows += found
    return {"rows": rows}


def measured(case: Case) -> list[dict[str, Any]]:
    """A row for each contender; raises CorrectnessError before any time is taken."""
    errors, spent = [], {}
    for contender in case.contenders:
        start = time.perf_counter()
        errors.append(contender if isinstance(contender, Absent) else admitted(contender))
        spent[contender.name] = time.perf_counter() - start
    ready = [
        c
        for c, error in zip(case.contenders, errors, strict=True)
        if isinstance(c, Contender) and not isinstance(error, Absent)
    ]
    runs = [contender.pinned() for contender in ready]
    repeats = [
        1 if spent[c.name] > LONG_SECONDS else calls(run)
        for c, run in zip(ready, runs, strict=True)
    ]
    times = interleaved(runs, case.rounds, repeats=repeats, warm=False)
    by_name = {c.name: own for c, own in zip(ready, times, strict=True)}
    rows = []
    for contender, error in zip(case.contenders, errors, strict=True):
        row = {"case": case.name, "inputs": dict(case.inputs), "contender": contender.name}
        if isinstance(error, Absent):
            rows.append(row | {"absent": error.reason})
        else:
            assert isinstance(contender, Contender)
            row |= {"rule": contender.rule, "native": contender.instruction_set}
            row["error"] = float(f"{error:.2e}")
            rows.append(row | _told(by_name[contender.name], by_name.get(case.baseline), case))
    return rows


def _told(own: Times, baseline: Times | None, case: Case) -> dict[str, Any]:
    told: dict[str, Any] = {
        "cpu_ms": _summary(cpu for cpu, _ in own),
        "wall_ms": _summary(wall for _, wall in own),
        "rounds_cpu_ms": [_short(1e3 * cpu) for cpu, _ in own],
    }
    if baseline is not None:
        pairs = zip(baseline, own, strict=True)
        over = median(a[0] / b[0] if b[0] else math.inf for a, b in pairs)
        told |= {"baseline": case.baseline, "baseline / it": _short(over)}
    return told


def calls(run: Any) -> int:
    """How often a short run is called in a round."""
    spent = max(*seconds(run), 1e-9)
    return max(1, min(MOST_CALLS, math.ceil(LEAST_SECONDS / spent)))


def tell_rows(rows: list[dict[str, Any]]) -> None:
    """One line a contender, under a line for the case."""
    first = rows[0]
    inputs = ", ".join(f"{name}={value}" for name, value in first["inputs"].items())
    tell(f"\n{first['case']}  ({inputs})")
    baseline = next((row["baseline"] for row in rows if "baseline" in row), "")
    over = f"{baseline} / it" if baseline else ""
    tell(f"{'':46}{'cpu ms':>9}{'least':>9}{'wall ms':>9}{'error':>8}  {over}")
    for row in rows:
        if "absent" in row:
            tell(f"  {row['contender']:44}  {row['absent']}")
            continue
        rule = f"  [{row['rule']}]" if row["rule"] else ""
        tell(
            f"  {row['contender']:44}{row['cpu_ms']['median']:>9.5g}{row['cpu_ms']['least']:>9.5g}"
            f"{row['wall_ms']['median']:>9.5g}{row['error']:>8.0e}"
            f"  {row.get('baseline / it', '')!s:8}{rule}"
        )


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _summary(values: Iterable[float]) -> dict[str, float]:
    ms = [1e3 * value for value in values]
    return {"median": _short(median(ms)), "least": _short(min(ms))}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
