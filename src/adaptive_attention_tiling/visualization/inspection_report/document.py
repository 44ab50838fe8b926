"""What the page needs of the document that it shows, checked with the name of what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import ArgumentError

SCHEMA = 1
KINDS = ("decoder", "encoder")
_PLAIN = (
    "command", "model", "text", "kind", "tokens", "layers", "heads", "key_value_heads", "machine",
    "versions", "seconds", "processor_seconds", "pieces", "figures", "violations", "patterns",
    "options", "tolerance", "sensitivity_unit", "budgets", "by_head",
)  # fmt: skip
_OF_FIGURE = ("name", "title", "group", "unit", "low", "high", "explanation", "values")
_OF_PATTERN = ("name", "description", "score", "z", "p_value", "matching")
_OF_HEAD = (
    "queries", "keys", "weights", "profile", "stationary", "tiles", "splats", "bottlenecks",
    "period", "trials", "sensitivity", "recommendation",
)  # fmt: skip


def check_document(document: Mapping[str, Any]) -> None:
    """Raise at the first part that the page could not show.

    Maps are `[layers][heads]`, tokens count from 0 to `tokens` - 1, options are told by their
    place in `options`.

    Raises:
        ArgumentError: a part is missing, has another size, or points at nothing.
    """
    if document.get("schema") != SCHEMA:
        raise ArgumentError(
            "schema", document.get("schema"), str(SCHEMA), "write it with this version"
        )
    _check_parts("document", document, _PLAIN)
    for name in ("tokens", "layers", "heads"):
        if not isinstance(document[name], int) or document[name] < 1:
            raise ArgumentError(name, document[name], "a whole number >= 1", "inspect a model")
    if document["kind"] not in KINDS:
        raise ArgumentError("kind", document["kind"], " or ".join(KINDS), "pass one of them")
    _check_length("pieces", document["pieces"], document["tokens"])
    _check_maps(document)
    _check_heads(document)


def _check_maps(document: Mapping[str, Any]) -> None:
    size = document["layers"], document["heads"]
    for name, parts in (("figures", _OF_FIGURE), ("patterns", _OF_PATTERN)):
        for place, one in enumerate(document[name]):
            _check_parts(f"{name}[{place}]", one, parts)
        names = [one["name"] for one in document[name]]
        if len(set(names)) < len(names):
            raise ArgumentError(name, sorted(names), "names that differ", "rename one of them")
    for figure in document["figures"]:
        _check_matrix(f"figures.{figure['name']}", figure["values"], *size)
    for pattern in document["patterns"]:
        for part in ("score", "z", "p_value"):
            _check_matrix(f"patterns.{pattern['name']}.{part}", pattern[part], *size)
        matching = f"patterns.{pattern['name']}.matching"
        for match in pattern["matching"]:
            _check_parts(matching, match, ("layer", "head", "adjusted"))
            _check_places(matching, [match["layer"]], document["layers"], "layers")
            _check_places(matching, [match["head"]], document["heads"], "heads")
    for place, option in enumerate(document["options"]):
        _check_parts(f"options[{place}]", option, ("name", "kind", "parameters"))
    for place, budget in enumerate(document["budgets"]):
        _check_parts(f"budgets[{place}]", budget, ("budget", "cost", "harm", "choice"))
        _check_matrix(f"budgets[{place}].choice", budget["choice"], *size)
        for row in budget["choice"]:
            _check_places(f"budgets[{place}].choice", row, len(document["options"]), "options")


def _check_heads(document: Mapping[str, Any]) -> None:
    _check_matrix("by_head", document["by_head"], document["layers"], document["heads"])
    for layer, heads in enumerate(document["by_head"]):
        for number, head in enumerate(heads):
            name = f"by_head[{layer}][{number}]"
            _check_parts(name, head, _OF_HEAD)
            _check_reading(name, head, document["tokens"])
            _check_choice(name, head, len(document["options"]))


def _check_reading(name: str, head: Mapping[str, Any], tokens: int) -> None:
    count = len(head["queries"])
    _check_places(f"{name}.queries", head["queries"], tokens, "tokens")
    for part in ("keys", "weights"):
        _check_length(f"{name}.{part}", head[part], count)
    for keys, weights in zip(head["keys"], head["weights"], strict=True):
        _check_length(f"{name}.weights", weights, len(keys))
        _check_places(f"{name}.keys", keys, tokens, "tokens")
    _check_parts(f"{name}.profile", head["profile"], ("offsets", "mass"))
    _check_length(f"{name}.profile.mass", head["profile"]["mass"], len(head["profile"]["offsets"]))
    for pair in head["bottlenecks"]:
        _check_length(f"{name}.bottlenecks", pair, 2)
        _check_places(f"{name}.bottlenecks", pair, tokens, "tokens")
    if head["tiles"] is not None:
        _check_parts(f"{name}.tiles", head["tiles"], ("ends", "resolution", "query"))
        ends = head["tiles"]["ends"]
        _check_length(f"{name}.tiles.resolution", head["tiles"]["resolution"], len(ends))
    if head["splats"] is not None:
        _check_parts(f"{name}.splats", head["splats"], ("axes", "queries", "keys", "centres"))


def _check_choice(name: str, head: Mapping[str, Any], options: int) -> None:
    for place, trial in enumerate(head["trials"]):
        _check_parts(f"{name}.trials[{place}]", trial, ("option", "cost", "error"))
    chosen = head["recommendation"]
    _check_parts(f"{name}.recommendation", chosen, ("option", "cost", "error", "reason"))
    told = [trial["option"] for trial in head["trials"]]
    _check_places(f"{name}.trials", told, options, "options")
    _check_places(f"{name}.recommendation", [chosen["option"]], options, "options")


def _check_parts(name: str, value: Any, parts: Iterable[str]) -> None:
    if not isinstance(value, Mapping):
        raise ArgumentError(name, type(value).__name__, "a dict", "pass its parts by name")
    missing = [part for part in parts if part not in value]
    if missing:
        raise ArgumentError(
            name, f"no {', '.join(missing)}", "every part of the document", "add what is missing"
        )


def _check_length(name: str, value: Sequence[Any], length: int) -> None:
    if len(value) != length:
        raise ArgumentError(name, f"{len(value)} entries", str(length), "pass as many")


def _check_matrix(name: str, rows: Sequence[Sequence[Any]], layers: int, heads: int) -> None:
    sizes = {len(row) for row in rows}
    if len(rows) != layers or sizes != {heads}:
        got = f"{len(rows)} rows of {' and '.join(map(str, sorted(sizes))) or 'nothing'}"
        expected = f"{layers} layers of {heads} heads"
        raise ArgumentError(name, got, expected, "pass a number for each head")


def _check_places(name: str, places: Sequence[int], count: int, of_what: str) -> None:
    wrong = [p for p in places if not isinstance(p, int) or not 0 <= p < count]
    if wrong:
        raise ArgumentError(name, wrong[0], f"0 to {count - 1}", f"point at one of the {of_what}")


def unknown_to_json(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Where a document holds what JSON cannot hold, and what it is."""
    if isinstance(value, float):
        if not math.isfinite(value):
            yield path, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from unknown_to_json(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from unknown_to_json(part, f"{path}[{place}]")
    elif not isinstance(value, str | int | None):
        yield path, value
