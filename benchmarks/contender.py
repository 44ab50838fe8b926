"""Contenders for one job, and the gate that they pass before any of them is timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.backends.native import VARIABLE
from adaptive_attention_tiling.errors import ArgumentError, CorrectnessError, UnsupportedError

Tensors = Callable[[], Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do a job.

    run              what is timed
    answer, truth    what it gives, and what its rule gives in float64 by plain formulas
    rule             the rule that it computes, where that is not the one of the benchmark
    distance         of the answer from the truth; largest difference over largest entry if not said
    tolerance        largest distance that is not wrong
    instruction_set  of native kernels, pinned while it runs; empty for all else
    """

    name: str
    run: Callable[[], Any]
    answer: Tensors
    truth: Tensors
    rule: str = ""
    distance: Callable[[Sequence[Tensor], Sequence[Tensor]], float] | None = None
    tolerance: float = 1e-4
    instruction_set: str = ""

    def pinned(self) -> Callable[[], Any]:
        """`run` by the instruction set that is asked for."""
        if not self.instruction_set:
            return self.run

        def run() -> Any:
            with pinned_to(self.instruction_set):
                return self.run()

        return run


@dataclass(frozen=True)
class Absent:
    """A contender that cannot run here, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One job: its inputs in words and numbers, and who does it.

    baseline  the contender whose time is told over each of the others'
    """

    name: str
    inputs: Mapping[str, int | float | str]
    contenders: Sequence[Contender | Absent]
    baseline: str
    rounds: int


@contextmanager
def pinned_to(instruction_set: str) -> Iterator[None]:
    """Within the context, native kernels are those of one instruction set."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = instruction_set
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def admitted(contender: Contender) -> float | Absent:
    """The contender's error, or why it cannot run.

    Raises CorrectnessError for a wrong answer.
    """
    try:
        if contender.instruction_set:
            with pinned_to(contender.instruction_set):
                answer = contender.answer()
        else:
            answer = contender.answer()
    except UnsupportedError as error:
        return Absent(contender.name, str(error).partition(" Fix:")[0])
    except ArgumentError as error:
        if error.name != "implementation":
            raise
        return Absent(contender.name, "not built: no such implementation of this operation")
    error = (contender.distance or difference)(answer, contender.truth())
    if not error <= contender.tolerance:  # written so that NaN is refused
        raise CorrectnessError(
            f"{contender.name} is wrong: it is {error:.1e} from its reference, expected at most "
            f"{contender.tolerance:.0e}. Nothing was timed. Fix: run the tests of this operation "
            "on this machine and report what fails."
        )
    return error


def difference(answer: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The largest difference of a tensor over its largest entry; infinite if shapes differ."""
    if [a.shape for a in answer] != [t.shape for t in truth]:
        return float("inf")
    errors = [
        ((a.double() - t.double()).abs().max() / t.double().abs().max().clamp_min(1e-300)).item()
        for a, t in zip(answer, truth, strict=True)
    ]
    return float(torch.tensor(errors).max())
