"""The structures of the kernels' calls, read from the headers that a library was compiled with."""

from __future__ import annotations

import ctypes
import re

_STRUCT = re.compile(r"struct aat_(\w+) \{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"(struct aat_view|int64_t|double) (\w+)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

AXES = 4


class View(ctypes.Structure):
    """A tensor of up to four axes: where it begins and the stride of each axis, in elements."""

    _fields_ = (("data", ctypes.c_void_p), ("stride", ctypes.c_int64 * AXES))


_TYPES = {"struct aat_view": View, "int64_t": ctypes.c_int64, "double": ctypes.c_double}


def read_structures(headers: str) -> dict[str, type[ctypes.Structure]]:
    """Name of each call and the structure that it takes, from the text of all headers.

    Raises:
        ValueError: a field has a type that is not laid out here.
    """
    found: dict[str, type[ctypes.Structure]] = {}
    for name, body in _STRUCT.findall(_COMMENT.sub("", headers)):
        if name != "view":
            # Without a dictionary, an instance refuses names that are no field of it.
            members = {"__slots__": (), "_fields_": _fields(name, body)}
            found[name] = type(name, (ctypes.Structure,), members)
    return found


def _fields(structure: str, body: str) -> list[tuple[str, type]]:
    fields: list[tuple[str, type]] = []
    for statement in body.split(";"):
        text = " ".join(statement.split())
        if not text:
            continue
        parts = _FIELD.fullmatch(text)
        if parts is None:
            raise ValueError(f"aat_{structure}: '{text}' is no field that can be laid out")
        fields.append((parts[2], _TYPES[parts[1]]))
    return fields
