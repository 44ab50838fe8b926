"""The report on all benchmarks: every goal beside what was measured, a plot, and all tables.

Each benchmark runs in a process of its own and leaves its results as JSON; those that lie there
already are read and not measured again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .goals import TABLES, Goal, Results
from .measure import tell
from .plot import time_plot
from .registry import REGISTRY

ROOT = Path(__file__).parents[1]
Documents = Mapping[str, Mapping[str, Any]]


def collect(folder: Path, *, quick: bool, threads: int) -> list[str]:
    """Run what has no results in the folder yet; returns the names of what failed."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in REGISTRY:
        path = folder / f"{name}.json"
        if path.exists():
            continue
        tell(f"\n=== {name}")
        unfinished = path.with_suffix(".unfinished")
        words = [name, "--json", str(unfinished.resolve()), "--threads", str(threads)]
        words += ["--quick"] if quick else []
        if subprocess.run([sys.executable, "-m", __package__, *words], cwd=ROOT).returncode:
            failed.append(name)
        else:
            unfinished.rename(path)
    return failed


def read(folder: Path) -> dict[str, Any]:
    """What each benchmark left in the folder, by name."""
    return {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in REGISTRY
        if (folder / f"{name}.json").exists()
    }


def write(documents: Documents, path: Path) -> None:
    """The report, and its plot beside it."""
    panels = panels_of(documents)
    if panels:
        path.with_suffix(".svg").write_text(time_plot(panels))
    path.write_text("\n".join(lines(documents, path.with_suffix(".svg").name if panels else "")))


def lines(documents: Documents, plot: str) -> Iterator[str]:
    first = next(iter(documents.values()))
    yield f"# Measured on {first['date']}: {first['machine']}\n"
    yield (
        "Processor time of the process, medians over rounds in which the contenders take turns; "
        "ratios are of times in one run. Every contender was compared with its reference before "
        "it was timed; `python -m benchmarks list` tells what there is.\n"
    )
    quick = any(document["quick"] for document in documents.values())
    if quick:
        yield "A quick run: small sizes and few rounds, so nothing is said of goals.\n"
    yield from circumstances(documents)
    results = {name: document["results"] for name, document in documents.items()}
    for title, goals in TABLES.items():
        yield f"\n## {title}\n"
        yield from goal_table(goals, results, verdicts=not quick)
    if plot:
        yield f"\n## Time against length\n\n![processor time against length]({plot})"
    for name, document in documents.items():
        yield f"\n## {name}\n\n`{document['command']}`: {REGISTRY[name].about}"
        yield from tables(document["results"])
    yield ""


def circumstances(documents: Documents) -> Iterator[str]:
    first = next(iter(documents.values()))
    versions = ", ".join(f"{n} {v or 'not installed'}" for n, v in first["versions"].items())
    threads, choice = _all(documents, "threads"), first["native"]["choice"]
    yield f"- {first['cores']} cores; threads: {threads}; native kernels: {choice}"
    yield f"- Python {first['python']}, {versions}"
    yield f"- commit: {_all(documents, 'commit') or 'not a checkout'}"
    loads = [d["load_average"][0] for d in documents.values() if d["load_average"]]
    if loads:
        yield f"- load of the machine as benchmarks began: {min(loads)} to {max(loads)}"


def _all(documents: Documents, field: str) -> str:
    return ", ".join(dict.fromkeys(str(document[field]) for document in documents.values()))


def goal_table(goals: Sequence[Goal], results: Results, *, verdicts: bool) -> Iterator[str]:
    yield "| what | goal | measured | met | command |"
    yield "|---|---|---|---|---|"
    for goal in goals:
        found = goal.finding(results)
        met = {True: "yes", False: "no", None: ""}[found.met] if verdicts else ""
        command = f"`python -m benchmarks {goal.benchmark}`" if goal.benchmark else ""
        yield f"| {goal.what} | {goal.goal} | {found.text} | {met} | {command} |"


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """One table for each case; results of another form as they are."""
    rows = results.get("rows", ())
    by_case: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if "case" in row:
            by_case.setdefault(row["case"], []).append(row)
    for case, own in by_case.items():
        yield from case_table(case, own)
    if rows and not by_case:
        yield from plain_table(rows)
    rest = {name: value for name, value in results.items() if name != "rows"}
    if rest:
        yield f"\n```json\n{json.dumps(rest, indent=1)}\n```"


def case_table(case: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    inputs = ", ".join(f"{name}={value}" for name, value in rows[0]["inputs"].items())
    baseline = next((row["baseline"] for row in rows if "baseline" in row), "")
    yield f"\n**{case}** ({inputs})\n"
    over = f"{baseline} / it" if baseline else "ratio"
    yield f"| contender | cpu ms, median | least | wall ms | error | {over} |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        if "absent" in row:
            yield f"| {row['contender']} | {row['absent']} | | | | |"
            continue
        name = row["contender"] + (f" [{row['rule']}]" if row["rule"] else "")
        ratio = row.get("baseline / it")
        figures = (row["cpu_ms"]["median"], row["cpu_ms"]["least"], row["wall_ms"]["median"])
        cells = [name, *(f"{ms:.4g}" for ms in figures), f"{row['error']:.0e}"]
        cells.append("" if ratio is None else f"{ratio:.4g}")
        yield f"| {' | '.join(cells)} |"


def plain_table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    heads = list(dict.fromkeys(key for row in rows for key in row))
    yield "\n| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(row.get(head, "")) for head in heads) + " |"


def panels_of(documents: Documents) -> dict[str, dict[str, dict[int, float]]]:
    """Time by length of every contender of splat attention, for each pass."""
    panels: dict[str, dict[str, dict[int, float]]] = {}
    rows = documents.get("gaussian_splat", {}).get("results", {}).get("rows", ())
    for row in rows:
        tokens, _, pass_ = row["case"].partition(" tokens, ")
        if tokens.isdigit() and "absent" not in row:
            line = panels.setdefault(pass_, {}).setdefault(row["contender"], {})
            line[int(tokens)] = row["cpu_ms"]["median"]
    return panels
