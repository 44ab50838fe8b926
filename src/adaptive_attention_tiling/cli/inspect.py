"""`aat inspect`: what every attention head of a model does with a text, and what it should read."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backends.memory import keep_freed_memory
from ..backends.threads import wait_asleep
from ..errors import ArgumentError, DataError
from . import doctor
from .inspect_results import print_summary
from .stages import Stage, loaded_model, model_name, stages
from .whole_file import check_writable, write_whole

if TYPE_CHECKING:
    from ..evaluation.inspection import Inspection, InspectionPlan

TOKENS = 4096
QUICK_TOKENS = 512
BUDGETS = (0.25, 0.5, 0.75)
_MOST_WORKERS = 8


def inspect(
    model: Annotated[
        Path | None,
        typer.Option(
            help="A folder with a decoder or an encoder instead of SmolLM2-135M.", metavar="FOLDER"
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="A .txt, .md or .jsonl file instead of a speech.", metavar="FILE"),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            help=f"How many to read. [default: {TOKENS}, or {QUICK_TOKENS} with --quick; fewer if "
            "the text or the model's context is shorter]"
        ),
    ] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            help="Find heads that attend so: offsets with weights, as in strides=0:1,7:1,14:0.5, "
            "or a file, records=FILE.csv, of rows of weights by offset. Repeat it for several.",
            metavar="NAME=PATTERN",
        ),
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(
            help="Cost of all heads together, as a share of exact attention, to recommend for. "
            f"Repeat it for several. [default: {', '.join(map(str, BUDGETS))}]"
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="On heads' pages, recommend the cheapest option within this relative error "
            "instead of the middle budget."
        ),
    ] = None,
    report: Annotated[Path, typer.Option(help="Where to write the page.", metavar="FILE")] = Path(
        "aat-inspect.html"
    ),
    recommendation: Annotated[
        Path | None,
        typer.Option(
            help="Where to write what each head should read, for programs.", metavar="FILE"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole document as JSON instead of a summary.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that look at heads; the results are the same for any number. "
            f"[default: the cores, at most {_MOST_WORKERS}]"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch while the model reads.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer tokens: a look within two minutes.")
    ] = False,
) -> None:
    """Look into every attention head of a model: figures, pictures, what it should read."""
    wait_asleep()
    keep_freed_memory()
    check_writable(report, "--report")
    if recommendation is not None:
        check_writable(recommendation, "--recommendation")
    for name, count in {"--threads": threads, "--workers": workers}.items():
        if count is not None and count < 1:
            raise ArgumentError(name, count, "at least 1", "leave it out")
    command = _command(
        quick,
        {"--model": model, "--text": text, "--tokens": tokens, "--tolerance": tolerance},
        {"--pattern": pattern or [], "--budget": [f"{x:g}" for x in budget or []]},
    )
    from ..evaluation.inspection import InspectionPlan

    plan = InspectionPlan(
        budgets=tuple(budget or BUDGETS),
        tolerance=tolerance,
        patterns=tuple(_named(entry) for entry in pattern or []),
        workers=_cores() if workers is None else workers,
    )
    with stages() as stage:
        wanted = (QUICK_TOKENS if quick else TOKENS, False) if tokens is None else (tokens, True)
        inspection, document = _look(plan, wanted, model, text, threads, stage, command)
        done = stage("writing the page", 1)
        _write(document, report)
        if recommendation is not None:
            write_whole(recommendation, inspection.chosen.to_json())
        done()
    if as_json:
        document = {**document, "report": str(report)}
        typer.echo(json.dumps(document, allow_nan=False))
    else:
        print_summary(document, report)


def _cores() -> int:
    """Those that this process may use, up to a limit: every worker takes half a gigabyte."""
    known = getattr(os, "sched_getaffinity", None)
    return min(len(known(0)) if known else os.cpu_count() or 1, _MOST_WORKERS)


def _look(
    plan: InspectionPlan,
    wanted: tuple[int, bool],
    model_folder: Path | None,
    text: Path | None,
    threads: int | None,
    stage: Stage,
    command: str,
) -> tuple[Inspection, dict[str, Any]]:
    """Load what is needed, inspect, and give the results, also as a document."""
    import torch

    from ..data import LocalFiles, SotuSpeeches, longest
    from ..evaluation.inspection import inspect_model

    if threads is not None:
        torch.set_num_threads(threads)
    source = longest(SotuSpeeches() if text is None else LocalFiles(text))
    model, tokenizer = loaded_model(model_folder, stage, encoders=True)
    ids, pieces = _tokens(model, tokenizer, source, *wanted)
    circumstances = {"machine": doctor.machine(), "versions": doctor.versions()}
    inspection = inspect_model(model, torch.tensor([ids]), plan, stage)
    return inspection, inspection.document(
        command=command,
        model=model_name(model_folder),
        text=source.name,
        pieces=pieces,
        **circumstances,
    )


def _tokens(
    model: Any, tokenizer: Any, source: Any, wanted: int, asked_for: bool
) -> tuple[list[int], list[str]]:
    """The first tokens of a text within those that the tokenizer puts around it, and their words.

    If no number was asked for, as many as there are and as the model takes.
    """
    from ..data import encode, first_tokens
    from ..data.pieces import surrounding_tokens, token_pieces
    from ..evaluation.reading import context_of

    before, after = surrounding_tokens(tokenizer)
    around = len(before) + len(after)
    if asked_for:
        if wanted <= around:
            least = max(2, around + 1)
            raise ArgumentError("--tokens", wanted, f"at least {least}", "read more of the text")
        inside = first_tokens(source, tokenizer, wanted - around)
    else:
        inside = encode(tokenizer, source.text)
        inside = inside[: min(wanted, context_of(model) or wanted) - around]
        if len(inside) + around < 2:
            raise DataError(
                f"{source.name}: {len(inside)} tokens long, too short for any attention. "
                "Fix: choose a longer text."
            )
    outer = [tokenizer.convert_ids_to_tokens(ids) for ids in (before, after)]
    pieces = [*outer[0], *token_pieces(tokenizer, source.text, inside), *outer[1]]
    return [*before, *inside, *after], pieces


def _write(document: dict[str, Any], report: Path) -> None:
    from ..visualization.inspection_report import render_inspection

    write_whole(report, render_inspection(document))


def _named(entry: str) -> tuple[str, str]:
    name, equals, text = entry.partition("=")
    if not (name.strip() and equals and text.strip()):
        raise ArgumentError(
            "--pattern", repr(entry), "a name and a pattern", "write such as strides=0:1,7:1"
        )
    return name.strip(), text.strip()


def _command(quick: bool, single: dict[str, Any], repeated: dict[str, list[str]]) -> str:
    words = ["aat", "inspect"]
    for name, value in single.items():
        words += [name, str(value)] if value is not None else []
    for name, values in repeated.items():
        for value in values:
            words += [name, value]
    return shlex.join([*words, *["--quick"] * quick])
