"""Compile the kernels: one shared library for each instruction set.

    python csrc/build.py                 into the package, where `backends.native` finds them
    python csrc/build.py --sanitize      with checks of addresses and undefined behaviour

Only the standard library is used, because the build hook of the package runs this file before
anything is installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
PACKAGE_LIBRARIES = SOURCES.parent / "src/adaptive_attention_tiling/backends/native/libraries"

# -ffp-contract=fast makes fused multiply-adds of a * b + c; nothing else is reordered.
COMMON = (
    "-std=c++17",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-exceptions",
    "-fno-rtti",
    "-Wall",
    "-Wextra",
    "-Werror=return-type",
    # Vectors are passed between functions of one library only.
    "-Wno-psabi",
)
X86 = {
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mavx2"),
    "avx2": ("-mavx2", "-mfma", "-mf16c"),
    "baseline": (),
}
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1")


class BuildError(RuntimeError):
    """There is no compiler, or it refused; the message says which."""


def instruction_sets() -> dict[str, tuple[str, ...]]:
    """Name and compiler options of each library for this kind of machine, fastest first."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return X86
    return {"baseline": ()}


def compiler() -> str | None:
    """The C++ compiler: $CXX, else the first of g++, clang++ and c++; None without one."""
    named = os.environ.get("CXX")
    if named:
        return shutil.which(named)
    return next(
        (found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None
    )


def build(
    into: Path = PACKAGE_LIBRARIES, *, sets: tuple[str, ...] | None = None, sanitize: bool = False
) -> list[Path]:
    """Compile the libraries into a folder, with the headers that describe their calls."""
    command = compiler()
    if command is None:
        raise BuildError(
            "no C++ compiler was found: looked for $CXX, g++, clang++ and c++. Fix: install one "
            "(Debian: apt install g++; macOS: xcode-select --install), or do without native code"
        )
    chosen = instruction_sets()
    if sets is not None:
        chosen = {name: chosen[name] for name in sets}
    shutil.rmtree(into, ignore_errors=True)
    (into / "interface").mkdir(parents=True)
    for header in sorted((SOURCES / "interface").glob("*.h")):
        shutil.copy(header, into / "interface" / header.name)
    objects = into / "objects"
    objects.mkdir()
    jobs = [
        (source, objects / f"{source.stem}.{name}.o", options)
        for name, options in chosen.items()
        for source in sorted(SOURCES.glob("*.cpp"))
    ]
    extra = SANITIZE if sanitize else ()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = pool.map(
            lambda job: _run(
                command, *COMMON, *job[2], *extra, "-c", str(job[0]), "-o", str(job[1])
            ),
            jobs,
        )
        list(compiled)
    libraries = [_link(command, into, name, objects, extra) for name in chosen]
    shutil.rmtree(objects)
    return libraries


def _link(command: str, into: Path, name: str, objects: Path, extra: tuple[str, ...]) -> Path:
    library = into / f"libaat_{name}.so"
    parts = sorted(str(path) for path in objects.glob(f"*.{name}.o"))
    static = () if sys.platform == "darwin" or extra else ("-static-libstdc++", "-static-libgcc")
    _run(command, "-shared", *parts, "-o", str(library), "-pthread", *static, *extra)
    return library


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        shown = " ".join(command)
        raise BuildError(f"{shown}\nfailed with status {result.returncode}:\n{result.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the kernels.")
    parser.add_argument("--sanitize", action="store_true", help="check addresses and behaviour")
    parser.add_argument("--sets", nargs="+", choices=tuple(instruction_sets()))
    parser.add_argument("--into", type=Path, default=PACKAGE_LIBRARIES)
    given = parser.parse_args()
    try:
        libraries = build(
            given.into, sets=given.sets and tuple(given.sets), sanitize=given.sanitize
        )
    except BuildError as error:
        sys.exit(f"error: {error}")
    for library in libraries:
        print(library)  # noqa: T201


if __name__ == "__main__":
    main()
