"""What `aat demo` shows: one table, two continuations, a page with pictures, or JSON."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..evaluation.reading import Reading


def measures(reading: Reading) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The table: a column for each way of reading, and rows of a name and a cell for each."""
    exact = reading.exact
    passes = [exact, *(tiled.prefill for tiled in reading.tiled)]
    names = ["exact (SDPA)", *(f"tolerance {tiled.tolerance:g}" for tiled in reading.tiled)]
    rows: list[tuple[str, list[str]]] = []
    for part in ("attention", "model"):
        spent = [getattr(one, part) for one in passes]
        rows += [
            (f"{part}, time", [f"{one.wall_s:.2f} s" for one in spent]),
            (f"{part}, processor", [f"{one.cpu_s:.2f} s" for one in spent]),
            (
                f"{part}, speed",
                [
                    f"{spent[0].wall_s / one.wall_s:.2f}× ({spent[0].cpu_s / one.cpu_s:.2f}×)"
                    for one in spent
                ],
            ),
        ]
    rows += [
        ("memory above model", [_mebibytes(one.peak_bytes) for one in passes]),
        (
            "far tokens read",
            ["100 %", *(f"{100 * tiled.read.fraction_read:.1f} %" for tiled in reading.tiled)],
        ),
        ("loss, second half", [f"{one.loss:.4f}" for one in passes]),
        ("loss, difference", ["–", *(f"{one.loss - exact.loss:+.4f}" for one in passes[1:])]),
    ]
    return names, rows


_UNITS = (
    "speed: against SDPA, by the clock (by processor time). far tokens read: one by one, not "
    "through means. loss: nats per token."
)

# Of the processor time that the threads could have had while the model read.
_LEAST_SHARE = 0.75


def busy_machine(reading: Reading, threads: int) -> str | None:
    """A warning if other programs took so much time that the measured times mean little."""
    # SDPA keeps all threads at work. Tiled attention does not, even if nothing else runs.
    spent = reading.exact.model
    share = spent.cpu_s / (spent.wall_s * threads)
    if share >= _LEAST_SHARE:
        return None
    return (
        f"Reading with SDPA, the model got only {100 * share:.0f} % of the processor time of its "
        f"{threads} threads, "
        "so something else was at work: the times above are not to be relied on."
    )


def _mebibytes(count: int | None) -> str:
    return "not measurable" if count is None else f"{count / 2**20:.0f} MiB"


def print_results(reading: Reading, findings: dict[str, Any], report: Path) -> None:
    """The table, the continuations and where the page is, on stdout."""
    console = Console()
    names, rows = measures(reading)
    title = f"{findings['model']} reads {reading.tokens:,} tokens of {findings['text']}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column()
    for name in names:
        table.add_column(name, justify="right")
    for label, cells in rows:
        table.add_row(label, *cells)
    console.print("", table, Text(_UNITS, style="dim"), "")
    if warning := busy_machine(reading, findings["machine"]["threads"]):
        console.print(Text(warning, style="yellow"), "")
    both, written = reading.continuations, findings["written"]
    for name, one, key in (
        ("exact cache", both.exact, "exact"),
        (f"adaptive cache, tolerance {both.tolerance:g}", both.tiled, "tiled"),
    ):
        console.print(Text(f"{name}: {one.tokens_per_second:.2f} tokens per second", style="bold"))
        words = Text(written["shared"]).append(written[key], style="underline")
        console.print(words, "")
    console.print(f"The first {both.agreeing} of {len(both.exact.ids)} tokens agree.")
    console.print(f"Largest difference to SDPA when everything is read: {reading.exactness:.1e}")
    console.print(Text(f"Report: {report}"), soft_wrap=True)


def page(reading: Reading, findings: dict[str, Any]) -> str:
    """The HTML page."""
    from ..visualization import Continuation, Panel, ReadingReport, Series, Setting, render

    names, rows = measures(reading)
    both, written = reading.continuations, findings["written"]
    layers = sorted({curve.layer for curve in reading.curves})
    return render(
        ReadingReport(
            title=f"How {findings['model']} read {reading.tokens:,} tokens of {findings['text']}",
            lead=_lead(reading),
            columns=names,
            rows=rows,
            pieces=findings["pieces"],
            settings=[
                Setting(
                    name=f"tolerance {one.tolerance:g}",
                    piece_resolution=one.read.by_token,
                    read_by_head=one.read.by_head,
                )
                for one in reading.tiled
            ],
            panels=[
                Panel(
                    title=f"layer {layer}",
                    series=[
                        Series(
                            name=_KIND_NAMES[curve.kind],
                            points=[(point.fraction_read, point.error) for point in curve.points],
                        )
                        for curve in reading.curves
                        if curve.layer == layer
                    ],
                )
                for layer in layers
            ],
            continuations=[
                Continuation(
                    name="Exact cache",
                    note=f"{both.exact.tokens_per_second:.2f} tokens per second",
                    shared=written["shared"],
                    rest=written["exact"],
                ),
                Continuation(
                    name=f"Adaptive cache, tolerance {both.tolerance:g}",
                    note=f"{both.tiled.tokens_per_second:.2f} tokens per second; the first "
                    f"{both.agreeing} of {len(both.exact.ids)} tokens agree",
                    shared=written["shared"],
                    rest=written["tiled"],
                ),
            ],
            facts=_facts(reading, findings),
        )
    )


_KIND_NAMES = {
    "key space, means": "similar words together, the rest as averages",
    "contiguous, means": "neighbouring words together, the rest as averages",
    "key space, rest dropped": "similar words together, the rest left out",
    "key space, means, by tolerance": "similar words together, opened by tolerance",
}


def _lead(reading: Reading) -> str:
    middle = reading.tiled[len(reading.tiled) // 2]
    exact, tiled = reading.exact, middle.prefill
    return (
        f"At tolerance {middle.tolerance:g} the model read "
        f"{100 * middle.read.fraction_read:.1f} % of the distant words one by one and the rest as "
        f"averages. Attention took {tiled.attention.wall_s:.1f} s instead of "
        f"{exact.attention.wall_s:.1f} s, the whole model {tiled.model.wall_s:.1f} s instead of "
        f"{exact.model.wall_s:.1f} s, and the loss changed by {tiled.loss - exact.loss:+.4f} nats "
        "per token."
    )


def _facts(reading: Reading, findings: dict[str, Any]) -> list[tuple[str, str]]:
    machine, versions = findings["machine"], findings["versions"]
    warning = busy_machine(reading, machine["threads"])
    listed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return [
        ("Command", findings["command"]),
        ("Model", findings["model"]),
        ("Text", findings["text"]),
        (
            "Machine",
            f"{machine['cpu']}, {machine['system']}, {machine['cores']} cores, "
            f"{machine['threads']} threads, {machine['instruction_set']}",
        ),
        ("Versions", listed),
        (
            "Checked first",
            "tiled attention that reads everything equals SDPA on this model's own queries, keys "
            f"and values; largest difference {reading.exactness:.1e} of the largest value",
        ),
        ("Times", "one pass each, after a warm-up, without the reports that the pictures need"),
        ("Units", _UNITS),
        *([("Warning", warning)] if warning else []),
    ]


def plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists, and null for what is no number."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value
