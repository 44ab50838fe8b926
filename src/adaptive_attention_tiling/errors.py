"""The errors a caller may want to catch, all under one root."""

from __future__ import annotations


class AATError(Exception):
    """Root of every error this package raises on purpose."""


class ArgumentError(AATError, ValueError):
    """An argument came with a value that cannot be used.

    `str(ArgumentError("tolerance", -1, "a number >= 0", "pass tolerance=0"))` reads
    "tolerance: got -1, expected a number >= 0. Fix: pass tolerance=0."
    """

    def __init__(self, name: str, got: object, expected: str, fix: str) -> None:
        super().__init__(name, got, expected, fix)
        self.name = name
        self.got = got
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.name}: got {self.got}, expected {self.expected}. Fix: {self.fix}."


class MissingDependencyError(AATError, ImportError):
    """An optional package is needed here and is not installed."""

    def __init__(self, feature: str, package: str, install: str) -> None:
        super().__init__(feature, package, install)
        self.feature = feature
        self.package = package
        self.install = install

    def __str__(self) -> str:
        return f"{self.feature} needs {self.package}. Fix: {self.install}"


class DataError(AATError):
    """A text, a model file or a cache could not be read, or does not hold what was asked for."""


class UnsupportedError(AATError, NotImplementedError):
    """The request makes sense but this version, device or model cannot do it."""


class CorrectnessError(AATError, ArithmeticError):
    """A result is not what it must be, so nothing that rests on it is told."""
