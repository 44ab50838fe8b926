"""The structures of the kernels' calls, read from the headers that they were compiled with."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

_STRUCT = re.compile(r"struct aat_(\w+) \{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"^(struct aat_view|int64_t|double) (\w+)$")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

_AXES = 4


class View(ctypes.Structure):
    """A tensor of up to four axes: where it begins and the stride of each axis, in elements."""

    _fields_ = (("data", ctypes.c_void_p), ("stride", ctypes.c_int64 * _AXES))


_TYPES = {"struct aat_view": View, "int64_t": ctypes.c_int64, "double": ctypes.c_double}


def read_structures(folder: Path) -> dict[str, type[ctypes.Structure]]:
    """Name of each call and the structure that it takes, from all headers of a folder."""
    found: dict[str, type[ctypes.Structure]] = {}
    for header in sorted(folder.glob("*.h")):
        text = _COMMENT.sub("", header.read_text())
        for name, body in _STRUCT.findall(text):
            if name != "view":
                found[name] = type(name, (ctypes.Structure,), {"_fields_": _fields(body, header)})
    return found


def _fields(body: str, header: Path) -> list[tuple[str, type]]:
    fields: list[tuple[str, type]] = []
    for statement in body.split(";"):
        text = " ".join(statement.split())
        if not text:
            continue
        parts = _FIELD.match(text)
        if parts is None:
            raise ValueError(f"{header.name}: '{text}' is no field that can be laid out")
        fields.append((parts[2], _TYPES[parts[1]]))
    return fields
