"""One option for each head, as a value that is kept in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ArgumentError
from .options import HeadOption

FORMAT = "adaptive-attention-tiling/head-recommendation"
VERSION = 1
_NAMES = {
    "format",
    "version",
    "budget",
    "tolerance",
    "tokens",
    "cost",
    "harm",
    "options",
    "choices",
}
_FIX = "write the file with Recommendation.to_json"


@dataclass(frozen=True)
class HeadChoice:
    """What one head is to read.

    Args:
        option: its place among the options of the recommendation.
        cost: multiply-adds a query as a share of exact attention.
        error: relative error of the head's output, as `judge_head` has it.
        harm: what the head adds to the predicted harm.
        reason: in plain words.
    """

    option: int
    cost: float
    error: float
    harm: float
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """One option for each head of each layer.

    Args:
        options: what may be chosen; the first is exact.
        choices: [L][H].
        tokens: length of the text that costs are of, or None if not told.
        budget: the total cost allowed, as a share of exact attention, or None.
        tolerance: the error allowed in each head, or None.
    """

    options: tuple[HeadOption, ...]
    choices: tuple[tuple[HeadChoice, ...], ...]
    budget: float | None = None
    tolerance: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.choices or not self.choices[0]:
            raise ArgumentError("choices", "none", "at least one layer with one head", _FIX)
        for layer, row in enumerate(self.choices):
            for head, choice in enumerate(row):
                _check_choice(f"choices[{layer}][{head}]", choice, len(self.options))

    @property
    def cost(self) -> float:
        """Multiply-adds of all heads as a share of exact attention: the mean of theirs."""
        costs = [choice.cost for row in self.choices for choice in row]
        return sum(costs) / len(costs)

    @property
    def harm(self) -> float:
        """The sum of what the heads add to the predicted harm."""
        return sum(choice.harm for row in self.choices for choice in row)

    @property
    def indices(self) -> list[list[int]]:
        """[L][H], the place of each head's option among `options`."""
        return [[choice.option for choice in row] for row in self.choices]

    def option(self, layer: int, head: int) -> HeadOption:
        """What this head is to read."""
        return self.options[self.choices[layer][head].option]

    def to_json(self) -> str:
        """The text that `from_json` reads back: {"format", "version", "options", "choices", ...}.

        "choices" are layers of heads of {"option", "cost", "error", "harm", "reason"}, "option" a
        place among "options" of {"name", "kind", "parameters"}. Total cost and harm stand there
        for readers and are worked out again.
        """
        document = {
            "format": FORMAT,
            "version": VERSION,
            "budget": self.budget,
            "tolerance": self.tolerance,
            "tokens": self.tokens,
            "cost": self.cost,
            "harm": self.harm,
            "options": [
                {"name": o.name, "kind": o.kind, "parameters": dict(o.parameters)}
                for o in self.options
            ],
            "choices": [[vars(choice) for choice in row] for row in self.choices],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recommendation:
        """The recommendation in a text of `to_json`.

        Raises:
            ArgumentError: no JSON, another format or version, or an entry that does not fit, by
                its place, such as choices[0][3].option.
        """
        try:
            document = json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise ArgumentError("text", str(error), "a JSON object", _FIX) from error
        given = _object("text", document)
        unknown = sorted(set(given) - _NAMES)
        if unknown:
            raise ArgumentError("text", unknown, f"no other entries than {sorted(_NAMES)}", _FIX)
        if given.get("format") != FORMAT:
            raise ArgumentError("format", repr(given.get("format")), repr(FORMAT), _FIX)
        if given.get("version") != VERSION:
            raise ArgumentError(
                "version", repr(given.get("version")), str(VERSION), "use a version that reads it"
            )
        options = tuple(
            _read_option(f"options[{n}]", entry) for n, entry in enumerate(_list(given, "options"))
        )
        choices = tuple(
            tuple(
                _read_choice(f"choices[{layer}][{head}]", entry)
                for head, entry in enumerate(_a_list(f"choices[{layer}]", row))
            )
            for layer, row in enumerate(_list(given, "choices"))
        )
        tokens = given.get("tokens")
        return cls(
            options,
            choices,
            budget=_maybe_number(given, "budget"),
            tolerance=_maybe_number(given, "tolerance"),
            tokens=None if tokens is None else _whole("tokens", tokens),
        )


def _check_choice(place: str, choice: HeadChoice, options: int) -> None:
    whole = isinstance(choice.option, int) and not isinstance(choice.option, bool)
    if not whole or not 0 <= choice.option < options:
        raise ArgumentError(
            f"{place}.option", choice.option, f"0 to {options - 1}, a place in options", _FIX
        )
    for name in ("cost", "error", "harm"):
        _number(f"{place}.{name}", getattr(choice, name))
    if not isinstance(choice.reason, str):
        raise ArgumentError(f"{place}.reason", repr(choice.reason), "a text", _FIX)


def _read_option(place: str, entry: object) -> HeadOption:
    given = _exactly(place, entry, {"name", "kind", "parameters"})
    try:
        return HeadOption(
            given["name"], given["kind"], _object(f"{place}.parameters", given["parameters"])
        )
    except ArgumentError as error:
        if error.name.startswith("options"):
            raise
        raise ArgumentError(
            f"{place}.{error.name}", error.got, error.expected, error.fix
        ) from error


def _read_choice(place: str, entry: object) -> HeadChoice:
    return HeadChoice(**_exactly(place, entry, {"option", "cost", "error", "harm", "reason"}))


def _exactly(place: str, entry: object, names: set[str]) -> Mapping[str, Any]:
    given = _object(place, entry)
    if set(given) != names:
        raise ArgumentError(place, sorted(given), f"an object of {sorted(names)}", _FIX)
    return given


def _object(place: str, entry: object) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise ArgumentError(place, type(entry).__name__, "an object", _FIX)
    return entry


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    return _a_list(name, given.get(name))


def _a_list(place: str, entry: object) -> list[Any]:
    if not isinstance(entry, list):
        raise ArgumentError(place, type(entry).__name__, "a list", _FIX)
    return entry


def _maybe_number(given: Mapping[str, Any], name: str) -> float | None:
    return None if given.get(name) is None else _number(name, given[name])


def _number(place: str, entry: object) -> float:
    plain = isinstance(entry, int | float) and not isinstance(entry, bool)
    if not plain or not 0 <= entry < math.inf:  # type: ignore[operator]
        raise ArgumentError(place, repr(entry), "a finite number >= 0", _FIX)
    return float(entry)  # type: ignore[arg-type]


def _whole(place: str, entry: object) -> int:
    if not isinstance(entry, int) or isinstance(entry, bool) or entry < 1:
        raise ArgumentError(place, repr(entry), "an integer >= 1", _FIX)
    return entry


def _refuse_constant(name: str) -> None:
    raise ArgumentError("text", name, "finite numbers", _FIX)
