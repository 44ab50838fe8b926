"""Runs one benchmark by name, lists them, or writes the report on all of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    options = _options()
    # Before torch is imported.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    from .registry import REGISTRY

    if options.name == "list":
        for name, benchmark in REGISTRY.items():
            quick, whole = benchmark.minutes
            sys.stdout.write(f"{name:20} {quick:>4g} / {whole:<4g} min  {benchmark.about}\n")
    elif options.name == "report":
        _report(options)
    elif options.name in REGISTRY:
        _run(options)
    else:
        known = ", ".join(REGISTRY)
        sys.exit(f"no benchmark is called {options.name!r}; there are {known}, list and report")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", help='a benchmark, "list" or "report"')
    parser.add_argument("--json", metavar="PATH", help="write results there; - for stdout")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="1 unless given")
    folder = parser.add_argument_group("report")
    folder.add_argument("--results", metavar="FOLDER", help="JSON to read, and to write what lacks")
    folder.add_argument("--read-only", action="store_true", help="run nothing, tell what there is")
    folder.add_argument("--out", metavar="FOLDER", default="benchmarks/results")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    out = sys.stdout
    if options.json == "-":  # what is printed on the way must not mix with the results
        sys.stdout = sys.stderr
    text = json.dumps(measure(options.name, quick=options.quick, threads=options.threads), indent=1)
    if options.json == "-":
        out.write(text + "\n")
    elif options.json:
        Path(options.json).write_text(text + "\n")


def _report(options: argparse.Namespace) -> None:
    from . import report
    from .machine import label

    name = label() + ("-quick" if options.quick else "")
    folder = Path(options.results or f"build/benchmarks/{name}")
    failed: list[str] = []
    if not options.read_only:
        failed = report.collect(folder, quick=options.quick, threads=options.threads)
    documents = report.read(folder)
    if not documents:
        sys.exit(f"{folder}: holds no results")
    path = Path(options.out) / f"{name}.md"
    report.write(documents, path)
    sys.stdout.write(f"{path}\n")
    if failed:
        sys.exit(f"failed, and left out: {', '.join(failed)}")


def measure(name: str, *, quick: bool, threads: int) -> dict[str, Any]:
    import torch

    from adaptive_attention_tiling.backends import memory

    from . import registry
    from .machine import circumstances
    from .measure import Options

    torch.set_num_threads(threads)
    memory.keep_freed_memory()
    words = ["python -m benchmarks", name, *(["--quick"] if quick else [])]
    command = " ".join(words + ([f"--threads {threads}"] if threads > 1 else []))
    made = circumstances(command, threads)
    results = registry.run(name, Options(quick=quick, threads=threads))
    return {"benchmark": name, "quick": quick, **made, "results": results}


if __name__ == "__main__":
    main()
