"""What a command is doing, on stderr, beginning with the model that it loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

# Called with what begins now and its number of steps; gives what is to be called after each step.
Stage = Callable[[str, int], Callable[[], None]]


@contextmanager
def stages() -> Iterator[Stage]:
    """Progress bars on stderr, one for each stage that begins; in a log file, a line for each."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    # Drawing takes processor time from what is being measured.
    quiet = not console.is_terminal
    with Progress(*columns, console=console, refresh_per_second=4, disable=quiet) as bars:

        def stage(name: str, steps: int) -> Callable[[], None]:
            if quiet:
                console.print(f"{name} ...")
            task = bars.add_task(name, total=steps)
            return lambda: bars.advance(task)

        yield stage


def loaded_model(folder: Path | None, stage: Stage, *, encoders: bool = False) -> tuple[Any, Any]:
    """The model and tokenizer in `folder`, by default SmolLM2, as a stage of its own."""
    from ..data import load_model

    done = stage("loading the model", 100)
    loaded = 0

    def progress(fraction: float, _: str) -> None:
        nonlocal loaded
        while loaded < int(100 * fraction) - 1:
            done()
            loaded += 1

    found = load_model(folder, progress=progress, encoders=encoders)
    progress(1.01, "")
    return found


def model_name(folder: Path | None) -> str:
    """What the model in `folder` is called."""
    return "SmolLM2-135M-Instruct" if folder is None else folder.resolve().name
