"""What a measurement was made on and with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from adaptive_attention_tiling.backends import native


def circumstances(command: str, threads: int) -> dict[str, Any]:
    """The machine, its load as the measurement begins, and versions."""
    return {
        "command": command,
        "date": date.today().isoformat(),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {processor()}",
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average": _load(),
        "native": {"runnable": list(native.runnable_sets()), "choice": _choice()},
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("torch", "transformers", "onnxruntime")},
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")


def label() -> str:
    """Date and processor, for the name of a file."""
    words = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
    return f"{date.today().isoformat()}-{words or platform.machine()}"


def _choice() -> str:
    chosen = native.choice()
    if chosen.library is None:
        return f"none: {chosen.reason}"
    return f"{chosen.library.instruction_set}: {chosen.reason}"


def _commit() -> str:
    """Of this checkout; empty where there is none, or no git."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return told.stdout.strip()


def _load() -> list[float] | None:
    try:
        return [round(x, 2) for x in os.getloadavg()]
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
