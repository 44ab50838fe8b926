"""Runs one benchmark by name: a module here with `main(quick) -> results as plain data`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
from pathlib import Path

# Before torch is imported by a benchmark: CPU time of one thread is what is compared.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    names = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("name", choices=[name for name in names if not name.startswith("_")])
    parser.add_argument("--json", metavar="PATH", help="write results there; - for stdout")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    options = parser.parse_args()
    if options.json == "-":  # what is printed on the way must not mix with the results
        out, sys.stdout = sys.stdout, sys.stderr
    circumstances = _circumstances()
    results = importlib.import_module(f"benchmarks.{options.name}").main(quick=options.quick)
    text = json.dumps({"benchmark": options.name, **circumstances, "results": results}, indent=1)
    if options.json == "-":
        out.write(text + "\n")
    elif options.json:
        Path(options.json).write_text(text + "\n")


def _circumstances() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {_processor()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")


if __name__ == "__main__":
    main()
