"""What `aat inspect` prints: what heads should read, and the most striking of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Figures whose extreme heads are named: the figure, whether the largest is meant, and the words.
_STRIKING = (
    ("shannon_share", False, "most of its attention on single tokens"),
    ("shannon_share", True, "attends most evenly"),
    ("sink_mass", True, "most on the first tokens"),
    ("sink_mass", False, "least on the first tokens"),
    ("own_mass", True, "most on itself"),
    ("previous_mass", True, "most on the token before"),
    ("mean_distance", True, "looks farthest back"),
    ("period_chance", False, "clearest period"),
    ("effective_rank", False, "all queries attend most alike"),
    ("key_bits", False, "keys of fewest bits"),
)
_MOST_MATCHES = _MOST_VIOLATIONS = 5


def print_summary(document: dict[str, Any], report: Path) -> None:
    """The tables, on stdout."""
    console = Console()
    console.print("", Text(_title(document), style="bold"), "")
    console.print(_choices(document), "", _striking(document), "")
    for pattern in document["patterns"]:
        console.print(Text(_matching(pattern, document["layers"] * document["heads"])))
    broken = document["violations"]
    for law in broken[:_MOST_VIOLATIONS]:
        console.print(Text(f"breaks its law: {law}", style="yellow"))
    if len(broken) > _MOST_VIOLATIONS:
        console.print(Text(f"{len(broken)} figures break their laws", style="yellow"))
    console.print(Text(_time(document), style="dim"))
    console.print(Text(f"Report: {report}"), soft_wrap=True)


def _title(document: dict[str, Any]) -> str:
    return (
        f"{document['model']}, {document['kind']}, reads {document['tokens']:,} tokens of "
        f"{document['text']}: {document['layers']} layers of {document['heads']} heads"
    )


def _choices(document: dict[str, Any]) -> Table:
    """How many heads read what, at each budget."""
    table = Table(
        title="Heads by what they should read", title_justify="left", box=None, pad_edge=False
    )
    table.add_column()
    for budget in document["budgets"]:
        table.add_column(f"budget {budget['budget']:g}", justify="right")
    table.add_column("error alone, median", justify="right")
    for place, option in enumerate(document["options"]):
        counts = [sum(row.count(place) for row in one["choice"]) for one in document["budgets"]]
        errors = sorted(
            head["trials"][place]["error"] for row in document["by_head"] for head in row
        )
        shown = [str(count) if count else "–" for count in counts]
        table.add_row(option["name"], *shown, f"{100 * errors[len(errors) // 2]:.2g} %")
    costs = [f"{100 * one['cost']:.1f} %" for one in document["budgets"]]
    table.add_row(Text("cost, of exact attention", style="bold"), *costs, "")
    harms = [f"{one['harm']:.2g}" for one in document["budgets"]]
    table.add_row(Text(f"predicted harm, {document['sensitivity_unit']}"), *harms, "")
    for one in document["budgets"]:
        if one["cost"] > one["budget"] + 1e-4:
            table.caption = "A budget below what the cheapest options cost cannot be kept."
            table.caption_justify = "left"
    return table


def _striking(document: dict[str, Any]) -> Table:
    """One head each, by extremes of some figures and by how much it matters."""
    table = Table(title="Striking heads", title_justify="left", box=None, pad_edge=False)
    for name in ("", "layer", "head", ""):
        table.add_column(name, justify="right" if name else "left")
    by_name = {figure["name"]: figure for figure in document["figures"]}
    for name, largest, words in _STRIKING:
        figure = by_name.get(name)
        found = figure and _extreme(figure["values"], largest)
        if found and figure:
            value, layer, head = found
            unit = f" {figure['unit']}" if figure["unit"] else ""
            shown = f"{figure['title'].lower()} {value:.3g}{unit}"
            table.add_row(words, str(layer), str(head), Text(shown, style="dim"))
    matters = [[head["sensitivity"] for head in row] for row in document["by_head"]]
    found = _extreme(matters, True)
    if found:
        shown = f"{found[0]:.3g} {document['sensitivity_unit']} if it were lost"
        row = ("matters most", str(found[1]), str(found[2]), Text(shown, style="dim"))
        table.add_row(*row)
    return table


def _extreme(values: list[list[float | None]], largest: bool) -> tuple[float, int, int] | None:
    known = [
        (value, layer, head)
        for layer, row in enumerate(values)
        for head, value in enumerate(row)
        if value is not None
    ]
    if not known:
        return None
    return (max if largest else min)(known, key=lambda entry: entry[0])


def _matching(pattern: dict[str, Any], heads: int) -> str:
    found = pattern["matching"]
    words = ", ".join(
        f"layer {one['layer']} head {one['head']} "
        f"(score {pattern['score'][one['layer']][one['head']]:.2f})"
        for one in found[:_MOST_MATCHES]
    )
    more = f" and {len(found) - _MOST_MATCHES} more" if len(found) > _MOST_MATCHES else ""
    told = f": {words}{more}" if found else ""
    return f"Pattern {pattern['name']}: {len(found)} of {heads} heads match{told}"


def _time(document: dict[str, Any]) -> str:
    parts = document["processor_seconds"]
    shown = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts.items())
    return f"{document['seconds']:.1f} s; processor time {sum(parts.values()):.1f} s: {shown}"
