"""What a result was made by: told beside it, so that it can be made again."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from pathlib import Path

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
