"""A picture that stands alone: SVG with its own colours for light and dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

from ..errors import ArgumentError
from .palette import palette

# A picture paints its own paper, so it is legible anywhere.
_STYLE = (
    palette(".aat")
    + """
.aat{background:var(--paper);color:var(--ink);max-width:100%;height:auto;
font:12px system-ui,-apple-system,"Segoe UI",sans-serif}
.aat text{fill:var(--soft)}
.aat .head{fill:var(--ink);font-size:14px;font-weight:600}
.aat .paper{fill:var(--paper)}
.aat .frame{fill:none;stroke:var(--line);vector-effect:non-scaling-stroke}
.aat .token{fill:var(--soft);fill-opacity:.55}
.aat .splat{fill:var(--s0);stroke:var(--s0);stroke-width:1.3;vector-effect:non-scaling-stroke}
.aat .centre{fill:var(--s0)}
.aat .near{fill:var(--s0)}
.aat .far{fill:var(--s1)}
.aat .piece{fill:var(--ink);font:11px ui-monospace,Menlo,Consolas,monospace;white-space:pre}
.aat .gone{fill:var(--soft);font:11px ui-monospace,Menlo,Consolas,monospace;white-space:pre;
text-decoration:line-through}
.aat .later{fill:var(--soft);fill-opacity:.6;font:11px ui-monospace,Menlo,Consolas,monospace;
white-space:pre}
.aat .border{stroke:var(--ink);stroke-width:1.4}
.aat .bar{fill:var(--s0);stroke:var(--paper);stroke-width:.5}
.aat .mark{stroke:var(--ink);stroke-dasharray:4 3;fill:none}
.aat .grid{stroke:var(--line);fill:none}
.aat .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke:currentColor}
.aat .s0{color:var(--s0);fill:var(--s0)}
.aat .s1{color:var(--s1);fill:var(--s1)}.aat .s1 .line{stroke-dasharray:7 3}
.aat .s2{color:var(--s2);fill:var(--s2)}.aat .s2 .line{stroke-dasharray:2 3}
.aat .s3{color:var(--s3);fill:var(--s3)}.aat .s3 .line{stroke-dasharray:8 3 2 3}
.aat .s4{color:var(--s4);fill:var(--s4)}.aat .s4 .line{stroke-dasharray:12 4}
.aat .s5{color:var(--s5);fill:var(--s5)}.aat .s5 .line{stroke-dasharray:5 2 1 2 1 2}
.aat .band{fill:var(--s0);fill-opacity:.14}
.aat .gap{fill:var(--s1);fill-opacity:.14}
.aat .curve{fill:none;stroke:var(--s0);stroke-width:1.6;stroke-linejoin:round}
.aat .free{fill:none;stroke:var(--s1);stroke-width:1.2;stroke-dasharray:4 3}
.aat .area{fill:var(--s0);fill-opacity:.22;stroke:var(--s0);stroke-width:1.4;stroke-linejoin:round}
.aat .edge{fill:none;stroke:var(--ink);stroke-width:1.3;stroke-linejoin:round;stroke-linecap:round}
.aat .behind{fill:none;stroke:var(--soft);stroke-opacity:.55;stroke-dasharray:3 3}
.aat .path{fill:none;stroke:var(--s0);stroke-width:2;stroke-linejoin:round}
.aat .thread{stroke:var(--paper);stroke-width:.8}
.aat .ink{fill:var(--ink)}
.aat .name{fill:var(--ink);stroke:var(--paper);stroke-width:3;stroke-linejoin:round;
paint-order:stroke}
.aat .k0{fill:var(--k0)}.aat .k1{fill:var(--k1)}.aat .k2{fill:var(--k2)}.aat .k3{fill:var(--k3)}
.aat .k4{fill:var(--k4)}.aat .k5{fill:var(--k5)}.aat .k6{fill:var(--k6)}.aat .k7{fill:var(--k7)}
.aat .k8{fill:var(--k8)}"""
)


_LINE = 16.0  # from one line of a note to the next
LETTER = 6.4  # width of a letter of 12 px on average


@dataclass(frozen=True)
class Picture:
    """A standalone SVG document. Notebooks show it; `save` writes it as .svg or .html."""

    svg: str
    title: str

    def _repr_html_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the picture; the ending of the path says as what."""
        path = Path(path)
        if path.suffix not in (".svg", ".html"):
            raise ArgumentError(
                "path", repr(str(path)), "a name that ends in .svg or .html", "add .svg"
            )
        text = self.svg
        if path.suffix == ".html":
            text = (
                '<!doctype html><html lang="en"><meta charset="utf-8">'
                '<meta name="color-scheme" content="light dark">'
                '<meta name="viewport" content="width=device-width, initial-scale=1">'
                f"<title>{escape(self.title)}</title><body>{self.svg}</body></html>"
            )
        path.write_text(text, encoding="utf-8")
        return path


def picture(body: str, *, title: str, note: str, width: float, height: float) -> Picture:
    """A picture of `body` under its title and note; the body begins at y = 52.

    A note longer than a line goes on below, and pushes the body down.
    """
    lines = wrap(note, int((width - 20) / LETTER)) or [""]
    more = _LINE * (len(lines) - 1)
    if more:
        body, height = f'<g transform="translate(0 {more:g})">{body}</g>', height + more
    told = "".join(label(16, 42 + _LINE * row, line) for row, line in enumerate(lines))
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" class="aat" {size} role="img">'
        f"<title>{escape(title)}</title><desc>{escape(note)}</desc><style>{_STYLE}</style>"
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>'
        f"{label(16, 24, title, style='head')}{told}{body}</svg>",
        title,
    )


def label(
    x: float, y: float, text: str, *, anchor: str = "start", style: str = "", turned: bool = False
) -> str:
    """A line of text; `turned` reads upwards."""
    kind = f' class="{style}"' if style else ""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text{kind} {place}{turn}>{escape(text)}</text>"
