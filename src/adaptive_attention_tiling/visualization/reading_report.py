"""One self-contained HTML page on how a model read a text; nothing on it is fetched or run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

from ..errors import ArgumentError
from .coloured_text import LETTERS, coloured_text
from .heat_map import heat_map
from .line_chart import legend, line_chart
from .palette import palette
from .plot import Series
from .shades import shades_for

# Below these, differences say nothing: a token read through the mean of 32 has 3 % of a row.
_LOWEST_RESOLUTION = 0.02
_LOWEST_FRACTION = 0.005


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one setting of tiled attention read.

    piece_resolution  for each piece of the text; nan where it was always read exactly
    read_by_head      [layers][heads] fraction of far keys read exactly
    """

    name: str
    piece_resolution: Sequence[float]
    read_by_head: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart of error against compute."""

    title: str
    series: Sequence[Series]


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """A text the model wrote: the part that all continuations share, and the rest."""

    name: str
    note: str
    shared: str
    rest: str


@dataclass(frozen=True, kw_only=True)
class ReadingReport:
    """Everything the page shows. All of it is text: the page escapes it.

    columns, rows  the table of measures, a column for each way of reading
    pieces         the text in pieces; `Setting.piece_resolution` runs along with them
    facts          machine, versions, command: name and value
    """

    title: str
    lead: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    pieces: Sequence[str]
    settings: Sequence[Setting]
    panels: Sequence[Panel]
    continuations: Sequence[Continuation]
    facts: Sequence[tuple[str, str]]


def render(report: ReadingReport) -> str:
    """The page as one string, to be written as UTF-8."""
    if not 1 <= len(report.settings) <= len(LETTERS):
        raise ArgumentError(
            "settings", len(report.settings), f"1 to {len(LETTERS)}", "show fewer settings"
        )
    resolutions = [setting.piece_resolution for setting in report.settings]
    heads = [setting.read_by_head for setting in report.settings]
    tone = shades_for((x for row in resolutions for x in row), floor=_LOWEST_RESOLUTION)
    heat = shades_for((x for rows in heads for row in rows for x in row), floor=_LOWEST_FRACTION)
    page = Template(_package_file("reading_report.html"))
    return page.substitute(
        palette=palette(":root"),
        page_style=_package_file("page.css"),
        title=escape(report.title),
        lead=escape(report.lead),
        setting_style="".join(_setting_style(number) for number in range(len(report.settings))),
        setting_inputs="".join(_setting_input(number) for number in range(len(report.settings))),
        setting_labels=_setting_labels(report.settings),
        table=_table(report.columns, report.rows),
        text=coloured_text(report.pieces, resolutions, tone),
        text_key=tone.key("h"),
        heat_maps="".join(
            f'<div class="pane p{number}">{heat_map(rows, heat)}</div>'
            for number, rows in enumerate(heads)
        ),
        heat_key=heat.key("h"),
        charts="".join(_chart(panel) for panel in report.panels),
        chart_legend=legend(series.name for series in report.panels[0].series)
        if report.panels
        else "<p>The text was too short for a far field.</p>",
        continuations="".join(_continuation(one) for one in report.continuations),
        facts="".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in report.facts),
    )


def _package_file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _setting_style(number: int) -> str:
    """Rules that hold while a setting is chosen; radio buttons choose, so no script is needed."""
    chosen, letter = f"#setting{number}:checked~main", LETTERS[number]
    shades = "".join(f"{chosen} .{letter}{n}{{background:var(--k{n})}}" for n in range(9))
    return (
        f"{shades}{chosen} .p{number}{{display:block}}"
        f"{chosen} label[for=setting{number}]{{background:var(--ink);color:var(--paper)}}"
        f"#setting{number}:focus-visible~main label[for=setting{number}]"
        "{outline:3px solid var(--s0);outline-offset:2px}"
    )


def _setting_input(number: int) -> str:
    checked = " checked" if number == 0 else ""
    return f'<input type="radio" name="setting" id="setting{number}"{checked}>'


def _setting_labels(settings: Sequence[Setting]) -> str:
    return "".join(
        f'<label for="setting{number}">{escape(setting.name)}</label>'
        for number, setting in enumerate(settings)
    )


def _table(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, cells in rows
    )
    head = f"<thead><tr><td></td>{head}</tr></thead>"
    return f'<table class="measures">{head}<tbody>{body}</tbody></table>'


def _chart(panel: Panel) -> str:
    drawing = line_chart(
        panel.series,
        title=f"Error against compute, {panel.title}",
        x_label="far keys read exactly",
        y_label="error of the output",
    )
    return f"<figure><figcaption>{escape(panel.title)}</figcaption>{drawing}</figure>"


def _continuation(one: Continuation) -> str:
    rest = f"<mark>{escape(one.rest)}</mark>" if one.rest else ""
    return (
        f"<article><h3>{escape(one.name)}</h3><p class=note>{escape(one.note)}</p>"
        f"<blockquote>{escape(one.shared)}{rest}</blockquote></article>"
    )
