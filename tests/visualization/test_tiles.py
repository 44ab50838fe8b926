"""Pictures of tilings: sound XML whose marks are where the tiles are."""

import math
import re
from collections import Counter
from itertools import pairwise
from xml.etree import ElementTree

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.ops.tiled_attention import TileLayout, tiled_attention
from adaptive_attention_tiling.tiling import TileManager, Tiling
from adaptive_attention_tiling.visualization.tiles import (
    adaptation_picture,
    cut_picture,
    tiling_picture,
)
from adaptive_attention_tiling.visualization.tiles.adaptation import changes
from adaptive_attention_tiling.visualization.tiles.bars import fraction, spans_of
from adaptive_attention_tiling.visualization.tiles.cut import LOOKS
from adaptive_attention_tiling.visualization.tiles.flow import LINE_HEIGHT, WIDTH, lay_out, visible

SVG = "{http://www.w3.org/2000/svg}"
LAYOUT = TileLayout(super_block=16, tile=4, group=2, cells=1, window=16, sinks=2, scouts=8)
WORDS = ("the ", "quick", " <brown>", " & ", '"fox"\n')


def make(*rows):
    """A tiling from lists of (length, resolution); losses are 10, 20, ... and costs 3, 6, ..."""
    most, tokens = max(map(len, rows)), sum(length for length, _ in rows[0])
    length, start = torch.zeros(len(rows), most).long(), torch.full((len(rows), most), tokens)
    resolution = torch.ones(len(rows), most)
    for row, tiles in enumerate(rows):
        for column, (size, fineness) in enumerate(tiles):
            start[row, column] = length[row].sum()
            length[row, column], resolution[row, column] = size, fineness
    number = torch.arange(1.0, len(rows) + 1)[:, None]
    return Tiling(
        tokens=tokens,
        super_block=tokens,
        overhead=0.0,
        start=start,
        length=length,
        resolution=resolution,
        block_loss=10 * number,
        block_cost=3 * number,
        price=torch.full_like(number, math.nan),
    )


def pieces(tokens):
    return [WORDS[token % len(WORDS)] for token in range(tokens)]


def report(tokens=64, *, layout=LAYOUT, heads=4, key_heads=2, **options):
    query = 2 * torch.randn(1, heads, tokens, 8)
    key, value = 2 * torch.randn(1, key_heads, tokens, 8), torch.randn(1, key_heads, tokens, 8)
    options = {"tolerance": 0.3, "is_causal": True} | options
    return tiled_attention(
        query, key, value, enable_gqa=True, layout=layout, return_report=True, **options
    )[1]


def root_of(picture):
    return ElementTree.fromstring(picture.svg)


def texts(picture):
    return [text.text for text in root_of(picture).iter(f"{SVG}text")]


def titles(picture):
    return [title.text for title in root_of(picture).iter(f"{SVG}title")]


def drawn(name):
    coarse, fine = make([(16, 1 / 4), (48, 1 / 2)]), make([(16, 1.0), (16, 1 / 8), (32, 1 / 2)])
    if name == "text":
        return tiling_picture(fine, pieces(64), torch.rand(64))
    if name == "cut":
        choices = torch.tensor([0.0, 1 / 4, 1 / 8, 1 / 8, *[1.0] * 12])  # every way of reading
        found = report(tolerance=None, resolution=choices)
        return cut_picture(found, pieces(64), layout=LAYOUT, block=2)
    return adaptation_picture(coarse, fine)


@pytest.mark.parametrize("name", ["text", "cut", "adaptation"])
def test_pictures_are_sound_and_ask_for_nothing(name, tmp_path):
    picture = drawn(name)
    root = root_of(picture)
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[1].tag == f"{SVG}desc"
    assert root[0].text == texts(picture)[0]
    assert " ".join(texts(picture)[1:]).startswith(root[1].text)
    assert "nan" not in picture.svg
    page = picture.save(tmp_path / "tiles.html").read_text(encoding="utf-8")
    assert f"<title>{root[0].text}</title><body>" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"<script|url\(|href|@import", page)


@pytest.mark.parametrize("name", ["text", "cut", "adaptation"])
def test_every_style_in_use_has_a_light_and_a_dark_value(name):
    svg = drawn(name).svg
    light, dark = svg.split("@media (prefers-color-scheme:dark)")
    for colour in set(re.findall(r"var\(--(\w+)\)", svg)):
        both = [re.search(rf"--{colour}:(#\w{{6}})", part) for part in (light, dark.split("}}")[0])]
        assert both[0], colour
        assert both[1], colour
        assert both[0][1] != both[1][1], colour
    styles = set(re.findall(r'class="(\w+)"', svg)) - {"aat"}
    assert all(f".aat .{style}{{" in svg for style in styles), styles


@pytest.mark.parametrize("name", ["text", "cut", "adaptation"])
def test_everything_drawn_lies_on_the_paper(name):
    picture = drawn(name)
    root = root_of(picture)
    wide, high = float(root.get("width")), float(root.get("height"))
    for mark in root.iter():
        if mark.tag in (f"{SVG}rect", f"{SVG}text") and "transform" not in mark.attrib:
            x, y = float(mark.get("x", 0)), float(mark.get("y", 0))
            assert 0 <= x <= x + float(mark.get("width", 0)) <= wide
            assert 0 <= y <= y + float(mark.get("height", 0)) <= high


def test_golden_bars_are_as_wide_as_tiles_and_lower_with_every_halving():
    picture = adaptation_picture(make([(8, 1.0), (24, 1 / 4)]), make([(16, 1 / 2), (16, 1 / 4)]))
    bars = [bar for bar in root_of(picture).iter(f"{SVG}rect") if bar.get("class") == "bar"]
    sizes = [(float(bar.get("width")), float(bar.get("height"))) for bar in bars]
    assert sizes == [(160, 84), (480, 28), (320, 56), (320, 28)]
    assert bars[0][0].text == "tokens 0 to 7: resolution 1"
    assert bars[1][0].text == "tokens 8 to 31: resolution 1/4"
    assert float(bars[1].get("x")) == float(bars[0].get("x")) + 160
    for bar in bars:
        foot = float(bar.get("y")) + float(bar.get("height"))
        assert foot in (82 + 84, 82 + 84 + 76 + 84)


def test_the_text_is_whole_and_escaped():
    tiling = make([(4, 1.0), (6, 1 / 2)])
    words = [*pieces(8), "bell\x07", "\ud800"]
    picture = tiling_picture(tiling, words, torch.rand(10))
    letters = [
        text.text for text in root_of(picture).iter(f"{SVG}text") if text.get("class") == "piece"
    ]
    assert letters == [*map(visible, pieces(8)), "bell\ufffd", "\ufffd"]
    assert "<brown>" not in picture.svg
    assert "&lt;brown&gt;" in picture.svg


def test_each_token_has_its_density_and_each_tile_its_border_and_thickness():
    tiling = make([(3, 1.0), (4, 1 / 4), (2, 1 / 2)])
    density = torch.tensor([8.0, 0.0, 8.0, 0.008, 0.02, 0.3, 0.3, 4.0, 0.1])
    picture = tiling_picture(tiling, ["word"] * 9, density)
    groups = [g for g in root_of(picture).iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    assert [len(g.findall(f"{SVG}text")) for g in groups] == [3, 4, 2]
    assert all(g[-1].get("class") == "border" for g in groups)
    assert groups[1][0].text.startswith("tile 1, tokens 3 to 6: resolution 1/4, mean density 1.96")
    shades = [r.get("class") for g in groups for r in g if r.get("class", "").startswith("k")]
    assert [shades[0], shades[1], shades[2], shades[7]] == ["k8", "k0", "k8", "k8"]
    assert shades[3] < shades[5] < shades[7]
    lines = [{float(r.get("height")) for r in g if r.get("class") == "near"} for g in groups]
    assert lines == [{5.0}, {1.7}, {3.3}]
    for g in groups:
        assert g[-1].get("d").startswith(f"M{float(g.find(f'{SVG}text').get('x')):.1f} ")


def test_a_part_of_the_text_names_its_tokens():
    tiling = make([(8, 1.0), (8, 1 / 2)], [(4, 1 / 2), (12, 1 / 4)])
    picture = tiling_picture(tiling, pieces(16), torch.rand(2, 16), row=1, span=(2, 9))
    assert texts(picture)[0] == "Density and tiles, tokens 2 to 8"
    expected = (2 * 0.5 + 5 * 0.25) / 7
    assert texts(picture)[1].startswith(f"2 tiles, mean resolution {expected:.3g};")
    assert "tile 1, tokens 4 to 8: resolution 1/4" in " ".join(titles(picture))
    groups = [g for g in root_of(picture).iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]
    words = [[text.text for text in g.findall(f"{SVG}text")] for g in groups]
    shown = [*map(visible, pieces(16))]
    assert words == [shown[2:4], shown[4:9]]
    bars = [bar for bar in root_of(picture).iter(f"{SVG}rect") if bar.get("class") == "bar"]
    edges = [(float(b.get("x")), float(b.get("x")) + float(b.get("width"))) for b in bars]
    (frame,) = [r for r in root_of(picture).iter(f"{SVG}rect") if r.get("class") == "frame"]
    left, wide = float(frame.get("x")), float(frame.get("width"))
    border = left + wide * 2 / 7
    assert edges == [
        pytest.approx((left, border), abs=0.02),
        pytest.approx((border, left + wide), abs=0.02),
    ]


def test_lines_hold_what_fits_and_break_where_the_text_does():
    cells = lay_out(["ab\n", "c", "字", "x" * 300, "y", "e\u0301"], x=10, first=5)
    assert [cell.line for cell in cells] == [0, 1, 1, 2, 3, 3]
    assert [cell.token for cell in cells] == list(range(5, 11))
    unit = WIDTH / 100
    assert [round(cell.width / unit) for cell in cells] == [3, 1, 2, 100, 1, 1]
    assert cells[2].x == pytest.approx(10 + unit)
    assert cells[3].top(100) == 100 + 2 * LINE_HEIGHT
    many = lay_out(pieces(500), x=0)
    for before, after in pairwise(many):
        if before.line == after.line:
            assert after.x == pytest.approx(before.x + before.width)
        assert after.x + after.width <= WIDTH + 1e-6


def expected_ways(found, head, block, layout, tokens):
    """Token by token, from the report's resolutions."""
    first = block * layout.super_block
    ways = ["exactly, as always"] * tokens
    for token in range(tokens):
        if token >= first + layout.super_block:
            ways[token] = "not in view"
        elif token >= first:
            ways[token] = "the queries themselves, exactly"
    words = {
        0.0: "not read",
        1 / layout.tile: "through the mean of its tile",
        1.0: "exactly, opened by the plan",
    }
    group = head * found.tiles.shape[1] // found.resolution.shape[1]
    for tile, resolution in enumerate(found.resolution[0, head, block].tolist()):
        if not math.isnan(resolution):
            for token in found.tiles[0, group, tile].tolist():
                if token >= layout.sinks:
                    ways[token] = (
                        f"tile {tile}: {words.get(resolution, 'through the mean of several tiles')}"
                    )
    return [way if way.startswith("tile") else f": {way}" for way in ways]


@pytest.mark.parametrize("options", [{}, {"layout": "contiguous"}, {"layout": "drop"}])
def test_the_cut_is_the_report_token_by_token(options):
    more = {"contiguous": {"order": "contiguous"}, "drop": {"rest": "drop"}}
    layout = TileLayout(
        super_block=16, tile=4, group=2, window=16, sinks=2, scouts=8,
        **more.get(options.get("layout"), {}),
    )  # fmt: skip
    resolution = torch.tensor([0.0, 1 / 8, 1 / 8, 1 / 4, 1 / 4, 1.0]).repeat_interleave(2)
    choices = torch.stack([resolution.roll(2 * n) for n in range(4)])[None, :, None]
    options = {"resolution": torch.nn.functional.pad(choices, (0, 8), value=1.0)}
    found = report(78, layout=layout, tolerance=None, **options)
    seen = Counter()
    for head in (0, 3):
        for block in (0, 3, 4):
            picture = cut_picture(found, pieces(78), layout=layout, head=head, block=block)
            told = [title for title in titles(picture) if title.startswith("token ")]
            expected = expected_ways(found, head, block, layout, 78)
            assert len(told) == 78
            for token, (one, other) in enumerate(zip(told, expected, strict=True)):
                assert one == f"token {token}" + (other if other.startswith(":") else f", {other}")
            seen.update(one.split(": ")[1] for one in told)
    assert len(seen) == len(LOOKS), seen


def test_a_token_is_drawn_as_the_key_says():
    """By its letters and lines: without any colour."""
    marks = [(style, lines) for _, style, _, lines in LOOKS]
    assert len(set(marks)) == len(LOOKS)
    picture = drawn("cut")
    seen = set()
    for g in root_of(picture).iter(f"{SVG}g"):
        words = g[0].text.split(": ")[1]
        (text,) = g.findall(f"{SVG}text")
        top = float(text.get("y")) - 13
        lines = tuple(
            (round(float(r.get("y")) - top, 1), float(r.get("height")))
            for r in g.findall(f"{SVG}rect")
            if r.get("class") == "near"
        )
        assert (text.get("class"), lines) == marks[[look[0] for look in LOOKS].index(words)]
        seen.add(words)
    assert len(seen) >= 6


def test_the_key_counts_tokens_and_the_note_rows():
    layout = TileLayout(super_block=16, tile=4, group=2, window=0, sinks=0, scouts=8)
    found = report(32, layout=layout, resolution=0.25, tolerance=None)
    picture = cut_picture(found, pieces(32), layout=layout)
    assert "through the mean of its tile: 16 tokens" in texts(picture)
    assert "the queries themselves, exactly: 16 tokens" in texts(picture)
    assert texts(picture)[0] == "What the queries at tokens 16 to 31 read, head 0"
    assert (
        texts(picture)[1] == "20 rows for 32 tokens in view; far tokens read exactly: 0.0 % of 16"
    )


def test_without_causality_later_tokens_are_in_view():
    found = report(64, is_causal=False)
    picture = cut_picture(found, pieces(64), layout=LAYOUT, block=0, is_causal=False)
    assert "not in view" not in picture.svg
    assert "64 tokens in view" in texts(picture)[1]


def test_golden_changes_are_runs_of_one_change():
    before = make([(1, 1.0)] * 8, [(4, 1 / 2), (4, 1 / 4)])
    after = make([(1, 1.0)] * 8, [(2, 1 / 2), (4, 1 / 8), (2, 1.0)])
    assert changes(before, after, 0) == []
    assert changes(before, after, 1) == [
        (2, 4, 1 / 2, 1 / 8),
        (4, 6, 1 / 4, 1 / 8),
        (6, 8, 1 / 4, 1.0),
    ]
    picture = adaptation_picture(before, after, row=1)
    assert texts(picture)[1] == (
        "Resolution rose at 2 tokens (triangles up) and fell at 4 (triangles down)"
    )
    marks = [mark for mark in root_of(picture).iter(f"{SVG}path") if mark[0].text]
    assert [mark.get("class") for mark in marks] == ["far", "far", "near"]
    assert marks[0][0].text == "tokens 2 to 3: resolution 1/2 before, 1/8 after"
    bases = [float(re.match(r"M\S+ (\S+)h", mark.get("d"))[1]) for mark in marks]
    tips = [float(re.search(r"(\S+)z$", mark.get("d"))[1]) for mark in marks]
    assert [tip > base for base, tip in zip(bases, tips, strict=True)] == [True, True, False]
    assert "before: 2 tiles, mean resolution 0.375, loss 20, compute 6 rows" in texts(picture)
    assert "after: 3 tiles, mean resolution 0.438, loss 20, compute 6 rows" in texts(picture)


def test_tilings_of_the_manager_have_pictures():
    states = torch.randn(2, 100, 4).cumsum(1)
    manager = TileManager(4, 16, super_block=32)
    coarse, fine = (manager.optimize_tiling(states, budget) for budget in (0.3, 0.7))
    picture = tiling_picture(fine, pieces(100), torch.rand(2, 100), row=1)
    assert sum("resolution" in title for title in titles(picture)) == 2 * len(spans_of(fine, 1))
    adaptation_picture(coarse, fine, row=1)


@pytest.mark.parametrize(
    ("resolution", "words"),
    [(1.0, "1"), (0.5, "1/2"), (1 / 16, "1/16"), (0.3, "0.3"), (0.4321, "0.432"), (1 / 3, "1/3")],
)
def test_golden_resolutions_in_words(resolution, words):
    assert fraction(resolution) == words
    assert fraction(float(torch.tensor(resolution))) == words


def test_a_text_without_density_has_a_picture():
    tiling_picture(make([(5, 1.0)]), pieces(5), torch.zeros(5))


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("pieces", lambda t: tiling_picture(t, pieces(7), torch.rand(8))),
        ("density", lambda t: tiling_picture(t, pieces(8), torch.rand(7))),
        ("density", lambda t: tiling_picture(t, pieces(8), torch.rand(8) - 1)),
        ("row", lambda t: tiling_picture(t, pieces(8), torch.rand(8), row=1)),
        ("row", lambda t: adaptation_picture(t, t, row=-1)),
        ("span", lambda t: tiling_picture(t, pieces(8), torch.rand(8), span=(4, 4))),
        ("pieces", lambda t: lay_out(["a"] * 5000, x=0)),
        ("after", lambda t: adaptation_picture(t, make([(9, 1.0)]))),
        ("pieces", lambda t: cut_picture(report(), pieces(63), layout=LAYOUT)),
        ("block", lambda t: cut_picture(report(), pieces(64), layout=LAYOUT, block=4)),
        ("head", lambda t: cut_picture(report(), pieces(64), layout=LAYOUT, head=4)),
        ("sequence", lambda t: cut_picture(report(), pieces(64), layout=LAYOUT, sequence=1)),
    ],
)
def test_what_is_refused_is_named(name, draw):
    with pytest.raises(ArgumentError) as caught:
        draw(make([(8, 1.0)]))
    assert caught.value.name == name
