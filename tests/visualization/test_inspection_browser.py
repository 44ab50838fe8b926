"""The report in a real browser: addresses, keys and focus, maps, what a query reads."""

import math
from collections import Counter
from contextlib import contextmanager

import pytest

from adaptive_attention_tiling.visualization.inspection_report import render_inspection

LAYERS, HEADS, TOKENS = 4, 3, 120


def heading(page):
    return page.inner_text("h1")


def focused(page):
    """The layer and head of the cell in focus."""
    data = page.evaluate("({...document.activeElement.dataset})")
    return int(data["layer"]), int(data["head"])


def at(page):
    return page.evaluate("location.hash")


@contextmanager
def leading_to(page, text):
    yield
    page.wait_for_function("text => document.querySelector('h1').innerText === text", arg=text)


def test_every_place_has_its_page(opened):
    page = opened()
    assert heading(page) == "What the attention of planted/model-135M does"
    for link, title in [("Map", "Map: entropy"), ("Head", "Layer 0, head 0"), ("Overview", "What")]:
        page.click(f"nav >> text={link}")
        page.wait_for_function(
            "t => document.querySelector('h1').innerText.startsWith(t)", arg=title
        )
        assert page.get_attribute("nav [aria-current=page]", "href").startswith("#")
        assert page.evaluate("document.activeElement.tagName") == "H1"


def test_what_was_found_is_told_in_words(opened, browsed):
    page = opened()
    found = page.inner_text(".findings >> nth=0")
    assert "2 heads attend at a fixed stride; the clearest, layer 0, head 0, every 8" in found
    assert "is matched by 2 heads, most surely by layer 1, head 1." in found
    entropy = next(line for line in found.splitlines() if line.startswith("entropy"))
    assert "least in layer 0, head 0 (0), most in layer 3, head 2 (4.39)" in entropy
    assert entropy.endswith("; it rises towards later layers.")
    assert "Every figure of every head lies within the bounds that its law gives." in found
    told = page.inner_text(".findings >> nth=1").splitlines()[0]
    budget = browsed["budgets"][0]
    counts = Counter(option for row in budget["choice"] for option in row)
    for option, count in counts.items():
        assert f"{count} {browsed['options'][option]['name'].strip()}" in told.replace("  ", " ")
    assert told.startswith("At 10 % of the cost of exact attention the heads take: ")
    assert "Predicted cost 9.9 %, predicted harm 0.1 nats per token." in told
    assert page.locator(".budgets tr >> nth=1").locator(".bar > span").count() == len(counts)


ADDRESSES = [
    ("#map-sink_mass", "Map: sink mass"),
    ("#map-budget.0.25", "Map: options for 25 % of the cost"),
    ("#map-nonsense", "Map: entropy"),
    ("#2-1", "Layer 2, head 1"),
    ("#4-0", "What the attention of planted/model-135M does"),
    ("#%E0%A4%A", "What the attention of planted/model-135M does"),
    ("#map-%E0%A4%A", "Map: entropy"),
    ("#3-2-curvature@59", "Layer 3, head 2"),
]


def test_an_address_opens_what_it_names(opened):
    for place, title in ADDRESSES:
        page = opened(place)
        assert heading(page) == title, place
    assert page.input_value("#figure") == "curvature"
    assert "From token 59," in page.inner_text("[role=status]")


def test_the_map_has_a_cell_for_each_head(opened, browsed):
    page = opened("#map-curvature")
    cells = page.query_selector_all("[role=grid] [role=gridcell]")
    values = [value for row in browsed["figures"][3]["values"] for value in row]
    assert len(cells) == LAYERS * HEADS
    low, high = min(values), max(values)
    for cell, value in zip(cells, values, strict=True):
        layer, head = int(cell.get_attribute("data-layer")), int(cell.get_attribute("data-head"))
        name = cell.get_attribute("aria-label")
        assert name.startswith(f"layer {layer}, head {head}: ")
        assert float(name.rpartition(" ")[2].replace("−", "-")) == pytest.approx(value, rel=6e-3)
        shade = min(8, int(9 * (value - low) / (high - low)))
        assert cell.get_attribute("class") == f"h{shade}"
    assert page.get_attribute("[role=grid]", "aria-label") == "curvature, a head in each cell"
    assert [cell.get_attribute("tabindex") for cell in cells].count("0") == 1


def test_a_head_without_a_number_says_so(opened):
    page = opened("#map-mixing_time")
    assert "no number" in page.get_attribute("td.unknown", "aria-label")
    assert page.locator("td.unknown").count() == 1
    page.select_option("#figure", "void")
    page.wait_for_selector("text=No head has a number here.")
    assert page.locator("td.unknown").count() == LAYERS * HEADS


def test_arrows_move_and_enter_opens(opened):
    page = opened("#map-entropy")
    page.focus("td[tabindex='0']")
    assert focused(page) == (0, 0)
    for key, place in [
        ("ArrowRight", (0, 1)), ("ArrowDown", (1, 1)), ("ArrowDown", (2, 1)), ("End", (2, 2)),
        ("ArrowRight", (2, 2)), ("Home", (2, 0)), ("Control+End", (3, 2)), ("ArrowDown", (3, 2)),
        ("Control+Home", (0, 0)), ("ArrowUp", (0, 0)), ("ArrowLeft", (0, 0)),
        ("ArrowDown", (1, 0)), ("ArrowRight", (1, 1)),
    ]:  # fmt: skip
        page.keyboard.press(key)
        assert focused(page) == place, key
    assert page.locator("td[tabindex='0']").count() == 1
    assert page.get_attribute("td:focus", "tabindex") == "0"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.inner_text(".readout").startswith("layer 1, head 1: 1.6 nats (rank 8 of 12")
    with leading_to(page, "Layer 1, head 1"):
        page.keyboard.press("Enter")
    assert at(page).startswith("#1-1-entropy@")
    with leading_to(page, "Map: entropy"):
        page.keyboard.press("Escape")
    assert focused(page) == (1, 1)
    with leading_to(page, "What the attention of planted/model-135M does"):
        page.keyboard.press("Escape")


def test_single_keys_lead_about_and_can_be_switched_off(opened):
    page = opened("#1-2-entropy")
    with leading_to(page, "Layer 2, head 0"):
        page.keyboard.press("n")
    with leading_to(page, "Layer 1, head 2"):
        page.keyboard.press("p")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "figure"
    page.keyboard.press("Tab")
    page.keyboard.press("?")
    assert page.is_visible("dialog >> text=choose a figure")
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog")
    assert heading(page) == "Layer 1, head 2"
    page.keyboard.press("o")
    page.keyboard.press("n")
    assert heading(page) == "Layer 1, head 2"
    page.keyboard.press("Escape")
    assert page.inner_text("h1") == "Map: entropy"


def test_heads_and_layers_are_sorted_by_what_is_shown(opened, browsed):
    values = browsed["figures"][2]["values"]
    page = opened("#map-sink_mass")

    def cells():
        return page.eval_on_selector_all(
            "[role=gridcell]", "all => all.map(c => [+c.dataset.layer, +c.dataset.head])"
        )

    page.select_option("#order", "heads of a layer by value")
    by_value = [
        [n, h] for n in range(LAYERS) for h in sorted(range(HEADS), key=lambda h: -values[n][h])
    ]
    assert cells() == by_value
    assert page.evaluate("document.activeElement.id") in ("order", "")
    page.select_option("#order", "layers by their mean")
    means = sorted(range(LAYERS), key=lambda n: -sum(values[n]))
    assert cells() == [[n, h] for n in means for h in range(HEADS)]


def test_a_chosen_query_shades_the_tokens_that_it_reads(opened, browsed):
    page = opened("#1-2-entropy@59")
    head = browsed["by_head"][1][2]
    shown = "all => all.map(e => +e.dataset.token)"

    def shaded():
        return set(page.eval_on_selector_all(".text .shade", shown))

    assert head["queries"] == [29, 59, 89, 119]
    assert shaded() == set(head["keys"][1])
    assert page.eval_on_selector_all(".text .asked", shown) == [59]
    assert page.eval_on_selector_all(".text .later", shown) == list(range(60, TOKENS))
    page.keyboard.press("j")
    assert shaded() == set(head["keys"][2])
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert shaded() == set(head["keys"][0])
    page.click(".text [data-token='106']")
    assert shaded() == set(head["keys"][3])  # of 89 and 119 the nearer
    assert at(page) == "#1-2-entropy@119"
    looks = page.eval_on_selector_all(
        ".text .shade", "all => all.map(e => [+e.dataset.token, e.className.match(/h[0-8]/)[0]])"
    )
    low = min(weight for row in head["weights"] for weight in row)  # the scale ends at 1
    along = [1 - math.log(weight) / math.log(low) for weight in head["weights"][3]]
    shades = [f"h{min(8, int(9 * share + 1e-9))}" for share in along]
    assert dict(looks) == dict(zip(head["keys"][3], shades, strict=True))
    assert shades[0] > shades[1] > shades[2]
    told = sum(head["weights"][3])
    assert f"hold {100 * told:.0f} %; the 114 others share {100 * (1 - told):.0f} %" in (
        page.inner_text("[role=status]")
    )
    assert page.inner_text(".told li >> nth=0").split()[1:] == ["50", "%", "119", "back"]


def test_the_recommendation_is_shown_with_its_reason_and_in_the_maps(opened, browsed):
    page = opened("#2-1")
    chosen = browsed["by_head"][2][1]["recommendation"]
    card = page.inner_text(".card")
    assert browsed["options"][chosen["option"]]["name"] in card
    assert "The cheapest within the tolerance at 2.1." in card
    assert page.locator("svg .chosen").count() == 1
    assert page.locator("svg .trial").count() == len(browsed["options"])
    page.goto(page.url.partition("#")[0] + "#map-budget.0.1")
    page.wait_for_selector(".heads .kind")
    choice = browsed["budgets"][0]["choice"]
    names = [browsed["options"][option]["name"] for row in choice for option in row]
    labels = page.eval_on_selector_all("[role=gridcell]", "all => all.map(c => c.ariaLabel)")
    assert [label.partition(": ")[2] for label in labels] == names


def test_every_map_has_a_table_beside_it(opened, browsed):
    page = opened("#map-curvature")
    page.click("summary")
    cells = page.eval_on_selector_all("details td", "all => all.map(c => c.innerText)")
    values = [value for row in browsed["figures"][3]["values"] for value in row]
    assert [float(cell.replace("−", "-")) for cell in cells] == pytest.approx(values, rel=6e-3)


def test_hostile_text_is_shown_as_text(opened, browsed):
    page = opened("#0-0@29")
    assert page.inner_text("[data-token='5']").strip() == browsed["pieces"][5].strip()
    assert page.locator("img").count() == 0
    page.click("nav >> text=Overview")
    page.wait_for_selector("strong >> text=onerror")
    page.click("text=See the scores")
    page.wait_for_selector("[role=grid]")


def bare_document(make_document):
    """An encoder of one head on two tokens, about which almost nothing could be told."""
    document = make_document(1, 1, 2, queries=2, keys=2)
    document.update(kind="encoder", patterns=[], budgets=[], violations=["layer 0, head 0: ifq"])
    head = document["by_head"][0][0]
    head.update(tiles=None, splats=None, period=None, bottlenecks=[], stationary=[])
    head.update(keys=[[1, 0], []], weights=[[0.5, 0.0], []], sensitivity=None)
    head["profile"] = {"offsets": [-1, 0, 1], "mass": [0.25, 0.5, 0.25]}
    for trial in head["trials"][1:]:
        trial["error"] = None
    return document


def test_a_model_of_which_little_is_known_has_its_pages(opened, make_document, tmp_path):
    path = tmp_path / "bare.html"
    path.write_text(render_inspection(bare_document(make_document)), encoding="utf-8")
    page = opened()
    for place, text in [
        ("", "1 figure outside the bounds of a law: layer 0, head 0: ifq."),
        ("#map-entropy", "layer"),
        ("#map-recommendation", "exact"),
        ("#0-0@0", "1 ahead"),
        ("#0-0@1", "the 0 heaviest keys told here hold 0 %; the 2 others share 100 %"),
    ]:
        page.goto("about:blank")
        page.goto(path.as_uri() + place)
        assert text in page.inner_text("main"), place
    assert page.locator("svg .trial").count() == 1  # those without an error have no place
    assert page.locator(".text .later").count() == 0  # an encoder sees all
