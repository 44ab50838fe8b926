import math
import re
from html.parser import HTMLParser

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.visualization import (
    Continuation,
    Panel,
    ReadingReport,
    Series,
    Setting,
    render,
)
from adaptive_attention_tiling.visualization.plot import MARKERS

HOSTILE = "<script>alert('x')</script> & $title \"quoted\" </div>"


def make_report(text="some words", settings=2, panels=1) -> ReadingReport:
    return ReadingReport(
        title=f"How {text} was read",
        lead=text,
        columns=[text, "exact"],
        rows=[(text, [text, "1.0"])],
        pieces=["one ", "two ", text],
        settings=[
            Setting(
                name=f"{text} {number}",
                piece_resolution=[math.nan, 0.1, 1.0],
                read_by_head=[[0.01, 0.5], [math.nan, 1.0]],
            )
            for number in range(settings)
        ],
        panels=[
            Panel(title=text, series=[Series(name=text, points=[(0.0, 0.5), (0.1, 0.02)])])
            for _ in range(panels)
        ],
        continuations=[Continuation(name=text, note=text, shared=text, rest=text)],
        facts=[(text, text)],
    )


VOID = {"meta", "input", "br", "link"}


class Page(HTMLParser):
    """Collects tags and text, and checks that what is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_every_tag_is_closed():
    assert Page(render(make_report())).open == []


def test_hostile_text_stays_text():
    page = Page(render(make_report(HOSTILE)))
    names = {tag for tag, _ in page.tags}
    assert "script" not in names
    assert page.open == []
    shown = "".join(page.text)
    # Title and heading, lead, a column, a row and its cell, the text, two labels twice, a figure,
    # a mark's tip and the legend, four in the continuation, two facts.
    assert shown.count(HOSTILE) >= 18
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_nothing_is_fetched_and_nothing_may_be():
    page = render(make_report())
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<script|<img|<iframe| src=", page)
    allowed = {"meta", "style", "title", "svg", "input", "label"}
    assert {
        tag for tag, _ in Page(page).tags if tag in {"link", "script", "img", *allowed}
    } <= allowed


def test_shades_follow_the_numbers_of_each_setting():
    page = render(make_report())
    assert '<i class="near near">one </i>' in page
    assert '<i class="a0 b0">two </i>' in page
    assert '<i class="a8 b8">some words</i>' in page


def test_neighbours_that_look_alike_share_an_element():
    report = make_report("three", settings=1)
    same = Setting(name="s", piece_resolution=[0.2, 0.2, 0.9], read_by_head=[[0.5]])
    page = render(ReadingReport(**{**vars(report), "settings": [same]}))
    assert '<i class="a0">one two </i><i class="a8">three</i>' in page


def test_settings_are_chosen_without_a_script():
    page = Page(render(make_report()))
    inputs = [attributes for tag, attributes in page.tags if tag == "input"]
    assert [box["id"] for box in inputs] == ["setting0", "setting1"]
    assert ["checked" in box for box in inputs] == [True, False]
    targets = {attributes["for"] for tag, attributes in page.tags if tag == "label"}
    assert targets == {"setting0", "setting1"}
    assert page.tags.index(("input", inputs[1])) < [tag for tag, _ in page.tags].index("main")


def test_heat_map_shows_per_cents_and_a_dash_for_no_far_field():
    page = render(make_report())
    assert '<td class="h0" title="layer 0, head 0: 1.0 %">1</td>' in page
    assert '<td title="layer 1, head 0: –">–</td>' in page
    assert '<td class="h8" title="layer 1, head 1: 100 %">100</td>' in page


def test_every_series_that_a_chart_can_mark_has_its_colour_and_its_dash():
    page = render(make_report())
    for number in range(len(MARKERS)):
        assert page.count(f"--s{number}:#") == 2
        assert f".s{number}{{color:var(--s{number});fill:var(--s{number})}}" in page
    dashes = re.findall(r"\.s\d \.line\{stroke-dasharray:([\d ]+)\}", page)
    assert len(set(dashes)) == len(MARKERS) - 1  # the first is solid


def test_without_a_far_field_the_page_says_so():
    report = make_report(panels=0)
    nothing = Setting(name="s", piece_resolution=[math.nan] * 3, read_by_head=[[math.nan]])
    page = render(ReadingReport(**{**vars(report), "settings": [nothing]}))
    assert "too short for a far field" in page
    assert Page(page).open == []


@pytest.mark.parametrize("count", [0, 9])
def test_a_number_of_settings_that_cannot_be_shown_is_refused(count):
    with pytest.raises(ArgumentError, match="settings: got"):
        render(make_report(settings=count))
