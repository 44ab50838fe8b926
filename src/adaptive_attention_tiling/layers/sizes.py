"""Checks of numbers that count something."""

from __future__ import annotations

from ..errors import ArgumentError


def check_sizes(config: object, *names: str, least: int = 1) -> None:
    """Raise for the first of these attributes that is neither None nor an integer >= least."""
    for name in names:
        size = getattr(config, name)
        counts = isinstance(size, int) and not isinstance(size, bool) and size >= least
        if size is not None and not counts:
            raise ArgumentError(name, size, f"a whole number >= {least}", "check the sizes")
