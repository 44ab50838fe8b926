"""Pictures as documents: notes of any length, scales of shades."""

import re
from xml.etree import ElementTree

import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.visualization.picture import LETTER, picture
from adaptive_attention_tiling.visualization.shaded_grid import shade_key, shaded_grid
from adaptive_attention_tiling.visualization.shades import Shades

SVG = "{http://www.w3.org/2000/svg}"


def make(note, width=400.0):
    return picture('<rect id="body"/>', title="t & t", note=note, width=width, height=100)


def test_a_short_note_is_one_line_above_the_body():
    root = ElementTree.fromstring(make("short").svg)
    assert [(t.text, t.get("y")) for t in root.iter(f"{SVG}text")] == [
        ("t & t", "24.0"), ("short", "42.0"),
    ]  # fmt: skip
    assert root.get("height") == "100"
    assert root.find(f"{SVG}rect[@id='body']") is not None


def test_a_long_note_goes_on_below_and_pushes_the_body_down():
    note = " ".join(["several"] * 20)
    root = ElementTree.fromstring(make(note).svg)
    lines = list(root.iter(f"{SVG}text"))[1:]
    assert " ".join(line.text for line in lines) == note == root.find(f"{SVG}desc").text
    assert [line.get("y") for line in lines] == ["42.0", "58.0", "74.0"]
    assert all(16 + LETTER * len(line.text) <= 400 - 4 for line in lines)
    assert root.get("height") == "132"
    (moved,) = root.findall(f"{SVG}g")
    assert moved.get("transform") == "translate(0 32)"
    assert moved[0].get("id") == "body"


def test_a_picture_fits_narrow_pages(tmp_path):
    path = make("short").save(tmp_path / "a.html")
    assert 'name="viewport" content="width=device-width' in path.read_text(encoding="utf-8")
    assert re.search(r"\.aat\{[^}]*max-width:100%;height:auto", make("short").svg)
    with pytest.raises(ArgumentError, match="path: got"):
        make("short").save(tmp_path / "a.png")


def test_golden_linear_shades():
    shades = Shades(-1.0, 1.0, logarithmic=False)
    assert [shades.shade(u) for u in (-9.0, -1.0, 0.0, 0.99, 9.0)] == [0, 0, 4, 8, 8]
    assert [shades.value(share) for share in (0.0, 0.25, 1.0)] == [-1.0, -0.5, 1.0]
    drawing = shaded_grid(torch.tensor([[-9.0, 0.0, 1.0]]), shades, x=0, y=0, width=3, height=1)
    assert re.findall(r'class="k(\d)" d="M(\d)', drawing) == [("0", "0"), ("4", "1"), ("8", "2")]
    assert re.findall(r">([^<]+)</text>", shade_key(shades, x=0, y=0, width=9, text=str)) == [
        "-1.0", "0.0", "1.0",
    ]  # fmt: skip
