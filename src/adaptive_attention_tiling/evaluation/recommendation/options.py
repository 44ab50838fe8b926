"""What may be read instead of all keys of a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ...errors import ArgumentError

SINKS = 4
NEAR = 64
# The parameters of each kind, and the least that each may be.
_PARAMETERS: dict[str, dict[str, float]] = {
    "exact": {},
    "window": {"window": 1, "sinks": 0},
    "tiled": {"tolerance": 0.0, "block": 8},
    "splat": {"splats": 1, "window": 1, "sinks": 0},
    "fidelity": {"amplitudes": 2, "window": 1, "sinks": 0},
}


@dataclass(frozen=True)
class HeadOption:
    """One way to read a head's keys, by its name, kind and numbers.

        exact     softmax over all visible keys
        window    softmax over the keys with |i - j| < `window`, and the first `sinks`
        tiled     `tiled_attention` at `tolerance`, in super-blocks of `block` tokens beside one
                  more of window
        splat     that window, and all other keys through `splats` Gaussians under one normaliser
        fidelity  the same through states of `amplitudes` real numbers

    Args:
        name: by which people and files know it.
        parameters: exactly those of its kind.

    Raises:
        ArgumentError: an unknown kind; parameters that are missing, unknown or too small.
    """

    name: str
    kind: str
    parameters: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError("name", repr(self.name), "a text", "name it 'window 64'")
        if self.kind not in _PARAMETERS:
            kinds = ", ".join(_PARAMETERS)
            raise ArgumentError("kind", repr(self.kind), f"one of {kinds}", "check the spelling")
        wanted, given = _PARAMETERS[self.kind], dict(self.parameters)
        if set(given) != set(wanted):
            raise ArgumentError(
                "parameters",
                sorted(given),
                f"{sorted(wanted)} for kind {self.kind}",
                "name each of these once and no other",
            )
        for name, least in wanted.items():
            _check(name, given[name], least)
        object.__setattr__(self, "parameters", MappingProxyType(given))

    def __hash__(self) -> int:
        return hash((self.name, self.kind, tuple(sorted(self.parameters.items()))))

    def __reduce__(self) -> tuple[type[HeadOption], tuple[str, str, dict[str, float]]]:
        """Read-only mappings cannot be pickled; copies are checked again."""
        return HeadOption, (self.name, self.kind, dict(self.parameters))

    def __getitem__(self, name: str) -> int:
        """A parameter that counts something."""
        return int(self.parameters[name])


def _check(name: str, number: float, least: float) -> None:
    counts = name != "tolerance"
    kinds = (int,) if counts else (int, float)
    if isinstance(number, bool) or not isinstance(number, kinds) or not least <= number < 1e9:
        word = "an integer" if counts else "a number"
        raise ArgumentError(name, repr(number), f"{word} >= {least:g}", f"pass {least:g} or more")


def default_options(tokens: int) -> tuple[HeadOption, ...]:
    """Exact reading first, and what may be cheaper for a text of `tokens` tokens.

    Windows of 64, 256 and 1,024 tokens as long as they are shorter than the text; tiles at
    tolerances 0.1, 0.3 and 1 where a far field of them exists, in super-blocks that grow with the
    text; 32 splats; states of 8 amplitudes.
    """
    if isinstance(tokens, bool) or tokens < 1:
        raise ArgumentError("tokens", tokens, "an integer >= 1", "pass the length of the text")
    found = [HeadOption("exact", "exact")]
    for window in (64, 256, 1024):
        if window + SINKS < tokens:
            parameters = {"window": window, "sinks": SINKS}
            found.append(HeadOption(f"window {window}", "window", parameters))
    block = 64 if tokens <= 2048 else 128 if tokens <= 8192 else 256
    if tokens > 2 * block:
        for tolerance in (0.1, 0.3, 1.0):
            tiles = {"tolerance": tolerance, "block": block}
            found.append(HeadOption(f"tiled {tolerance:g}", "tiled", tiles))
    if tokens > 2 * NEAR:
        near = {"window": NEAR, "sinks": SINKS}
        found.append(HeadOption("splat 32", "splat", {"splats": 32, **near}))
        found.append(HeadOption("fidelity 8", "fidelity", {"amplitudes": 8, **near}))
    return tuple(found)
