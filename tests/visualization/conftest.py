import math
import shutil
from functools import partial

import pytest

from adaptive_attention_tiling.visualization.inspection_report import render_inspection

TEXT = "the state of our union is strong and my fellow citizens have said that peace"
WORDS = [*TEXT.split(), "and\n"]
HOSTILE = " <img src=https://example.invalid/x onerror=alert(1)></script>"
OPTIONS = [
    ("exact", "exact", {}),
    ("window 64", "window", {"window": 64, "sinks": 4}),
    ("window 256", "window", {"window": 256, "sinks": 4}),
    ("tiled at 0.02", "tiled", {"tolerance": 0.02, "block": 128}),
    ("32 splats", "splat", {"splats": 32, "window": 64, "sinks": 4}),
    ("fidelity 12", "fidelity", {"amplitudes": 12, "window": 64, "sinks": 4}),
]
COSTS = [1.0, 0.016, 0.06, 0.3, 0.05, 0.07]


def wave(*numbers):
    """A fixed number in [0, 1] that looks drawn."""
    return math.sin(12.9898 * sum((n + 1) * 7.13**k for k, n in enumerate(numbers))) * 0.5 + 0.5


def figure(name, group, unit, low, high, values):
    text = f"What {name} tells of a head."
    return {
        "name": name, "title": name.replace("_", " "), "group": group, "unit": unit,
        "low": low, "high": high, "explanation": text, "values": values,
    }  # fmt: skip


def planted_figures(layers, heads, tokens):
    """Entropy rises from head to head, sink mass falls with depth, times and voids have gaps."""

    def each(value):
        return [[value(layer, head) for head in range(heads)] for layer in range(layers)]

    most = math.log(tokens)
    gap = each(lambda n, h: None if (n, h) == (0, 0) else round(1000 * wave(n, h, 3), 3))
    return [
        figure(
            "entropy",
            "spread",
            "nats",
            0.0,
            most,
            each(lambda n, h: most * (n * heads + h) / (layers * heads)),
        ),
        figure("effective_rank", "spread", "", 1.0, None, each(lambda n, h: 1 + 40 * wave(n, h))),
        figure("sink_mass", "places", "", 0.0, 1.0, each(lambda n, h: wave(n, h, 1) / (1 + n))),
        figure("curvature", "graph", "", -2.0, 1.0, each(lambda n, h: 1 - 3 * wave(n, h, 2))),
        figure("mixing_time", "graph", "steps", 0.0, None, gap),
        figure("void", "graph", "", None, None, each(lambda n, h: None)),
    ]


def planted_head(layer, head, tokens, queries, keys):
    """Every query reads token 0 with 0.5 and itself with 0.25; the rest gets ever less."""
    asked = sorted({(tokens - 1) * (n + 1) // queries for n in range(queries)})
    rows = [[0, *range(query, max(0, query - keys + 1), -1)] for query in asked]
    weights = [[0.5, 0.25, *(0.0625 / 2**n for n in range(len(row) - 2))] for row in rows]
    bins = [0, *(2**n for n in range(int(math.log2(max(1, tokens - 1))) + 1))]
    mass = [1 / (1 + n) for n in range(len(bins))]
    blocks = min(tokens, 32)
    trials = [
        {
            "option": n,
            "cost": cost,
            "error": 0.0 if n == 0 else round(0.3 * wave(layer, head, n), 4),
        }
        for n, cost in enumerate(COSTS)
    ]
    chosen = (layer + head) % len(OPTIONS)
    ends = sorted({tokens * (n + 1) // 16 for n in range(16)} - {0})
    return {
        "queries": asked, "keys": rows,
        "weights": [[float(f"{w:.3g}") for w in row[: len(keys)]]
                    for row, keys in zip(weights, rows, strict=True)],
        "profile": {"offsets": bins, "mass": [m / sum(mass) for m in mass]},
        "stationary": [1 / blocks] * blocks,
        "tiles": {"ends": ends, "resolution": [round(wave(layer, n), 3) for n in ends],
                  "query": tokens - 1},
        "splats": {
            "axes": [0.4, 0.2],
            "queries": [[round(wave(n, 1), 3), round(wave(n, 2), 3)] for n in range(60)],
            "keys": [[round(wave(n, 3) - 0.3, 3), round(wave(n, 4), 3)] for n in range(60)],
            "centres": [[wave(n, 5) - 0.3, wave(n, 6), 0.1, 0.05 + 0.02 * n, 1.0 + n]
                        for n in range(8)],
        },
        "bottlenecks": [[tokens // 3, tokens // 2]],
        "period": {"kind": "offset", "period": 8, "phases": [1, 3],
                   "chance": 0.001 if (layer + head) % 5 == 0 else 0.4},
        "trials": trials, "sensitivity": wave(layer, head, 9),
        "recommendation": {
            "option": chosen, "cost": COSTS[chosen], "error": trials[chosen]["error"],
            "reason": f"The cheapest within the tolerance at {layer}.{head}.",
        },
    }  # fmt: skip


def planted_choice(budget, layer, head):
    return int(wave(layer, head, budget) ** (2 * budget + 0.3) * 6) % 6


def planted_document(layers, heads, tokens, queries=24, keys=32):
    """What an inspection of a model would tell, with numbers that a test can foresee."""

    def each(value):
        return [[value(layer, head) for head in range(heads)] for layer in range(layers)]

    return {
        "schema": 1, "command": "aat inspect --model planted", "model": "planted/model-135M",
        "text": "a speech", "kind": "decoder", "tokens": tokens, "layers": layers, "heads": heads,
        "key_value_heads": max(1, heads // 3), "machine": {"processor": "none", "cores": 2},
        "versions": {"torch": "0"}, "seconds": 12.34,
        "processor_seconds": {"figures": 7.5}, "violations": [], "tolerance": 0.1,
        "sensitivity_unit": "nats per token",
        "pieces": [f" {WORDS[n % len(WORDS)]}" for n in range(tokens)],
        "figures": planted_figures(layers, heads, tokens),
        "patterns": [{
            "name": "previous token", "description": "All weight on the token before.",
            "score": each(lambda n, h: wave(n, h, 5)),
            "z": each(lambda n, h: 9 * wave(n, h, 5) - 3),
            "p_value": each(lambda n, h: 0.001 if h == 1 else 0.5),
            "matching": [{"layer": 0, "head": 1, "adjusted": 0.04},
                         {"layer": 1, "head": 1, "adjusted": 0.03}],
        }],
        "options": [{"name": n, "kind": k, "parameters": p} for n, k, p in OPTIONS],
        "budgets": [
            {"budget": budget, "cost": 0.99 * budget, "harm": 0.01 / budget,
             "choice": each(partial(planted_choice, budget))}
            for budget in (0.1, 0.25, 0.5)
        ],
        "by_head": each(lambda n, h: planted_head(n, h, tokens, queries, keys)),
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_document():
    return planted_document


@pytest.fixture(scope="module")
def browser():
    """A Chromium or Chrome of this machine, without a window.

    No longer than a module needs it: playwright's event loop runs in this thread meanwhile.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium or Chrome here; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browsed():
    """What the pages show that `opened` opens: 4 layers of 3 heads, with hostile text in them."""
    document = planted_document(4, 3, 120, queries=4, keys=6)
    document["pieces"][5] = document["options"][1]["name"] = HOSTILE
    document["patterns"][0]["name"] = HOSTILE
    return document


@pytest.fixture(scope="session")
def address(browsed, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "inspection.html"
    path.write_text(render_inspection(browsed), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def only_page(browser):
    """One page for all tests, and what it told and asked for."""
    page = browser.new_page()
    page.set_default_timeout(10_000)
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    return page, told, asked


@pytest.fixture
def opened(only_page, address):
    """Opens the page afresh; nothing may be asked for but it, and nothing go wrong."""
    page, told, asked = only_page
    told.clear()
    asked.clear()

    def open_page(place="", colours="light", width=1100, height=800):
        page.goto("about:blank")
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=colours, media="screen", reduced_motion="no-preference")
        page.goto(address + place)
        return page

    yield open_page
    assert told == []
    files = {url.partition("#")[0] for url in asked} - {"about:blank"}
    assert address in files
    assert all(url.startswith("file:") and url.endswith(".html") for url in files)
