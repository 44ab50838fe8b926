"""Splat attention against exact attention and its other rivals: time, memory, growth with length.

Batch 1, 8 heads, keys and values of width 64, float32, one thread. Process CPU time with wall time
beside it; forms in turn, medians over rounds, ratios of two forms in the same round. "sdpa" is
torch's exact attention, causal and 4-D (3-D inputs would take a path that is ten times slower).
Memory is the peak of a process that does nothing else, above its inputs.
"""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import linear_regression, median
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, scaled_dot_product_attention

from adaptive_attention_tiling.backends import memory
from adaptive_attention_tiling.ops.gaussian_splat import (
    softmax_over_splat_sum_attention,
    splat_attention,
)
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.splats import SplatField

WIDTH = 64
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Form:
    """One way to attend. All but `name` and `call` only matter where `call` reads them."""

    name: str
    call: Literal["splats", "sdpa", "linear", "softmax over sum"] = "splats"
    splats: int = 64
    kind: Literal["scalar", "diagonal", "low_rank", "full"] = "diagonal"
    decay: Literal["", "head", "splat"] = ""
    window: int = 0
    sinks: int = 0
    top_m: int | None = None
    is_causal: bool = True
    implementation: str | None = "chunked"


SDPA = Form("sdpa", "sdpa")
LINEAR = Form("linear attention, elu + 1", "linear")
K16, K64, K128 = (Form(f"splats K={k}", splats=k) for k in (16, 64, 128))
QUADRATIC = (
    Form("splats K=64, all pairs", implementation="parallel"),
    Form("softmax over splat sum K=64", "softmax over sum"),
)
KINDS = tuple(
    Form(f"splats K=64, {kind}", kind=kind) for kind in ("scalar", "diagonal", "low_rank", "full")
)
OPTIONS = (
    Form("decay per head", decay="head"),
    Form("decay per splat", decay="splat"),
    Form("window 64, 4 sinks", window=64, sinks=4),
    Form("top 8 of K=1024, scalar", splats=1024, kind="scalar", top_m=8),
    Form("all of K=1024, scalar", splats=1024, kind="scalar"),
)
BOTH_WAYS = (
    Form("sdpa, both ways", "sdpa", is_causal=False),
    Form("splats K=64, both ways", is_causal=False),
)


@dataclass(frozen=True)
class Sizes:
    """What is measured. `rounds`: the default, and others by number of tokens; calls are repeated
    in a round until they have read `least_tokens`, and called once before if they read no more
    than `warm_until`, for `keep_freed_memory` makes only first calls slow.
    """

    lengths: tuple[int, ...]
    forward_only: tuple[int, ...]
    rounds: tuple[int, dict[int, int]]
    least_tokens: int
    warm_until: int
    check_tokens: int
    option_tokens: int
    option_rounds: int
    pairs_until: int
    caches: tuple[int, ...]
    memory_tokens: int
    memory_forms: tuple[Form, ...]
    growth: tuple[int, ...]
    sdpa_growth_until: int
    heads: int = 8
    growth_heads: int = 2

    def rounds_at(self, tokens: int) -> int:
        return self.rounds[1].get(tokens, self.rounds[0])


WHOLE = Sizes(
    lengths=(512, 2048, 8192),
    forward_only=(32768,),
    rounds=(3, {512: 9, 2048: 5, 32768: 2}),
    least_tokens=1024,
    warm_until=2048,
    check_tokens=2048,
    option_tokens=2048,
    option_rounds=3,
    pairs_until=2048,
    caches=(1024, 16384),
    memory_tokens=8192,
    memory_forms=(SDPA, LINEAR, K16, K64, K128, *OPTIONS[:4]),
    growth=tuple(2**n for n in range(9, 17)),
    sdpa_growth_until=8192,
)
QUICK = Sizes(
    lengths=(512, 2048),
    forward_only=(),
    rounds=(2, {}),
    least_tokens=512,
    warm_until=512,
    check_tokens=512,
    option_tokens=512,
    option_rounds=1,
    pairs_until=512,
    caches=(1024, 16384),
    memory_tokens=2048,
    memory_forms=(SDPA, K64),
    growth=(512, 1024, 2048, 4096),
    sdpa_growth_until=2048,
)


def main(*, quick: bool) -> dict[str, Any]:
    memory.keep_freed_memory()
    torch.set_num_threads(1)
    return measure(QUICK if quick else WHOLE)


def measure(sizes: Sizes) -> dict[str, Any]:
    correct = check(sizes.check_tokens)
    results: dict[str, Any] = {"torch": torch.__version__, "threads": 1, "errors": correct}
    _tell(f"\n{'form':32}{'tokens':>7} {'pass':17}{'cpu ms':>9}{'wall ms':>9}{'sdpa / it':>10}")
    rows = []
    for tokens in (*sizes.lengths, *sizes.forward_only):
        forms = [SDPA, LINEAR, K16, K64, K128]
        if tokens <= sizes.pairs_until:
            forms += QUADRATIC
        passes = (False,) if tokens in sizes.forward_only else (False, True)
        for backward in passes:
            rows += compared(forms, tokens, sizes, sizes.rounds_at(tokens), backward=backward)
    results["lengths"] = rows
    for name, forms in (
        ("kinds", [SDPA, *KINDS]),
        ("options", [SDPA, K64, *OPTIONS]),
        ("both ways", list(BOTH_WAYS)),
    ):
        results[name] = [
            row
            for backward in (False, True)
            for row in compared(
                forms, sizes.option_tokens, sizes, sizes.option_rounds, backward=backward
            )
        ]
    results["step"] = steps(sizes)
    results["memory"] = memories(sizes)
    results["growth"] = growth(sizes)
    return results


def check(tokens: int) -> list[dict[str, Any]]:
    """No time is told of a form that is wrong.

    Chunks against all pairs in float64 with gradients, and against loops where there are any; and
    chunks in float32 against all pairs in float64 at a length that is timed.
    """
    rows = []
    for form in (LINEAR, K16, K64, K128, *KINDS, *OPTIONS, BOTH_WAYS[1]):
        exact = Attend(form, 300, heads=2, dtype=torch.float64)
        pairs = exact.differently("parallel")
        chunks = exact.both()
        differences = {
            "chunks, all pairs": _largest(
                (a - b).abs().max() / b.abs().max()
                for a, b in zip(chunks, pairs.both(), strict=True)
            )
        }
        if form.call == "splats":
            short = Attend(form, 72, heads=1, dtype=torch.float64)
            loops = short.differently("reference").forward()
            differences["chunks, loops"] = _largest([(short.forward() - loops).abs().max()])
        single = Attend(form, tokens, heads=1)
        double = (
            Attend(form, tokens, heads=1, dtype=torch.float64).differently("parallel").forward()
        )
        rounding = _largest([(single.forward() - double).abs().max() / double.abs().max()])
        if not (max(differences.values()) < 1e-9 and rounding < 1e-4):
            raise SystemExit(f"{form.name} is wrong: {differences}, in float32 {rounding:.1e}")
        row = {"form": form.name, **differences, "float32": rounding}
        _tell("  ".join(f"{v:32}" if k == "form" else f"{k}: {v:.1e}" for k, v in row.items()))
        rows.append(row)
    return rows


class Attend:
    """A form with inputs of its own, the same for all forms, ready to be called."""

    def __init__(
        self, form: Form, tokens: int, *, heads: int = 8, dtype: torch.dtype = torch.float32
    ) -> None:
        source = torch.Generator().manual_seed(0)
        self.form = form
        self.inputs = [
            torch.randn(1, heads, tokens, WIDTH, generator=source).to(dtype).requires_grad_()
            for _ in range(3)
        ]
        self.outer = torch.randn(1, heads, tokens, WIDTH, generator=source).to(dtype)
        self.leaves = list(self.inputs)
        self.options: dict[str, Any] = {"is_causal": form.is_causal}
        if form.call in ("splats", "softmax over sum"):
            self.field = SplatField.random(
                heads=heads,
                splats=form.splats,
                width=WIDTH,
                kind=form.kind,
                generator=torch.Generator().manual_seed(1),
            ).to(dtype)
            self.leaves += self.field.parameters()
        if form.call in ("splats", "linear"):
            self.options |= {"window": form.window, "sinks": form.sinks}
            self.options["implementation"] = form.implementation
        if form.call == "splats":
            self.options["top_m"] = form.top_m
        if form.decay:
            last = (self.field.features,) if form.decay == "splat" else ()
            logits = 4 + torch.randn(1, heads, tokens, *last, generator=source)
            self.options["decay"] = logsigmoid(logits).to(dtype).requires_grad_()
            self.leaves.append(self.options["decay"])

    def differently(self, implementation: str) -> Attend:
        other = copy(self)
        other.options = self.options | {"implementation": implementation}
        return other

    def __call__(self) -> Any:
        if self.form.call == "sdpa":
            query, key, value = self.inputs
            return scaled_dot_product_attention(query, key, value, **self.options)
        if self.form.call == "linear":
            return linear_attention(*self.inputs, **self.options)
        if self.form.call == "softmax over sum":
            return softmax_over_splat_sum_attention(*self.inputs, self.field, **self.options)
        return splat_attention(*self.inputs, self.field, **self.options)

    @torch.no_grad()
    def forward(self) -> Any:
        return self()

    def both(self) -> tuple[Tensor, ...]:
        out = self()
        return (out.detach(), *torch.autograd.grad(out, self.leaves, self.outer))


def compared(
    forms: Sequence[Form], tokens: int, sizes: Sizes, rounds: int, *, backward: bool
) -> list[dict[str, Any]]:
    """A row for each form; the first is the one that the others are compared with."""
    ready = [Attend(form, tokens, heads=sizes.heads) for form in forms]
    runs = [attend.both if backward else attend.forward for attend in ready]
    repeats, warm = max(1, sizes.least_tokens // tokens), tokens <= sizes.warm_until
    times = interleaved(runs, rounds, repeats=repeats, warm=warm)
    rows = []
    for form, own in zip(forms, times, strict=True):
        ratios = [first[0] / this[0] for first, this in zip(times[0], own, strict=True)]
        row = {
            "form": form.name,
            "tokens": tokens,
            "backward": backward,
            "cpu_ms": round(1e3 * median(cpu for cpu, _ in own), 2),
            "wall_ms": round(1e3 * median(wall for _, wall in own), 2),
            "sdpa / it": round(median(ratios), 3),
        }
        _tell(
            f"{row['form']:32}{tokens:>7} {'forward + backward' if backward else 'forward':18}"
            f"{row['cpu_ms']:>8}{row['wall_ms']:>9}{row['sdpa / it']:>10}"
        )
        rows.append(row)
    return rows


def interleaved(
    runs: Sequence[Callable[[], object]], rounds: int, *, repeats: int = 1, warm: bool = True
) -> list[list[tuple[float, float]]]:
    """(CPU, wall) seconds of each run in each round; which runs first changes by round."""
    if warm:
        for run in runs:
            run()
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for turn in range(rounds):
        gc.collect()
        for number in range(len(runs)):
            number = (number + turn) % len(runs)
            times[number].append(_seconds(runs[number], repeats))
    return times


@torch.no_grad()
def steps(sizes: Sizes) -> list[dict[str, Any]]:
    """One more token: through a state of fixed size, and over all keys that were kept."""
    forms = (LINEAR, K16, K64, K128, OPTIONS[0], OPTIONS[1], OPTIONS[2], OPTIONS[3])
    runs, rows = [], []
    for form in forms:
        attend, state = _after_tokens(form, 128, sizes.heads)
        rows.append({"form": form.name, "bytes": state.bytes})
        runs.append(_one_step(attend, state))
    for keys in sizes.caches:
        query, key, value = (torch.randn(1, sizes.heads, n, WIDTH) for n in (1, keys, keys))
        rows.append(
            {"form": f"sdpa, {keys} keys kept", "bytes": key.nbytes + value.nbytes, "keys": keys}
        )
        runs.append(_one_query(query, key, value))
    times = interleaved(runs, sizes.rounds_at(512), repeats=20)
    _tell(f"\n{'one token':32}{'cpu us':>9}{'wall us':>9}{'KiB kept':>10}  sdpa / it")
    rivals = [(row["keys"], own) for row, own in zip(rows, times, strict=True) if "keys" in row]
    for row, own in zip(rows, times, strict=True):
        row["cpu_us"] = round(1e6 * median(cpu for cpu, _ in own), 1)
        row["wall_us"] = round(1e6 * median(wall for _, wall in own), 1)
        row["sdpa / it"] = {
            keys: round(median(a[0] / b[0] for a, b in zip(rival, own, strict=True)), 2)
            for keys, rival in rivals
        }
        _tell(
            f"{row['form']:32}{row['cpu_us']:>9}{row['wall_us']:>9}{row['bytes'] / 1024:>10.0f}  "
            + ", ".join(f"{ratio} at {keys} keys" for keys, ratio in row["sdpa / it"].items())
        )
    return rows


def _after_tokens(form: Form, tokens: int, heads: int) -> tuple[Attend, Any]:
    attend = Attend(form, tokens, heads=heads)
    attend.options["return_state"] = True
    return attend, attend()[1]


@torch.no_grad()
def state_bytes(form: Form, tokens: int, heads: int) -> int:
    """What is carried from call to call after so many tokens."""
    return int(_after_tokens(form, tokens, heads)[1].bytes)


def _one_step(attend: Attend, state: Any) -> Callable[[], object]:
    """The last token of the inputs, read once more after the state."""
    attend.inputs = [tensor[:, :, -1:].detach() for tensor in attend.inputs]
    if attend.form.call == "splats":
        attend.field.eval()
    attend.options |= {"initial_state": state, "implementation": None}
    if "decay" in attend.options:
        attend.options["decay"] = attend.options["decay"][:, :, -1:].detach()
    return attend.forward


def _one_query(query: Tensor, key: Tensor, value: Tensor) -> Callable[[], object]:
    new = key[:, :, -1:].clone(), value[:, :, -1:].clone()

    def run() -> object:
        key[:, :, -1:], value[:, :, -1:] = new  # a cache of which a slot is filled
        return scaled_dot_product_attention(query, key, value)

    return run


def memories(sizes: Sizes) -> list[dict[str, Any]]:
    """The peak of one forward and backward pass above its inputs, in a process for each form."""
    inputs_and_results = 8 * sizes.heads * sizes.memory_tokens * WIDTH * 4 / MEBIBYTE
    _tell(
        f"\n{'forward + backward':32}{'tokens':>7}{'peak MiB':>10}   (inputs and the gradient given"
        f" are not counted; output and gradients are {inputs_and_results / 2:.0f})"
    )
    rows = []
    for form in sizes.memory_forms:
        (peak,) = in_a_new_process(peaks, form, (sizes.memory_tokens,), sizes.heads)
        mebibytes = None if peak is None else round(peak / MEBIBYTE, 1)
        rows.append({"form": form.name, "tokens": sizes.memory_tokens, "peak_mib": mebibytes})
        _tell(f"{form.name:32}{sizes.memory_tokens:>7}{mebibytes!s:>10}")
    return rows


def in_a_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peaks(form: Form, lengths: Sequence[int], heads: int) -> list[int | None]:
    """How far a forward and backward pass lifts this process's memory; None if not known.

    Freed memory goes back to the system here, so that it cannot hide in the peak.
    """
    torch.set_num_threads(1)
    Attend(form, 16, heads=heads).both()
    found: list[int | None] = []
    for tokens in lengths:
        attend = Attend(form, tokens, heads=heads)
        gc.collect()
        memory.give_back_freed_memory()
        known, before = memory.reset_peak(), memory.resident_bytes()
        attend.both()
        peak = memory.peak_bytes()
        found.append(peak - before if known and peak and before else None)
    return found


def growth(sizes: Sizes) -> dict[str, Any]:
    """Time, memory and state over length, and the powers of the length that they follow."""
    _tell(f"\n{'growth, ' + str(sizes.growth_heads) + ' heads':32}{'tokens':>7}   cpu ms  ...")
    rounds, longest = sizes.rounds_at(8192), max(sizes.growth)
    forwards = {t: Attend(K64, t, heads=sizes.growth_heads) for t in sizes.growth}
    rivals = {
        t: Attend(SDPA, t, heads=sizes.growth_heads)
        for t in sizes.growth
        if t <= sizes.sdpa_growth_until
    }
    curves: dict[str, dict[int, float]] = {}
    for name, calls in (
        ("forward_cpu_ms", {t: a.forward for t, a in forwards.items()}),
        ("forward_backward_cpu_ms", {t: a.both for t, a in forwards.items()}),
        ("sdpa_forward_cpu_ms", {t: a.forward for t, a in rivals.items()}),
    ):
        for t, run in calls.items():
            if t <= sizes.warm_until:
                run()
        times: dict[int, list[float]] = {t: [] for t in calls}
        for _ in range(rounds):
            gc.collect()
            for t, run in calls.items():
                repeats = max(1, min(8, longest // t // 8))
                times[t].append(_seconds(run, repeats)[0])
        curves[name] = {t: round(1e3 * median(own), 2) for t, own in times.items()}
    del forwards, rivals
    found = in_a_new_process(peaks, K64, sizes.growth, sizes.growth_heads)
    if None not in found:
        curves["peak_mib"] = {
            t: round(peak / MEBIBYTE, 2) for t, peak in zip(sizes.growth, found, strict=True)
        }
    curves["state_bytes"] = {t: state_bytes(K64, t, sizes.growth_heads) for t in sizes.growth}
    results: dict[str, Any] = {"form": K64.name, "heads": sizes.growth_heads, "curves": curves}
    start = 2048 if sum(t >= 2048 for t in sizes.growth) > 2 else min(sizes.growth)
    results["exponents"] = {
        name: {
            f"from {first}": round(exponent(curve, first), 3)
            for first in sorted({min(sizes.growth), start})
            if sum(t >= first for t in curve) > 1
        }
        for name, curve in curves.items()
        if min(curve.values()) > 0
    }
    for name, curve in curves.items():
        _tell(f"{name:26} {', '.join(f'{t}: {value}' for t, value in curve.items())}")
        _tell(f"{'':26} length to the power {results['exponents'].get(name)}")
    slopes = [results["exponents"][f"{p}_cpu_ms"] for p in ("forward", "forward_backward")]
    results["linear"] = all(abs(slope[f"from {start}"] - 1) <= 0.1 for slope in slopes)
    results["state_constant"] = len(set(curves["state_bytes"].values())) == 1
    _tell(f"linear from {start} tokens: {results['linear']}")
    _tell(f"state of constant size: {results['state_constant']}")
    return results


def exponent(values: dict[int, float], first: int = 0) -> float:
    """The power of the length that fits best, by least squares in logarithms, from `first` on."""
    points = [(math.log(t), math.log(value)) for t, value in values.items() if t >= first]
    x, y = zip(*points, strict=True)
    return linear_regression(x, y).slope


def _largest(values: Any) -> float:
    return max(float(value) for value in values)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seconds(run: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.process_time() - cpu) / repeats, (time.perf_counter() - wall) / repeats
