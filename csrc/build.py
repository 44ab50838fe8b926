"""Compile the kernels: one shared library for each instruction set.

    python csrc/build.py                     into the package, where `backends.native` finds them
    python csrc/build.py --optional          the same; without a compiler, say so and succeed
    python csrc/build.py --sanitize address  into build/sanitize/address, with run-time checks

Objects are kept in build/objects under the hash of what they are made from, so that only what has
changed is compiled again. Libraries are put in place by renaming them: a running program keeps the
old file, and none ever sees half of a new one. Only the standard library is used, because the
build hook of the package runs this file before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
BUILD = SOURCES.parent / "build"
PACKAGE_LIBRARIES = SOURCES.parent / "src/adaptive_attention_tiling/backends/native/libraries"
REASON = "reason.txt"
SWITCH = "AAT_BUILD_NATIVE"

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
SANITIZERS = {
    "address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"),
    # GCC does not watch loads and stores of vectors; calls of memcpy are seen.
    "thread": ("-fsanitize=thread", "-fno-builtin-memcpy", "-g", "-O1"),
}


class BuildError(RuntimeError):
    """No libraries could be made: the message says all, `reason` the same in one line."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(f"{reason}\n{details}" if details else reason)
        self.reason = reason


class NoCompilerError(BuildError):
    """Nothing was tried: there is nothing to compile with, or none was wanted."""


def instruction_sets() -> dict[str, tuple[str, ...]]:
    """Name and compiler options of each library for this kind of machine, fastest first."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return X86
    return {"baseline": ()}


def compiler() -> tuple[str, ...]:
    """The C++ compiler: $CXX with its options, else the first of g++, clang++ and c++.

    Raises:
        NoCompilerError: there is none.
    """
    if sys.platform == "win32":
        raise NoCompilerError("the kernels need GCC or Clang and POSIX threads; this is Windows")
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        if shutil.which(named[0]) is None:
            raise NoCompilerError(f"no C++ compiler: CXX names {named[0]!r}, which is not there")
        return tuple(named)
    for name in ("g++", "clang++", "c++"):
        if found := shutil.which(name):
            return (found,)
    raise NoCompilerError(
        "no C++ compiler: looked for $CXX, g++, clang++ and c++ "
        "(Debian: apt install g++; macOS: xcode-select --install)"
    )


def build(
    into: Path = PACKAGE_LIBRARIES, *, sets: tuple[str, ...] | None = None, sanitize: str = ""
) -> list[Path]:
    """Compile the libraries into a folder; what it held stays if that fails.

    Raises:
        BuildError: there is no compiler, or it refused.
    """
    command = compiler()
    chosen = {name: instruction_sets()[name] for name in sets or instruction_sets()}
    extra = SANITIZERS[sanitize] if sanitize else ()
    objects = BUILD / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    sources = [*sorted(SOURCES.glob("*.cpp")), _interface(objects)]
    jobs = [
        ((*command, *COMMON, *options, *extra), source, objects)
        for source in sources
        for options in chosen.values()
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(lambda job: _compile(*job), jobs))
    into.mkdir(parents=True, exist_ok=True)
    libraries = [into / f"libaat_{name}.so" for name in chosen]
    for place, library in enumerate(libraries):
        _link(command, library, parts[place :: len(chosen)], extra)
    (into / REASON).unlink(missing_ok=True)
    return libraries


def build_or_tell(into: Path = PACKAGE_LIBRARIES) -> BuildError | None:
    """Compile if that can be done; if not, leave only the reason in the folder, and return it.

    AAT_BUILD_NATIVE=0 in the environment leaves the kernels out.
    """
    try:
        if os.environ.get(SWITCH) == "0":
            raise NoCompilerError(f"left out by {SWITCH}=0")
        build(into)
    except BuildError as error:
        into.mkdir(parents=True, exist_ok=True)
        for library in into.glob("libaat_*.so"):
            library.unlink()
        (into / REASON).write_text(f"{error.reason}\n")
        return error
    return None


def _interface(objects: Path) -> Path:
    """A source that holds the headers of the calls as text.

    Each library describes its own calls this way, so that the two cannot come apart.
    """
    headers = sorted((SOURCES / "interface").glob("*.h"))
    text = "".join(header.read_text() for header in headers)
    source = (
        'extern "C" __attribute__((visibility("default"))) const char *aat_interface(void) {\n'
        f'  return R"interface({text})interface";\n'
        "}\n"
    )
    path = objects / f"interface_{_hash(source)}.cpp"
    if not path.exists():
        _put(path, lambda temporary: temporary.write_text(source))
    return path


def _compile(command: tuple[str, ...], source: Path, objects: Path) -> Path:
    made_from = _hash(shlex.join(command), *(path.read_text() for path in _with_headers(source)))
    made = objects / f"{source.stem}_{made_from}.o"
    if not made.exists():
        _put(made, lambda temporary: _run(*command, "-c", str(source), "-o", str(temporary)))
    return made


def _with_headers(source: Path) -> list[Path]:
    """A source and the headers of ours that it includes, directly or not."""
    found = [source]
    for path in found:
        for name in re.findall(r'^#include "(.+)"', path.read_text(), re.MULTILINE):
            header = (path.parent / name).resolve()
            if header.is_file() and header not in found:
                found.append(header)
    return found


def _link(
    command: tuple[str, ...], library: Path, parts: list[Path], extra: tuple[str, ...]
) -> None:
    # Nothing but the C library is asked of the machine that runs it.
    static = () if sys.platform == "darwin" or extra else ("-static-libstdc++", "-static-libgcc")
    options = ("-shared", *map(str, parts), "-pthread", *static, *extra)
    _put(library, lambda temporary: _run(*command, *options, "-o", str(temporary)))


def _put(path: Path, make: Callable[[Path], object]) -> None:
    """Make a file beside its place, under a name of this thread's own, then move it there."""
    temporary = path.with_name(f".{os.getpid()}.{threading.get_ident()}.{path.name}")
    try:
        make(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _run(*command: str) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(f"{command[0]} could not be run: {error}") from error
    if result.returncode:
        first = next((line for line in result.stderr.splitlines() if "error" in line), "no message")
        reason = f"{command[0]} failed with status {result.returncode}: {first}"
        raise BuildError(reason, f"{shlex.join(command)}\n{result.stderr}")
    sys.stderr.write(result.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compile the kernels.")
    parser.add_argument("--optional", action="store_true", help="succeed without a compiler")
    parser.add_argument("--sanitize", choices=tuple(SANITIZERS), default="")
    parser.add_argument("--sets", nargs="+", choices=tuple(instruction_sets()))
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    usual = BUILD / "sanitize" / given.sanitize if given.sanitize else PACKAGE_LIBRARIES
    into = given.into or usual
    if given.optional:
        error = build_or_tell(into)
        if error is not None and not isinstance(error, NoCompilerError):
            sys.exit(f"error: {error}\nFix: mend it, or go without kernels ({SWITCH}=0)")
        print(f"no native kernels: {error}" if error else into)  # noqa: T201
        return
    try:
        libraries = build(into, sets=given.sets and tuple(given.sets), sanitize=given.sanitize)
    except BuildError as error:
        sys.exit(f"error: {error}")
    for library in libraries:
        print(library)  # noqa: T201


if __name__ == "__main__":
    main()
