"""An inspection as one HTML page that needs nothing else and asks for nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ...errors import ArgumentError
from ..palette import switched_palette
from .document import check_document, unknown_to_json

# Joined they are one script, which the last part sets going.
_SCRIPTS = (
    "document.js", "elements.js", "numbers.js", "maps.js", "places.js", "charts.js",
    "findings.js", "overview.js", "grid.js", "spread.js", "map_page.js", "reading.js",
    "head_charts.js", "splat_chart.js", "trials_chart.js", "head_page.js", "keyboard.js",
    "start.js",
)  # fmt: skip
_ABOVE = __package__.rpartition(".")[0]


def render_inspection(document: Mapping[str, Any]) -> str:
    """The page of a model's attention as one string, to be written as UTF-8.

    It holds its own style, program and data. Its policy names the only style and the only program
    that may take effect, by their hashes, and forbids every request.

    Args:
        document: plain dicts, lists, text and numbers, as `check_document` wants them.

    Raises:
        ArgumentError: the document lacks a part, or a part does not fit the others.
    """
    check_document(document)
    style = switched_palette() + "\n" + _file("page.css", _ABOVE) + _file("page.css")
    parts = "\n".join(_file(name) for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{parts}}})();'
    return Template(_file("page.html")).substitute(
        title=escape(f"Attention of {document['model']}"),
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        document=_embedded(document),
    )


def _embedded(document: Mapping[str, Any]) -> str:
    """JSON in ASCII that holds nothing which could end a script element or begin another."""
    try:
        told = json.dumps(dict(document), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        path, value = next(unknown_to_json(document))
        expected = "text, a finite number, a list, a dict or None"
        raise ArgumentError(path, value, expected, "write None for no number") from error
    return told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _file(name: str, room: str = __package__) -> str:
    return (files(room) / name).read_text(encoding="utf-8")
