"""The tiler's share of attention's time, its memory and growth, and what it loses to rivals.

8 heads of width 64, float32, process CPU time; the tiler and torch's causal exact
attention (1, 8, T, 64) in turn, medians over rounds of ratios in the same round. Nothing is timed
before the tiles of both forms of the programme agree, at 8,192 tokens, with each other and with
a plain loop in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent
from adaptive_attention_tiling.tiling.tiles import (
    TileManager,
    Tiling,
    greedy_tiling,
    tiling_loss,
    uniform_tiling,
)

from .measure import Options, tell
from .peak import MEBIBYTE, lifted_bytes
from .timing import interleaved

HEADS, WIDTH, BUDGET = 8, 64, 0.25


@dataclass(frozen=True)
class Sizes:
    share_tokens: int
    share_rounds: int
    growth: tuple[int, ...]
    growth_rounds: int
    check_tokens: int
    rival_tokens: int


WHOLE = Sizes(8192, 9, (2048, 4096, 8192, 16384, 32768, 65536), 5, 8192, 8192)
QUICK = Sizes(2048, 3, (1024, 2048, 4096), 3, 1024, 1024)


def run(options: Options) -> dict[str, Any]:
    return measure(QUICK if options.quick else WHOLE)


def measure(sizes: Sizes) -> dict[str, Any]:
    results: dict[str, Any] = {}
    results["differences"] = check(sizes.check_tokens)
    results["peak_mib"] = peaks(sizes.share_tokens)
    results["share"] = share(sizes)
    results["growth"] = growth(sizes)
    results["rivals"] = rivals(sizes.rival_tokens)
    return results


def walks(tokens: int, *, heads: int = HEADS) -> Tensor:
    """States that walk, now calmly, now wildly."""
    source = torch.Generator().manual_seed(0)
    wild = torch.rand(heads, -(-tokens // 32), 1, generator=source).repeat_interleave(32, 1) ** 4
    return (torch.randn(heads, tokens, WIDTH, generator=source) * wild[:, :tokens]).cumsum(1)


def check(tokens: int) -> dict[str, float]:
    """How far the tiler is from plain loops: its value at its own prices, and its stated loss."""
    states, tiler = walks(tokens, heads=2), TileManager()
    tiling = tiler.optimize_tiling(states, BUDGET)
    value = tiling.block_loss + tiling.price * tiling.block_cost
    exact = torch.tensor(
        [
            [
                plain_value(block.double(), float(price), tiler)
                for block, price in zip(row.split(tiler.super_block), prices, strict=True)
            ]
            for row, prices in zip(states, tiling.price, strict=True)
        ],
        dtype=torch.float64,
    )
    stated = tiling_loss(states.double(), tiling)
    differences = {
        "value, plain loops": _largest(value, exact),
        "loss, segment by segment": _largest(tiling.block_loss, stated),
    }
    over = float((tiling.block_cost / tiler.exact_cost(tiler.super_block)).max())
    if not (max(differences.values()) < 1e-5 and over <= BUDGET):
        raise SystemExit(f"the tiler is wrong: {differences}, {over:.3f} of a budget of {BUDGET}")
    tell("  ".join(f"{name}: {value:.1e}" for name, value in differences.items()))
    return differences


def plain_value(states: Tensor, price: float, tiler: TileManager) -> float:
    """Least loss + price * cost of one super-block, tile by tile, from squared distances."""
    step, best = tiler.granularity, [0.0]
    energy = {
        (span, at): float((part - part.mean(0)).square().sum())
        for span in tiler.spans
        for at, part in enumerate(states.split(span))
    }
    for stop in range(step, len(states) + 1, step):
        values = []
        for start in range(max(0, stop - tiler.max_size), stop - tiler.min_size + 1, step):
            for span in tiler.spans:
                lost = sum(energy[span, at] for at in range(start // span, stop // span))
                cost = (stop - start) // span + tiler.overhead
                values.append(best[start // step] + lost + price * cost)
        best.append(min(values))
    return best[-1]


def peaks(tokens: int) -> dict[str, float | None]:
    """How far one call lifts this process's memory, in MiB, results included; None if not known."""
    states, tiler = walks(tokens), TileManager()
    query, key, value = (torch.randn(1, HEADS, tokens, WIDTH) for _ in range(3))
    runs: dict[str, Callable[[], object]] = {
        "sdpa": lambda: scaled_dot_product_attention(query, key, value, is_causal=True),
        "states, budget": lambda: tiler.optimize_tiling(states, BUDGET),
    }
    found: dict[str, float | None] = {}
    for name, run in runs.items():
        run()
        lifted = lifted_bytes(run)
        found[name] = None if lifted is None else round(lifted / MEBIBYTE, 1)
    states_mib = states.nbytes / MEBIBYTE
    tell(f"\npeak MiB at {tokens} tokens, beside states of {states_mib:.0f}: {found}")
    return found


def share(sizes: Sizes) -> dict[str, Any]:
    """The tiler's time as a share of attention's."""
    tokens, tiler = sizes.share_tokens, TileManager()
    states = walks(tokens)
    query, key, value = (torch.randn(1, HEADS, tokens, WIDTH) for _ in range(3))
    price = tiler.optimize_tiling(states, BUDGET).price
    density = states.diff(dim=1, prepend=states[:, :1]).square().sum(-1)
    runs: dict[str, Callable[[], object]] = {
        "sdpa": lambda: scaled_dot_product_attention(query, key, value, is_causal=True),
        "states, budget": lambda: tiler.optimize_tiling(states, BUDGET),
        "states, price": lambda: tiler.tile_at_price(states, price),
        "density, budget": lambda: tiler.optimize_tiling(density, BUDGET, kind="density"),
    }
    times = cpu_seconds(runs, sizes.share_rounds)
    rows = {}
    tell(f"\n{tokens} tokens, {HEADS} heads{'':10}{'cpu ms':>9}{'% of sdpa':>11}")
    for name, own in times.items():
        ratio = median(a / b for a, b in zip(own, times["sdpa"], strict=True))
        rows[name] = {"cpu_ms": round(1e3 * median(own), 2), "share": round(ratio, 4)}
        tell(f"{name:32}{rows[name]['cpu_ms']:>9}{100 * ratio:>11.2f}")
    return {"tokens": tokens, "budget": BUDGET, "rows": rows}


def growth(sizes: Sizes) -> dict[str, Any]:
    """Time over length, and the power of the length that fits best."""
    tiler = TileManager()
    texts = {tokens: walks(tokens) for tokens in sizes.growth}
    runs = {
        str(tokens): lambda states=states: tiler.optimize_tiling(states, BUDGET)
        for tokens, states in texts.items()
    }
    times = cpu_seconds(runs, sizes.growth_rounds)
    curve = {name: round(1e3 * median(own), 2) for name, own in times.items()}
    exponent = round(fitted_exponent([int(t) for t in curve], list(curve.values())), 3)
    tell(f"\ncpu ms over tokens: {curve}; length to the power {exponent}")
    return {"cpu_ms": curve, "exponent": exponent}


def rivals(tokens: int) -> list[dict[str, Any]]:
    """Energy lost, as a share of all, at equal budgets."""
    source = torch.Generator().manual_seed(1)
    noise = torch.randn(HEADS, tokens, WIDTH, generator=source)
    jumps = (torch.rand(HEADS, tokens, 1, generator=source) < 1 / 24) * noise
    tiler, fine = TileManager(), TileManager(4, 512)
    ways: dict[str, Callable[[Tensor, float], Tiling]] = {
        "optimal": tiler.optimize_tiling,
        "optimal, tiles from 4": fine.optimize_tiling,
        "uniform": lambda states, budget: uniform_tiling(states, budget, tiler),
        "greedy by step": lambda states, budget: greedy_tiling(states, budget, tiler),
        "greedy by cosine": lambda states, budget: greedy_tiling(
            states, budget, tiler, by="cosine"
        ),
    }
    rows = []
    tell(f"\n{'energy lost, %':24}{'budget':>8}" + "".join(f"{way:>23}" for way in ways))
    signals = {"noise": noise, "calm and wild": walks(tokens), "plateaus": jumps.cumsum(1)}
    for name, states in signals.items():
        mean = states.unflatten(1, (-1, tiler.super_block)).mean(2, keepdim=True)
        whole = float((states.unflatten(1, (-1, tiler.super_block)) - mean).square().sum())
        for budget in (0.125, 0.25, 0.5):
            lost = {
                way: float(tiling_loss(states, cut(states, budget)).sum()) / whole
                for way, cut in ways.items()
            }
            rows.append({"signal": name, "budget": budget, "lost": lost})
            figures = "".join(f"{100 * share:>23.3f}" for share in lost.values())
            tell(f"{name:24}{budget:>8}{figures}")
    return rows


def cpu_seconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Of each run in each round."""
    times = interleaved(list(runs.values()), rounds)
    return {name: [cpu for cpu, _ in own] for name, own in zip(runs, times, strict=True)}


def _largest(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())
