"""What a result was made by, so that it can be made again, and with how many digits it is kept."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def commit() -> str:
    """The commit that is checked out, or nothing outside of a checkout."""
    head = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip()


def circumstances(program: str, json_path: str | None) -> dict[str, str]:
    """Command, commit, machine and torch of a run of experiments/`program`."""
    # Where the results go says nothing about them.
    words = [word for word in sys.argv[1:] if word not in ("--json", json_path)]
    return {
        "command": shlex.join(["python", f"experiments/{program}", *words]),
        "commit": commit(),
        "machine": f"{platform.processor() or platform.machine()}, one thread",
        "torch": torch.__version__,
    }


def rounded(value: Any) -> Any:
    """With four digits of every number, however deep in dicts and lists it lies."""
    if isinstance(value, dict):
        return {name: rounded(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(x) for x in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
