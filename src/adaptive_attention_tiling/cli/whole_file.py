"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import ArgumentError


def check_writable(path: Path, option: str) -> None:
    """Raise an ArgumentError if `path` could not be written now; leaves no trace."""
    if path.is_dir():
        raise ArgumentError(option, path, "a file", "name a file in that folder")
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists():
            with open(path, "r+b"):
                pass
    except OSError as error:
        raise ArgumentError(
            option,
            f"{path} ({error.strerror})",
            "a file that can be written",
            "name a file in an existing folder that you may write to",
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write `text` beside `path` and move it there; interrupted, it leaves `path` as it was."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    partial = Path(name)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp lets only the owner read; a report is as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
