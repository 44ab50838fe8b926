"""Memory: the peak and the scratch of a training pass, growth with length, and what stays behind.

Batch 1, 8 heads, width 64, float32; every form in a process of its own.

    peak      of a forward and backward pass, above the inputs and the gradient given
    scratch   the peak above the results (output and gradients), over these results
    process   all that the process holds at the peak, Python and torch included
    left      resident after passes over texts of changing length, once freed memory was given
              back, above what was resident before, over the peak: fragments of the heap
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch

from adaptive_attention_tiling.backends import memory
from adaptive_attention_tiling.evaluation.theory.power_law import fitted_exponent

from .attentions import linear, sdpa, splats
from .contender import Absent, Contender, admitted
from .job import HEADS, Job, random_job
from .measure import Options, tell
from .peak import MEBIBYTE, in_a_new_process, lifted_bytes

FORMS = ("sdpa", "splats, chunked", "splats, native", "linear, chunked", "linear, native")
SDPA_UNTIL = 8192
_WARM_TOKENS = 256
_PASSES = 30


def run(options: Options) -> dict[str, Any]:
    lengths = (512, 1024) if options.quick else (2048, 4096, 8192, 16384, 32768)
    heads = "".join(
        f"{head:>9}" for head in ("peak MiB", "results", "scratch", "process", "left %")
    )
    tell(f"{'':20}{'tokens':>8}{heads}")
    return {"rows": [row for form in FORMS for row in told(form, lengths, options.threads)]}


def told(form: str, lengths: Sequence[int], threads: int) -> list[dict[str, Any]]:
    rows = in_a_new_process(measured, form, lengths, threads)
    for row in rows:
        if "absent" in row:
            tell(f"{form:20}  {row['absent']}")
            continue
        tell(
            f"{form:20}{row['tokens']:>8}{row['peak_mib']!s:>9}{row['results_mib']:>9}"
            f"{row['scratch']!s:>9}{row['process_mib']!s:>9}{row.get('left_percent', '')!s:>9}"
        )
    known = {r["tokens"]: r["peak_mib"] for r in rows if r.get("peak_mib")}
    if len(known) > 1:
        slope = fitted_exponent(list(known), list(known.values()))
        rows[-1]["exponent"] = round(slope, 3)
        tell(f"{form:20}  the peak grows with length to the power {slope:.3f}")
    return list(rows)


def measured(
    form: str, lengths: Sequence[int], threads: int, heads: int = HEADS
) -> list[dict[str, Any]]:
    """A row for each length that the form reads in less than minutes."""
    torch.set_num_threads(threads)
    warm = made(form, random_job(_WARM_TOKENS, backward=True, heads=heads))
    gate = warm if isinstance(warm, Absent) else admitted(warm)
    if isinstance(gate, Absent):
        return [{"form": form, "absent": gate.reason}]
    rows: list[dict[str, Any]] = []
    for tokens in lengths:
        if form == "sdpa" and tokens > SDPA_UNTIL:
            break
        job = random_job(tokens, backward=True, heads=heads)
        contender = made(form, job)
        assert isinstance(contender, Contender)
        run = contender.pinned()
        results = job.outer.nbytes + sum(grad.nbytes for grad in run())
        lifted = lifted_bytes(run)
        row = {"form": form, "tokens": tokens, "results_mib": mebibytes(results)}
        row |= {"peak_mib": mebibytes(lifted), "process_mib": mebibytes(memory.peak_bytes())}
        row["scratch"] = None if lifted is None else round((lifted - results) / results, 3)
        rows.append(row)
    rows[-1]["left_percent"] = left_percent(form, max(lengths), heads)
    return rows


def left_percent(form: str, longest: int, heads: int) -> float | None:
    """What passes leave behind, in per cent of the peak of the largest."""
    source = torch.Generator().manual_seed(0)
    top = min(longest, 4096)
    sizes = torch.randint(top // 8, top, (_PASSES,), generator=source).tolist()
    peak = lifted_bytes(lambda: passed(form, top, heads))
    memory.give_back_freed_memory()
    before = memory.resident_bytes()
    for tokens in sizes:
        passed(form, tokens, heads)
    gc.collect()
    memory.give_back_freed_memory()
    after = memory.resident_bytes()
    if not peak or before is None or after is None:
        return None
    return round(100 * max(0, after - before) / peak, 3)


def passed(form: str, tokens: int, heads: int) -> None:
    contender = made(form, random_job(tokens, backward=True, heads=heads))
    assert isinstance(contender, Contender)
    contender.pinned()()


def mebibytes(number: int | None) -> float | None:
    return None if number is None else round(number / MEBIBYTE, 2)


def made(form: str, job: Job) -> Contender | Absent:
    name, _, way = form.partition(", ")
    if name == "sdpa":
        return sdpa(job)
    family = splats(job, 64, forms=(way,)) if name == "splats" else linear(job, forms=(way,))
    return family[0]
