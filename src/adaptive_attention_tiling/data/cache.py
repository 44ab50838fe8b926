"""The user's cache folder, and how a folder is put into it whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from ..optional import require

# Called with the fraction done (0 to 1) and what is being done.
Progress = Callable[[float, str], None]


def cache_root() -> Path:
    """AAT_CACHE if set, otherwise the place the operating system has for caches."""
    if override := os.environ.get("AAT_CACHE"):
        return Path(override)
    home = Path.home()
    if sys.platform == "darwin":
        parent = home / "Library" / "Caches"
    elif sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return parent / "adaptive-attention-tiling"


def folder_bytes(folder: Path) -> int:
    """Total size of the files below `folder`; 0 if there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def cached_folder(
    name: str,
    build: Callable[[Path], None],
    *,
    root: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder `name` in the cache, filled by `build(empty_folder)` if it is not there.

    `build` works beside the final place and its result is renamed into it, so an interrupted one
    leaves nothing behind that a later call could mistake for a finished folder. Of two processes
    one builds and the other waits.
    """
    root = cache_root() if root is None else root
    folder = root / name
    if folder.is_dir():
        return folder
    filelock = require("filelock", "hf", "the model cache")
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / f"{name}.lock")
        if progress is not None:
            progress(0.0, "waiting for the model cache")
        with lock:
            if not folder.is_dir():
                _build_and_rename(build, root / f"{name}.partial", folder)
    except OSError as error:
        raise DataError(
            f"{root}: the cache cannot be written ({error.strerror}). "
            "Fix: set AAT_CACHE to a folder with room that you may write to."
        ) from error
    return folder


def _build_and_rename(build: Callable[[Path], None], partial: Path, folder: Path) -> None:
    # The lock is held: whatever lies here was left by a process that was killed.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
