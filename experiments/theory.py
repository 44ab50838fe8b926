"""What is true of the five theorems of adaptive tiling, measured.

    python experiments/theory.py [--quick] [--json PATH] [--html PATH]

Prints a table, and writes the figures as JSON and a page with charts. Everything is seeded; two
minutes on one core. docs/theory.md tells what the figures mean; the statements and their
derivations are in `adaptive_attention_tiling.evaluation.theory`, one file a theorem.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

# Before torch is imported: one core is what the times are told of.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import commit

from adaptive_attention_tiling.evaluation.theory import (
    cost_growth,
    information_flow,
    information_preservation,
    quality_bounds,
    resolution_convergence,
    summary_cut,
)
from adaptive_attention_tiling.evaluation.theory.planted import KINDS
from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent
from adaptive_attention_tiling.evaluation.theory.solvable import CATEGORICAL, GAUSSIANS, MANIFOLDS
from adaptive_attention_tiling.visualization import Series
from adaptive_attention_tiling.visualization.line_chart import legend, line_chart

RESULTS = Path(__file__).parent / "results"
Figures = dict[str, Any]


def flow_figures(*, quick: bool) -> Figures:
    """Theorem 3.1."""
    segments = information_flow.SEGMENTS[: 3 if quick else None]
    return {
        "paths": [information_flow.shortest_path(m, segments=segments) for m in MANIFOLDS],
        "steps": {m.name: information_flow.step_costs(m) for m in (GAUSSIANS, CATEGORICAL)},
        "arcs": [information_flow.great_arc(half_turns) for half_turns in information_flow.ARCS],
    }


def convergence_figures(*, quick: bool) -> Figures:
    """Theorem 3.2."""
    here = resolution_convergence
    return {
        "relaxations": [here.relaxation(dt) for dt in here.TIME_STEPS[1 if quick else 0 :]],
        "compromises": [here.compromise(diffusion) for diffusion in here.SMOOTHINGS],
        "rests": [here.rest(name, value) for name, value in here.STARTS],
        "limits": [here.limits(tie, starts=16 if quick else 64) for tie in here.TIES],
    }


def quality_figures(*, quick: bool) -> Figures:
    """Theorem 3.3."""
    here = quality_bounds
    steps = 40 if quick else 150
    return {
        "excesses": [here.excess(part, size) for part in here.PARTS for size in here.SIZES],
        "attacks": [here.attack(*which, steps=steps) for which in here.ATTACKS],
        "exchanged": here.exchanged_keys(),
        "uniform": here.uniform_attention(),
    }


def cost_figures(*, quick: bool) -> Figures:
    """Theorem 3.4."""
    here = cost_growth
    sizes = (1024, 2048) if quick else here.SIZES
    return {
        "growths": [
            here.cost_growth(text, sizes=sizes, layout=layout)
            for text in here.TEXTS
            for layout in here.LAYOUTS
        ],
        "cuts": [
            summary_cut.cut_growth(text, lengths=summary_cut.LENGTHS[: 3 if quick else None])
            for text in here.TEXTS
        ],
        "tiler": here.tiler_growth(),
    }


def preservation_figures(*, quick: bool) -> Figures:
    """Theorem 3.5."""
    here = information_preservation
    tokens = 1024 if quick else 4096
    return {
        "tolerances": [
            here.tolerance_check(kind, tolerance, certified=certified, tokens=tokens)
            for kind in KINDS
            for tolerance in here.TOLERANCES
            for certified in (True, False)
        ],
        "units": [here.unit_of_states(unit) for unit in here.UNITS],
        "by_tile": [here.drift(tile, 0.01) for tile in here.TILES],
        "by_speed": [here.drift(8, speed) for speed in here.SPEEDS],
        "repeated": [here.repeated_text(length) for length in here.LENGTHS],
    }


THEOREMS = {
    "3.1": flow_figures,
    "3.2": convergence_figures,
    "3.3": quality_figures,
    "3.4": cost_figures,
    "3.5": preservation_figures,
}


def rows(found: dict[str, Figures]) -> Iterator[tuple[str, str, str]]:
    """(theorem, what, figure) for the table."""
    yield from (("3.1", *row) for row in _flow_rows(found["3.1"]))
    yield from (("3.2", *row) for row in _convergence_rows(found["3.2"]))
    yield from (("3.3", *row) for row in _quality_rows(found["3.3"]))
    yield from (("3.4", *row) for row in _cost_rows(found["3.4"]))
    yield from (("3.5", *row) for row in _preservation_rows(found["3.5"]))


def _flow_rows(found: Figures) -> Iterator[tuple[str, str]]:
    for path in found["paths"]:
        excess = path.lengths[-1] / path.distance - 1
        yield (
            f"shortest path, {path.manifold}",
            f"{excess:.1e} above the distance at {path.segments[-1]} segments, order "
            f"{path.order:.2f}; best of {path.rivals} rivals {path.shortest_rival - 1:.1e} above",
        )
    for name, costs in found["steps"].items():
        last = costs[-1]
        yield (
            f"sum KL of {last.steps} steps, {name}",
            f"geodesic {last.geodesic:.4f}, straight line {last.line:.4f}, least {last.least:.4f} "
            "(d^2 / 2n = 1)",
        )
    for arc in found["arcs"]:
        shorter = "none shorter nearby" if arc.changed is None else f"{arc.changed:.4f} nearby"
        yield (
            f"great arc of {arc.length:.4f}, distance {arc.distance:.4f}",
            f"slope {arc.slope:.0e}, {arc.index} directions down; {shorter}",
        )


def _convergence_rows(found: Figures) -> Iterator[tuple[str, str]]:
    for run in found["relaxations"]:
        yield (
            f"quadratic energy, dt = {run.time_step:g}",
            f"{len(run.errors) - 1} steps to 1e-8, rate {run.rate:.4f} (expected "
            f"{run.expected_rate:.4f}), largest rise of F {run.rise:.0e}, roughness at most "
            f"{run.roughness:.3f} of its bound",
        )
    for end in found["compromises"]:
        yield (
            f"limit at lambda = {end.diffusion:g}",
            f"slope of F {end.slope_of_f:.0e}, of E {end.slope_of_e:.3f}; E {end.energy:.4f} above "
            f"its minimum; roughness {end.roughness_start:g} -> {end.roughness_end:.3f}",
        )
    for one in found["rests"]:
        yield (
            f"two wells, start {one.start}",
            f"rests at {one.mean:.2f}, F {one.energy:.4f}, slope {one.slope:.0e}, least curvature "
            f"{one.curvature:+.3f}",
        )
    for one in found["limits"]:
        yield (
            f"two wells, lambda = {one.diffusion:g}",
            f"{one.limits} limits from {one.starts} starts, worst slope {one.worst_slope:.0e}",
        )


def _quality_rows(found: Figures) -> Iterator[tuple[str, str]]:
    for one in found["excesses"]:
        if one.size == quality_bounds.SIZES[-1]:
            name = one.part.replace("_", " ")
            yield (
                f"{name} alone, size {one.size}",
                f"part {one.part_raw:.2f}, IFQ raw {one.raw:.2f}, bounded {one.bounded:.3f}",
            )
    for one in found["attacks"]:
        yield (
            f"{one.figure} IFQ driven {one.direction}",
            f"{one.low:.4f} to {one.high:.4f} in {len(one.values)} steps",
        )
    swap, flat = found["exchanged"], found["uniform"]
    yield (
        "two keys exchanged",
        f"IFQ {swap.before:.4f} -> {swap.after:.4f}, output changed by {swap.output_error:.0%}",
    )
    yield (
        "uniform attention",
        f"IFQ {flat.stability_and_edges:g} without flow and density, {flat.quarters:g} with",
    )


def _cost_rows(found: Figures) -> Iterator[tuple[str, str]]:
    for growth in found["growths"]:
        first, last = growth.costs[0], growth.costs[-1]
        yield (
            f"{growth.text}, {growth.layout}",
            f"far rows n^{growth.far_exponent:.2f}, all rows n^{growth.rows_exponent:.2f}, CPU "
            f"n^{growth.cpu_exponent:.2f} (exact n^{growth.dense_exponent:.2f}); R "
            f"{first.resolution:.3f} at {first.tokens:,} tokens, {last.resolution:.3f} at "
            f"{last.tokens:,}; CPU {last.cpu_s:.2f} s (exact {last.dense_cpu_s:.2f} s)",
        )
    for cut in found["cuts"]:
        yield (
            f"{cut.text}, ideal cut through summaries of every size",
            f"rows read a query {', '.join(f'{rows:.1f}' for rows in cut.read)} at "
            f"{cut.lengths[0]:,} to {cut.lengths[-1]:,} tokens; with those looked at "
            f"n^{cut.exponent:.2f}; worst query {max(cut.worst_error):.2f} of the tolerance",
        )
    tiler = found["tiler"]
    yield (
        f"optimal tiling, {tiler.tokens[0]:,} to {tiler.tokens[-1]:,} tokens",
        f"CPU n^{tiler.exponent:.2f}, {1e3 * tiler.cpu_s[-1]:.0f} ms at the last",
    )


def _preservation_rows(found: Figures) -> Iterator[tuple[str, str]]:
    for one in found["tolerances"]:
        kind = "certified" if one.certified else "estimated"
        yield (
            f"{one.kind}, tolerance {one.tolerance:g}, {kind}",
            f"worst query {one.worst_ratio:.2g} of the tolerance, {one.within:.2%} within; "
            f"{one.fraction_read:.1%} of far keys read exactly",
        )
    for one in found["units"]:
        yield (
            f"states in units of {one.unit:g}",
            f"error {one.error:.3f}, max rho {one.density:.1e}: needs eps = {one.needed_eps:.1e}",
        )
    for name, key, size in (("tile", "by_tile", "tile"), ("rho", "by_speed", "density")):
        drifts = found[key]
        power = fitted_exponent([getattr(d, size) for d in drifts], [d.error for d in drifts])
        share = max(d.error / d.bound for d in drifts)
        yield f"slow text, error by {name}", f"{name}^{power:.2f}, at most {share:.1%} of the bound"
    lengths = [one.tokens for one in found["repeated"]]
    power = fitted_exponent(lengths, [one.whole_error for one in found["repeated"]])
    yield "a text repeated", f"norm of the whole error n^{power:.2f}, max rho constant"


def charts(found: dict[str, Figures]) -> Iterator[tuple[str, str, str, list[Series]]]:
    """(caption, x label, y label, lines): x is a share, y is on a logarithmic scale."""
    paths = found["3.1"]["paths"][:4]
    most = paths[0].segments[-1]
    yield (
        "3.1 The path of least energy reaches the distance",
        f"segments, of {most}",
        "length above the distance",
        [
            Series(
                name=p.manifold,
                points=[
                    (n / most, length / p.distance - 1)
                    for n, length in zip(p.segments, p.lengths, strict=True)
                ],
            )
            for p in paths
        ],
    )
    costs = found["3.1"]["steps"][GAUSSIANS.name]
    yield (
        "3.1 Total divergence of n steps between two normal distributions",
        f"steps, of {costs[-1].steps}",
        "sum KL, of d²/2n",
        [
            Series(
                name=name,
                points=[(c.steps / costs[-1].steps, getattr(c, field)) for c in costs],
            )
            for name, field in (
                ("equal steps of the geodesic", "geodesic"),
                ("equal steps of the straight line", "line"),
                ("least of all", "least"),
            )
        ],
    )
    runs = found["3.2"]["relaxations"]
    longest = max(len(run.errors) for run in runs) - 1
    yield (
        "3.2 The resolution field nears its limit",
        f"steps, of {longest}",
        "largest error",
        [
            Series(
                name=f"dt = {run.time_step:g}",
                points=[
                    (i / longest, error)
                    for i, error in enumerate(run.errors)
                    if error > 1e-5 and i % (1 + len(run.errors) // 30) == 0
                ],
            )
            for run in runs
        ],
    )
    attacks = [one for one in found["3.3"]["attacks"] if one.direction == "up"]
    yield (
        "3.3 IFQ under attack; 100 % is the claimed maximum",
        f"steps of the search, of {len(attacks[0].values)}",
        "IFQ",
        [
            Series(
                name=f"{one.figure} IFQ",
                points=[
                    ((i + 1) / len(one.values), value)
                    for i, value in enumerate(one.values)
                    if i % 10 == 9 and value < 100
                ],
            )
            for one in attacks
        ],
    )
    growths = found["3.4"]["growths"]
    last = growths[0].costs[-1].tokens
    yield (
        "3.4 Rows read or looked at, of the far field",
        f"length, of {last:,} tokens",
        "rows, of all far rows",
        [
            Series(
                name=f"{g.text}, {g.layout}",
                points=[(c.tokens / last, c.far_rows / c.far_tokens) for c in g.costs],
            )
            for g in growths
        ],
    )
    cuts = found["3.4"]["cuts"]
    farthest = cuts[0].lengths[-1]
    yield (
        "3.4 What one query reads and looks at, with summaries of every size",
        f"length, of {farthest:,} tokens",
        "rows, of all tokens",
        [
            Series(
                name=cut.text,
                points=[
                    (tokens / farthest, (read + looked) / tokens)
                    for tokens, read, looked in zip(cut.lengths, cut.read, cut.looked, strict=True)
                ],
            )
            for cut in cuts
        ],
    )
    tiles = found["3.5"]["by_tile"][1:]
    widest = tiles[-1].tile
    yield (
        "3.5 Contiguous tiles over a slow text",
        f"tokens of a tile, of {widest}",
        "largest error",
        [
            Series(name="error", points=[(d.tile / widest, d.error) for d in tiles]),
            Series(name="proven bound", points=[(d.tile / widest, d.bound) for d in tiles]),
        ],
    )
    checks = found["3.5"]["tolerances"]
    kinds = [("structureless", False), ("disguised keys", False), ("disguised keys", True)]
    tolerances = [(t, t) for t in information_preservation.TOLERANCES]
    yield (
        "3.5 The worst query's error by tolerance, in largest value norms",
        "tolerance",
        "error",
        [
            Series(name="the tolerance itself", points=tolerances),
            *(
                Series(
                    name=f"{kind}, {'certified' if certified else 'estimated'}",
                    points=[
                        (one.tolerance, one.tolerance * one.worst_ratio)
                        for one in checks
                        if (one.kind, one.certified) == (kind, certified)
                    ],
                )
                for kind, certified in kinds
            ),
        ],
    )


_STYLE = """
:root{--paper:#fdfcfa;--ink:#1d1c1a;--soft:#66625a;--line:#dcd7cd;
--s0:#0072b2;--s1:#b34700;--s2:#00795a;--s3:#a1447a}
@media (prefers-color-scheme:dark){:root{--paper:#16171a;--ink:#eae7e1;--soft:#a5a097;
--line:#38393e;--s0:#56b4e9;--s1:#f0964a;--s2:#3fc79d;--s3:#dd94c0}}
body{margin:0 auto;max-width:66rem;padding:2rem 1rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr));gap:1.5rem}
figure{margin:0}figcaption{font-weight:600;font-size:.95rem}
.chart{width:100%;font-size:11px}.chart text{fill:var(--soft)}.grid{stroke:var(--line);fill:none}
.line{fill:none;stroke-width:2;stroke:currentColor}.key{width:32px;height:14px;margin-right:.4rem}
.s0{color:var(--s0);fill:var(--s0)}.s1{color:var(--s1);fill:var(--s1)}
.s2{color:var(--s2);fill:var(--s2)}.s3{color:var(--s3);fill:var(--s3)}
.s1 .line{stroke-dasharray:7 3}.s2 .line{stroke-dasharray:2 3}.s3 .line{stroke-dasharray:8 3 2 3}
.legend{list-style:none;margin:.3rem 0;padding:0;font-size:.85rem}
.wide{overflow-x:auto}td{border-bottom:1px solid var(--line);padding:.3rem .6rem;font-size:.85rem;
vertical-align:top}
"""


def page(found: dict[str, Figures], facts: dict[str, str]) -> str:
    """One HTML page that needs nothing else."""
    figures = "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f"{legend(one.name for one in series)}"
        f"{line_chart(series, title=caption, x_label=x, y_label=y)}</figure>"
        for caption, x, y, series in charts(found)
    )
    table = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows(found)
    )
    told = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>What is true of adaptive tiling</title><style>{_STYLE}</style>"
        f'<h1>What is true of adaptive tiling</h1><div class="charts">{figures}</div>'
        f'<h2>Figures</h2><div class="wide"><table>{table}</table></div>'
        f"<p>{escape(told)}</p></html>\n"
    )


def plain(found: Any) -> Any:
    """Figures as JSON takes them."""
    if isinstance(found, dict):
        return {name: plain(one) for name, one in found.items()}
    if isinstance(found, list | tuple):
        return [plain(one) for one in found]
    if isinstance(found, cost_growth.Growth):
        costs = [
            {**asdict(c), "resolution": c.resolution, "multiply_adds": c.multiply_adds}
            for c in found.costs
        ]
        return {**asdict(found), "costs": costs}
    return asdict(found) if hasattr(found, "__dataclass_fields__") else found


def circumstances(*, quick: bool) -> dict[str, str]:
    return {
        "command": "python experiments/theory.py" + " --quick" * quick,
        "commit": commit(),
        "torch": torch.__version__,
        "machine": f"one core, {platform.machine()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes: does it run?")
    parser.add_argument("--json", metavar="PATH", default=str(RESULTS / "theory.json"))
    parser.add_argument("--html", metavar="PATH", default="aat-report-theory.html")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = circumstances(quick=options.quick)
    found = {}
    for theorem, measure in THEOREMS.items():
        print(f"theorem {theorem} ...", file=sys.stderr, flush=True)
        found[theorem] = measure(quick=options.quick)
    for row in rows(found):
        print(" | ".join(row))
    Path(options.json).write_text(json.dumps({**facts, "theorems": plain(found)}, indent=1) + "\n")
    Path(options.html).write_text(page(found, facts), encoding="utf-8")


if __name__ == "__main__":
    main()
