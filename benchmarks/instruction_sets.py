"""One source compiled for several instruction sets: each operation by each set that runs here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .attentions import fidelity, linear, splats
from .contender import Absent, Case, Contender
from .gaussian_splat import PASSES
from .job import random_job
from .measure import Options, run_cases


def run(options: Options) -> dict[str, Any]:
    return run_cases(cases(512 if options.quick else 4096, 3 if options.quick else 9))


def cases(tokens: int, rounds: int, *, heads: int = 8) -> Iterator[Case]:
    for backward in PASSES:
        job = random_job(tokens, backward=backward, heads=heads)
        narrow = random_job(tokens, backward=backward, heads=heads, width=16, value_width=64)
        only = {"forms": ("native",), "all_sets": True}
        for name, contenders in (
            ("splats K=64", splats(job, 64, **only)),
            ("linear", linear(job, **only)),
            ("fidelity m=16", fidelity(narrow, **only)),
        ):
            yield Case(
                name=f"{name}, {tokens} tokens, {PASSES[backward]}",
                inputs=job.inputs,
                contenders=contenders,
                baseline=baseline(contenders),
                rounds=rounds,
            )


def baseline(contenders: list[Contender | Absent]) -> str:
    """The slowest set that runs."""
    ready = [contender.name for contender in contenders if isinstance(contender, Contender)]
    return ready[-1] if ready else ""
