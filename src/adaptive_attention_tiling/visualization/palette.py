"""The colours of every page and picture, for light and for dark surroundings.

paper, ink, soft, line, card: ground, text, quiet text, rules, boxes. s0 to s5: series. k0 to k8:
shades from pale to strong, with text in `on-shade`. All text has a contrast of 4.5 or more.
"""

LIGHT = """--paper:#fdfcfa;--ink:#1d1c1a;--soft:#66625a;--line:#dcd7cd;--card:#f5f2ec;
--s0:#0072b2;--s1:#b34700;--s2:#00795a;--s3:#a1447a;--s4:#5a50c8;--s5:#7a6400;
--k0:#fdf6ea;--k1:#fcecd2;--k2:#fbe0b6;--k3:#fad297;--k4:#f8c276;--k5:#f5b055;--k6:#f09c38;
--k7:#e98623;--k8:#dd7014;--on-shade:#1d1c1a"""
DARK = """--paper:#16171a;--ink:#eae7e1;--soft:#a5a097;--line:#38393e;--card:#1f2024;
--s0:#56b4e9;--s1:#f0964a;--s2:#3fc79d;--s3:#dd94c0;--s4:#a49df7;--s5:#d3bd4a;
--k0:#1d1c1c;--k1:#29231d;--k2:#382b1e;--k3:#48331e;--k4:#593c1e;
--k5:#6b451d;--k6:#7e4f1b;--k7:#925918;--k8:#a96413;--on-shade:#ffffff"""


def palette(place: str) -> str:
    """Rules that give what `place` selects its colours: dark ones where the reader prefers them."""
    return f"{place}{{{LIGHT}}}\n@media (prefers-color-scheme:dark){{{place}{{{DARK}}}}}"


def switched_palette() -> str:
    """The same for a page whose `<html data-colours="light">` or `"dark"` overrides the reader.

    Paper is light, so what is printed is too.
    """
    return (
        f":root{{color-scheme:light;{LIGHT}}}\n"
        "@media screen and (prefers-color-scheme:dark)"
        f"{{:root:not([data-colours=light]){{color-scheme:dark;{DARK}}}}}\n"
        f"@media screen{{:root[data-colours=dark]{{color-scheme:dark;{DARK}}}}}"
    )
