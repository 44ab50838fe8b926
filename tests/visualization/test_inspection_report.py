"""The page as text: what it holds, what it can never do, and what it refuses to show."""

import copy
import json
import math
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.visualization import inspection_report
from adaptive_attention_tiling.visualization.inspection_report import (
    check_document,
    render_inspection,
)
from adaptive_attention_tiling.visualization.inspection_report.page import _SCRIPTS
from adaptive_attention_tiling.visualization.palette import DARK, LIGHT

HOSTILE = (
    "</script><script>alert(1)</script><!-- \u2028\u2029 & \ud800 $title <img src=x onerror=a>"
)
VOID = {"meta", "input", "br", "link"}


class Page(HTMLParser):
    """The tags, and the text inside each script and style."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.inside = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style", "title"):
            self.inside.append((self.open[-1], data))

    def text(self, tag):
        return [data for name, data in self.inside if name == tag]


@pytest.fixture(scope="module")
def document(make_document):
    return make_document(2, 3, 40, queries=4, keys=6)


@pytest.fixture(scope="module")
def page(document):
    return render_inspection(document)


def test_the_page_holds_the_document(document, page):
    parsed = Page(page)
    assert parsed.open == []
    data, program = parsed.text("script")
    assert json.loads(data) == document
    assert program.startswith("(() => {")
    assert parsed.text("title") == ["Attention of planted/model-135M"]


def test_hostile_text_stays_data(document):
    hostile = copy.deepcopy(document)
    hostile["pieces"][3] = hostile["model"] = hostile["options"][1]["name"] = HOSTILE
    hostile["by_head"][0][0]["recommendation"]["reason"] = HOSTILE
    # A lone surrogate cannot be written as UTF-8, so in the title it has another form.
    hostile["model"] = HOSTILE.replace("\ud800", "")
    page = render_inspection(hostile)
    page.encode("utf-8")
    parsed = Page(page)
    assert [tag for tag, _ in parsed.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert json.loads(parsed.text("script")[0]) == hostile
    assert not set("<>&\u2028\u2029") & set(parsed.text("script")[0])


def test_nothing_is_fetched_and_nothing_may_be(page):
    data = Page(page).text("script")[0]
    rest = re.sub(r"sha256-[\w+/=]+", "", page.replace(data, ""))
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<link|<img|<iframe|\ssrc=", rest)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(|XMLHttp"
        r"|WebSocket|sendBeacon|import\(|\.src\b|setTimeout\(['\"]|DOMParser|javascript:",
        rest,
    )
    attributes = [name for _, given in Page(page).tags for name in given]
    assert not any(name.startswith("on") or name == "style" for name in attributes)


def test_the_policy_allows_this_style_and_this_program_only(page):
    parsed = Page(page)
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a)
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"

    def told(text):
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert allowed["style-src"] == told(parsed.text("style")[0])
    assert allowed["script-src"] == told(parsed.text("script")[1])
    assert len(allowed) == 5


def test_every_part_of_the_program_is_in_the_page(page):
    there = {f.name for f in files(inspection_report).iterdir() if f.name.endswith(".js")}
    assert there == set(_SCRIPTS)
    assert len(_SCRIPTS) == len(there)
    for name in there:
        assert (files(inspection_report) / name).read_text(encoding="utf-8") in page


def change(document, path, value):
    """A copy with another value at a path such as ("by_head", 0, 1, "keys")."""
    changed = copy.deepcopy(document)
    at = changed
    for step in path[:-1]:
        at = at[step]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return changed


HEAD = ("by_head", 1, 2)
WRONG = [
    (("schema",), 2, "schema: got 2, expected 1"),
    (("pieces",), KeyError, "document: got no pieces"),
    (("layers",), 0, "layers: got 0, expected a whole number"),
    (("tokens",), 4.0, "tokens: got 4.0, expected a whole number"),
    (("kind",), "both", "kind: got both, expected decoder or encoder"),
    (("pieces",), ["a"], "pieces: got 1 entries, expected 40"),
    (("figures", 0), [], r"figures\[0\]: got list, expected a dict"),
    (("figures", 1, "unit"), KeyError, r"figures\[1\]: got no unit"),
    (("figures", 1, "name"), "entropy", "figures: got .*expected names that differ"),
    (("figures", 0, "values"), [[1.0] * 3], r"figures.entropy: got 1 rows of 3, expected 2 layers"),
    (("figures", 0, "values"), [[1.0], [1.0] * 3], "figures.entropy: got 2 rows of 1 and 3"),
    (("patterns", 0, "z"), [], "patterns.previous token.z: got 0 rows of nothing"),
    (
        ("patterns", 0, "matching", 1, "head"),
        3,
        "patterns.previous token.matching: got 3, expected",
    ),
    (("patterns", 0, "matching", 1, "layer"), 2, "patterns.previous token.matching: got 2"),
    (("patterns", 0, "matching", 0), {}, "patterns.previous token.matching: got no layer, head"),
    (("options", 1, "kind"), KeyError, r"options\[1\]: got no kind"),
    (("budgets", 0, "harm"), KeyError, r"budgets\[0\]: got no harm"),
    (("budgets", 1, "choice", 1, 1), 6, r"budgets\[1\].choice: got 6, expected 0 to 5"),
    (("budgets", 2, "choice", 0, 1), 0.5, r"budgets\[2\].choice: got 0.5, expected 0 to 5"),
    (("by_head",), [[{}] * 3], "by_head: got 1 rows of 3"),
    ((*HEAD, "period"), KeyError, r"by_head\[1\]\[2\]: got no period"),
    ((*HEAD, "queries", 0), 40, r"by_head\[1\]\[2\].queries: got 40, expected 0 to 39"),
    ((*HEAD, "keys"), [], r"by_head\[1\]\[2\].keys: got 0 entries, expected 4"),
    ((*HEAD, "weights", 1), [0.5], r"by_head\[1\]\[2\].weights: got 1 entries, expected 6"),
    ((*HEAD, "keys", 1, 0), -1, r"by_head\[1\]\[2\].keys: got -1, expected 0 to 39"),
    ((*HEAD, "profile", "mass"), [], r"by_head\[1\]\[2\].profile.mass: got 0 entries"),
    ((*HEAD, "bottlenecks", 0), [1], r"by_head\[1\]\[2\].bottlenecks: got 1 entries, expected 2"),
    ((*HEAD, "bottlenecks", 0), [1, 40], r"by_head\[1\]\[2\].bottlenecks: got 40"),
    ((*HEAD, "tiles", "resolution"), [], r"by_head\[1\]\[2\].tiles.resolution: got 0 entries"),
    ((*HEAD, "splats", "axes"), KeyError, r"by_head\[1\]\[2\].splats: got no axes"),
    ((*HEAD, "trials", 0), {}, r"by_head\[1\]\[2\].trials\[0\]: got no option, cost, error"),
    ((*HEAD, "trials", 0, "option"), 6, r"by_head\[1\]\[2\].trials: got 6, expected 0 to 5"),
    ((*HEAD, "recommendation", "option"), -1, r"by_head\[1\]\[2\].recommendation: got -1"),
    ((*HEAD, "sensitivity"), math.nan, r"by_head\[1\]\[2\].sensitivity: got nan, expected text"),
    ((*HEAD, "weights", 0, 0), math.inf, r"by_head\[1\]\[2\].weights\[0\]\[0\]: got inf"),
    (("machine", "cores"), {1}, r"machine.cores: got \{1\}, expected text"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=lambda x: None)
def test_what_cannot_be_shown_is_refused_by_name(document, path, value, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        render_inspection(change(document, path, value))


def test_parts_that_a_head_lacks_are_allowed(document):
    for part, value in [("tiles", None), ("splats", None), ("period", None), ("bottlenecks", [])]:
        check_document(change(document, (*HEAD, part), value))
    check_document(change(document, ("figures", 0, "values", 0, 0), None))


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_from_what_it_can_stand_on(colours):
    told = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", colours))
    pairs = [(text, ground) for text in ("ink", "soft") for ground in ("paper", "card")]
    pairs += [(f"s{n}", ground) for n in range(6) for ground in ("paper", "card")]
    pairs += [("on-shade", f"k{n}") for n in range(9)]
    for text, ground in pairs:
        low, high = sorted((luminance(told[text]), luminance(told[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)
