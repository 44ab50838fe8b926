"""`aat demo`: a model reads a long text exactly and adaptively, and both are compared."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backends.memory import keep_freed_memory
from ..backends.threads import wait_asleep
from ..errors import ArgumentError
from . import doctor
from .demo_results import page, plain, print_results
from .stages import loaded_model, model_name, stages
from .whole_file import check_writable, write_whole

if TYPE_CHECKING:
    from ..evaluation.reading import Reading, ReadingPlan

TOLERANCES = (0.1, 0.3, 1.0)
TOKENS = 8192
QUICK_TOKENS = 2048
_MOST_TOLERANCES = 8


def demo(
    tokens: Annotated[
        int | None,
        typer.Option(help=f"How many to read: {TOKENS}, or {QUICK_TOKENS} with --quick."),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="A .txt, .md or .jsonl file instead of a speech.", metavar="FILE"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="A folder with a model instead of SmolLM2-135M.", metavar="FOLDER"),
    ] = None,
    tolerance: Annotated[
        list[float] | None,
        typer.Option(
            help="Error accepted, in units of the largest value; 0 is exact. Repeat it for "
            f"several settings. [default: {', '.join(map(str, TOLERANCES))}]"
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer tokens: done within two minutes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    report: Annotated[
        Path, typer.Option(help="Where to write the page with the pictures.", metavar="FILE")
    ] = Path("aat-report.html"),
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch; as torch chooses by default.")
    ] = None,
) -> None:
    """Let a model read a long text exactly and adaptively, and compare."""
    wait_asleep()
    keep_freed_memory()
    wanted = TOKENS if tokens is None else tokens
    if quick and tokens is None:
        wanted = QUICK_TOKENS
    check_writable(report, "--report")
    if threads is not None and threads < 1:
        raise ArgumentError("--threads", threads, "at least 1", "leave it out to let torch choose")
    chosen = tuple(tolerance or TOLERANCES)
    if len(chosen) > _MOST_TOLERANCES:
        raise ArgumentError(
            "--tolerance", f"{len(chosen)} of them", f"at most {_MOST_TOLERANCES}", "give fewer"
        )
    plan = _plan(chosen, quick=quick)
    findings: dict[str, Any] = {"command": _command(wanted, text, model, tolerance, quick, threads)}
    with stages() as stage:
        reading, shown = _read(plan, wanted, text, model, threads, stage)
    findings |= shown
    write_whole(report, page(reading, findings))
    if as_json:
        listed = {k: v for k, v in findings.items() if k != "pieces"}
        document = {**listed, **plain(reading), "report": str(report)}
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        print_results(reading, findings, report)


def _plan(tolerances: tuple[float, ...], *, quick: bool) -> ReadingPlan:
    from ..evaluation.reading import ReadingPlan

    if quick:
        return ReadingPlan(tolerances=tolerances, new_tokens=16, curve_layers=2, curve_tokens=2048)
    return ReadingPlan(tolerances=tolerances)


def _read(
    plan: ReadingPlan,
    tokens: int,
    text: Path | None,
    model_folder: Path | None,
    threads: int | None,
    stage: Callable[[str, int], Callable[[], None]],
) -> tuple[Reading, dict[str, Any]]:
    """Load what is needed, measure, and give the results with the words that were read."""
    import torch

    from ..data import LocalFiles, SotuSpeeches, first_tokens, longest
    from ..data.pieces import token_pieces
    from ..evaluation.reading import check_tokens, compare

    if threads is not None:
        torch.set_num_threads(threads)
    document = longest(SotuSpeeches() if text is None else LocalFiles(text))
    model, tokenizer = loaded_model(model_folder, stage)
    check_tokens(model, tokens, plan.new_tokens)
    ids = first_tokens(document, tokenizer, tokens)
    pieces = token_pieces(tokenizer, document.text, ids)
    circumstances = {"machine": doctor.machine(), "versions": doctor.versions()}
    reading = compare(model, torch.tensor([ids]), plan, stage)
    both, count = reading.continuations, reading.continuations.agreeing
    # The last token that agrees may be the first part of a character.
    shared = str(tokenizer.decode(list(both.exact.ids[:count]))).rstrip("\ufffd")
    rests = {
        name: str(tokenizer.decode(list(one.ids)))[len(shared) :].rstrip()
        for name, one in {"exact": both.exact, "tiled": both.tiled}.items()
    }
    return reading, {
        **circumstances,
        "model": model_name(model_folder),
        "text": document.name,
        "pieces": pieces,
        "written": {"shared": shared.lstrip(), **rests},
    }


def _command(
    tokens: int,
    text: Path | None,
    model: Path | None,
    tolerance: list[float] | None,
    quick: bool,
    threads: int | None,
) -> str:
    words = ["aat", "demo", "--tokens", str(tokens)]
    for name, value in {"--text": text, "--model": model, "--threads": threads}.items():
        words += [name, str(value)] if value is not None else []
    for number in tolerance or []:
        words += ["--tolerance", f"{number:g}"]
    return shlex.join([*words, *["--quick"] * quick])
