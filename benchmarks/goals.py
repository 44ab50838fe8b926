"""What the project is measured by: each goal, and how it is read from the results.

Ratios are of CPU time in one run, medians over rounds. A goal whose benchmark has not been run, or
whose contenders cannot run here, has no figure and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .attentions import SDPA
from .core_operations import LIMITS_MS
from .linear_attention import DELTA, ONNX_RULE, ONNX_SUMS
from .splat_step import cache_name

Results = Mapping[str, Mapping[str, Any]]
FORWARD, BOTH = "forward", "forward + backward"
NATIVE, TORCH = "splats K=64, native", "splats K=64, chunked"
NEEDS_GPU = "not measured here: needs a GPU"


class UnknownFigureError(LookupError):
    """There is no figure; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What was measured, in words; whether the goal is met, None where that is not known."""

    text: str
    met: bool | None = None


@dataclass(frozen=True)
class Goal:
    """benchmark: whose results are read; empty where nothing measures it yet."""

    what: str
    goal: str
    benchmark: str
    read: Callable[[Results], Finding]

    def finding(self, results: Results) -> Finding:
        try:
            return self.read(results)
        except UnknownFigureError as why:
            return Finding(str(why))


def rows_of(results: Results, benchmark: str) -> Sequence[Mapping[str, Any]]:
    if benchmark not in results:
        raise UnknownFigureError("not measured")
    return results[benchmark]["rows"]  # type: ignore[no-any-return]


def row(results: Results, benchmark: str, case: str, contender: str) -> Mapping[str, Any]:
    """The row of a contender whose name begins so, the first that was timed."""
    here = [r for r in rows_of(results, benchmark) if r["case"] == case]
    if not here:
        raise UnknownFigureError("not measured at this size")
    found = [r for r in here if r["contender"].startswith(contender)]
    timed = [r for r in found if "absent" not in r]
    if timed:
        return timed[0]
    raise UnknownFigureError(found[0]["absent"] if found else "not built yet")


def faster(results: Results, benchmark: str, case: str, *, than: str, is_: str) -> float:
    """Time of `than` over time of `is_`: the median over rounds of one run."""
    over, own = (row(results, benchmark, case, name)["rounds_cpu_ms"] for name in (than, is_))
    return median(a / b for a, b in zip(over, own, strict=True) if b)


def at_least(
    benchmark: str, than_is: Sequence[tuple[str, str, str]], least: Sequence[float]
) -> Callable[[Results], Finding]:
    """Ratios for (case, than, is), each at least so large."""

    def read(results: Results) -> Finding:
        told, met, reasons = [], True, []
        for (case, than, is_), wanted in zip(than_is, least, strict=True):
            try:
                found = faster(results, benchmark, case, than=than, is_=is_)
            except UnknownFigureError as why:
                told.append("-")
                reasons.append(str(why))
                met = False
                continue
            told.append(f"{found:.3g}x")
            met = met and found >= wanted
        if len(reasons) == len(told):
            raise UnknownFigureError(reasons[0])
        return Finding(" / ".join(told), None if reasons else met)

    return read


def by_length(pass_: str, is_: str) -> list[tuple[str, str, str]]:
    return [(f"{tokens} tokens, {pass_}", SDPA, is_) for tokens in (8192, 32768)]


def without(text: str) -> Callable[[Results], Finding]:
    return lambda _: Finding(text)


def onnx(results: Results) -> Finding:
    case = f"8192 tokens, {FORWARD}"
    found = [
        faster(results, "linear_attention", case, than=than, is_="linear, elu + 1, native")
        for than in (ONNX_RULE, ONNX_SUMS)
    ]
    text = f"{found[0]:.3g}x as a graph of the same rule; {found[1]:.3g}x its operator alone"
    return Finding(f"{text} (features given to it, made by us)", found[1] >= 2.5)


def gated_delta(results: Results) -> Finding:
    told = []
    ratios = []
    for is_ in (NATIVE, "linear, elu + 1, native"):
        pair = [
            faster(results, "linear_attention", f"4096 tokens, {p}", than=DELTA, is_=is_)
            for p in (FORWARD, BOTH)
        ]
        ratios.append(pair)
        told.append(f"{is_.split(',')[0]} {pair[0]:.3g}x / {pair[1]:.3g}x")
    return Finding("; ".join(told), ratios[0][0] >= 10 and ratios[0][1] >= 20)


def instruction_sets(results: Results) -> Finding:
    rows = rows_of(results, "instruction_sets")
    cases = list(dict.fromkeys(r["case"] for r in rows if r["case"].startswith("splats")))
    told, met = [], None
    for case in cases:
        try:
            share = faster(results, "instruction_sets", case, than="splats K=64, native avx512",
                           is_="splats K=64, native avx2")  # fmt: skip
            told.append(f"{100 * share:.0f} % ({case})")
            met = (met is not False) and share >= 0.6
        except UnknownFigureError:
            slow = faster(results, "instruction_sets", case, than="splats K=64, native baseline",
                          is_="splats K=64, native avx2")  # fmt: skip
            told.append(f"AVX2 {slow:.3g}x of baseline ({case})")
    needs = "" if met is not None else "not measured here: needs AVX-512; "
    return Finding(needs + "; ".join(told), met)


def tiled_model(results: Results) -> Finding:
    rows = [r for r in rows_of(results, "tiled_model") if r["way"] != SDPA]
    told, met = [], True
    for most, least in ((0.005, 3.0), (0.02, 5.0)):
        near = [r for r in rows if r["loss above exact"] <= most]
        best = max(near, key=lambda r: r["sdpa / it"], default=None)
        if best is None:
            told.append(f"no tolerance within +{most}")
            met = False
            continue
        told.append(f"{best['sdpa / it']:.3g}x at {best['loss above exact']:+.4f} ({best['way']})")
        met = met and best["sdpa / it"] >= least
    return Finding("; ".join(told), met)


def tiler(results: Results) -> Finding:
    if "tiler" not in results:
        raise UnknownFigureError("not measured")
    found = results["tiler"]
    share = found["share"]["rows"]["states, budget"]["share"]
    power = found["growth"]["exponent"]
    return Finding(
        f"{100 * share:.2g} % of exact attention's at {found['share']['tokens']} tokens; "
        f"grows with T to the power {power}",
        share < 0.03 and power <= 1.1,
    )


def memory_rows(results: Results, form: str) -> list[Mapping[str, Any]]:
    rows = [r for r in rows_of(results, "memory_use") if r["form"] == form]
    if "absent" in rows[0]:
        raise UnknownFigureError(rows[0]["absent"])
    return rows


def scratch(results: Results) -> Finding:
    rows = memory_rows(results, "splats, native")
    known = {r["tokens"]: r["scratch"] for r in rows if r["scratch"] is not None}
    if not known:
        raise UnknownFigureError("not measured: this system does not tell the peak")
    tokens = 8192 if 8192 in known else max(known)
    return Finding(f"{known[tokens]:.2f} at {tokens} tokens", known[tokens] <= 0.25)


def imports(results: Results) -> Finding:
    rows = {r["what"]: r for r in rows_of(results, "import_time")}
    package, *others = rows.values()
    first, second = (others[-1][f"{which}_call_cpu_ms"] for which in ("first", "second"))
    slowest = max(package["cpu_ms"], others[0]["cpu_ms"])
    return Finding(
        f"{package['cpu_ms']:.3g} ms; with its other names {others[0]['cpu_ms']:.3g} ms; "
        f"first call {first:.3g} ms, second {second:.3g} ms",
        slowest < 1000 and first < 1000,
    )


def twice_as_fast(results: Results) -> Finding:
    lengths: dict[int, float] = {}
    for r in rows_of(results, "gaussian_splat"):
        head, _, pass_ = r["case"].partition(" tokens, ")
        if head.isdigit() and pass_ == BOTH:
            is_ = NATIVE if _native(results, r["case"]) else TORCH
            lengths[int(head)] = faster(results, "gaussian_splat", r["case"], than=SDPA, is_=is_)
    if not lengths:
        raise UnknownFigureError("not measured")
    from_ = [tokens for tokens, ratio in lengths.items() if ratio >= 2]
    longest = max(lengths)
    text = f"{lengths[longest]:.3g}x at {longest} tokens, forward + backward; "
    text += f"2x from {min(from_)} tokens" if from_ else "2x at none of the lengths measured"
    return Finding(text, bool(from_))


def _native(results: Results, case: str) -> bool:
    try:
        row(results, "gaussian_splat", case, NATIVE)
    except UnknownFigureError:
        return False
    return True


def half_the_memory(results: Results) -> Finding:
    exact = {r["tokens"]: r["peak_mib"] for r in memory_rows(results, "sdpa")}
    try:
        form, rows = "native", memory_rows(results, "splats, native")
    except UnknownFigureError:
        form, rows = "chunked", memory_rows(results, "splats, chunked")
    own = {r["tokens"]: r["peak_mib"] for r in rows}
    tokens = max(set(exact) & set(own))
    if exact[tokens] is None or own[tokens] is None:
        raise UnknownFigureError("not measured: this system does not tell the peak")
    saved = 1 - own[tokens] / exact[tokens]
    return Finding(
        f"peak of a training pass {100 * saved:+.0f} % below exact attention's at {tokens} tokens "
        f"({form})",
        saved >= 0.5,
    )


def under(name: str) -> Callable[[Results], Finding]:
    def read(results: Results) -> Finding:
        rows = [r for r in rows_of(results, "core_operations") if r["case"].startswith(name)]
        told = ", ".join(f"{r['contender']} {r['cpu_ms']['median']:.3g}" for r in rows)
        tokens = rows[0]["inputs"]["T"]
        slowest = max(r["cpu_ms"]["median"] for r in rows)
        return Finding(f"ms at {tokens} tokens: {told}", slowest < LIMITS_MS[name])

    return read


def gpu_matrices(results: Results) -> Finding:
    return Finding(f"{NEEDS_GPU}; on the CPU, {under('512 x 512')(results).text}")


def peak(results: Results) -> Finding:
    rows = [r for r in rows_of(results, "memory_use") if r.get("process_mib") is not None]
    if not rows:
        raise UnknownFigureError("not measured: this system does not tell the peak")
    worst = max(rows, key=lambda r: r["process_mib"])
    return Finding(
        f"{worst['process_mib'] / 1024:.2f} GiB, process with torch and inputs: {worst['form']}, "
        f"{worst['tokens']} tokens, forward + backward",
        worst["process_mib"] * 2**20 < 2e9,
    )


def fragments(results: Results) -> Finding:
    rows = [r for r in rows_of(results, "memory_use") if r.get("left_percent") is not None]
    if not rows:
        raise UnknownFigureError("not measured: this system does not tell what is resident")
    told = ", ".join(f"{r['form']} {r['left_percent']} %" for r in rows)
    own = [r["left_percent"] for r in rows if r["form"] != SDPA]
    return Finding(f"left after passes: {told}", max(own) < 1 if own else None)


FORWARD_PASSES = (
    "gaussian_splat",
    "linear_attention",
    "fidelity_attention",
    "selective_scan",
    "softmax_attention",
    "tiled_exact",
)


def errors(results: Results) -> Finding:
    found = {
        (r["case"], r["contender"]): r["error"]
        for name in FORWARD_PASSES
        for r in results.get(name, {}).get("rows", ())
        if r.get("native") and r["case"].endswith(", forward")
    }
    if not found:
        raise UnknownFigureError("not measured")
    worst = max(found, key=lambda key: found[key])
    return Finding(
        f"largest {found[worst]:.1e}, of {len(found)} forward passes in float32 against float64 "
        f"({worst[1]}, {worst[0]})",
        found[worst] < 1e-6,
    )


def growth(results: Results) -> Finding:
    told = {r["form"]: r["exponent"] for r in rows_of(results, "memory_use") if "exponent" in r}
    if not told:
        raise UnknownFigureError("not measured: this system does not tell the peak")
    text = ", ".join(f"{form} {power}" for form, power in told.items())
    own = [power for form, power in told.items() if form != SDPA]
    met = max(own) <= 1.05 if own else None
    return Finding(f"peak grows with T to the power: {text}", met)


SPEED = (
    Goal("splat attention forward, K=64, 8k / 32k tokens, against SDPA", "28x / 100x",
         "gaussian_splat", at_least("gaussian_splat", by_length(FORWARD, NATIVE), (28, 100))),
    Goal("forward + backward, K=64, 8k / 32k", "22x / 80x",
         "gaussian_splat", at_least("gaussian_splat", by_length(BOTH, NATIVE), (22, 80))),
    Goal("one-token step, K=64, against SDPA with a KV cache of 1k / 16k", "50x / 1000x",
         "splat_step",
         at_least("splat_step", [("one token", cache_name(n), NATIVE) for n in (1024, 16384)],
                  (50, 1000))),
    Goal("against ONNX Runtime's LinearAttention, forward, same rule, with features, 8k", "2.5x",
         "linear_attention", onnx),
    Goal("against transformers' torch gated-delta path, forward / forward + backward, 4k",
         "10x / 20x", "linear_attention", gated_delta),
    Goal("AVX2 build against AVX-512 build of the same source", ">= 60 %",
         "instruction_sets", instruction_sets),
    Goal("portable torch path, K=64, 8k, against SDPA", "7x",
         "gaussian_splat", at_least("gaussian_splat", by_length(FORWARD, TORCH)[:1], (7,))),
    Goal("tiled attention at R=1 against SDPA, 8k / 32k", "1.3x",
         "tiled_exact",
         at_least("tiled_exact", by_length(FORWARD, "tiled, R=1, native"), (1.3, 1.3))),
    Goal("tiled attention, SmolLM2, real 8k text, whole model untrained",
         "3x at <= +0.005 nats, 5x at <= +0.02", "tiled_model", tiled_model),
    Goal("tiled attention, 64k, a model trained with it", "15-20x at <= 3 % error",
         "", without("not built yet")),
    Goal("optimal tiler", "< 3 % of the layer's time, linear in T", "tiler", tiler),
    Goal("training scratch memory over outputs", "<= 0.25", "memory_use", scratch),
    Goal("activation memory of a reversible stack, depth 64", "constant in depth",
         "", without("not built yet")),
    Goal("`import adaptive_attention_tiling` beyond torch", "< 1 s; no compile at first call",
         "import_time", imports),
    Goal("WGSL on a real GPU", ">= 30 % of fp32 peak", "",
         without(f"not built yet; {NEEDS_GPU}")),
    Goal("Triton on a data-centre GPU", "0.8-1.0x of fla, 2-4x FlashAttention-2 at 16k", "",
         without(f"not built yet; {NEEDS_GPU}")),
)  # fmt: skip
SPECIFICATION = (
    Goal("CPU speed", "2x", "gaussian_splat", twice_as_fast),
    Goal("memory", "50 % less", "memory_use", half_the_memory),
    Goal("core operations", "< 1 ms", "core_operations", under("small")),
    Goal("matrices up to 512 x 512 on a GPU", "< 10 ms", "core_operations", gpu_matrices),
    Goal("large matrices on the CPU", "< 100 ms", "core_operations", under("large")),
    Goal("peak memory", "< 2 GB", "memory_use", peak),
    Goal("fragmentation of memory", "< 1 %", "memory_use", fragments),
    Goal("cache hits", "> 90 %", "",
         without("not measured here: needs the processor's counters "
                 "(`perf stat -e L1-dcache-loads,L1-dcache-load-misses`)")),
    Goal("relative error", "< 1e-6", "gaussian_splat", errors),
    Goal("growth of memory with length", "linear", "memory_use", growth),
)  # fmt: skip
TABLES = {"Speed": SPEED, "The specification's own targets": SPECIFICATION}
