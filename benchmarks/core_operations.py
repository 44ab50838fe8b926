"""Single operations against fixed times: small ones under 1 ms, large ones under 100 ms.

Batch 1, 8 heads, width 64, float32, splats K = 64, by the implementation that is chosen when none
is asked for. "small" is what one token, or a block of 64 tokens, needs; "large" is attention to
4,096 tokens, a matrix of 4,096 x 4,096 pairs. The specification names no operations and no sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.ops.selective_scan import selective_scan
from adaptive_attention_tiling.ops.tiled_attention import tiled_attention

from .attentions import field
from .contender import Case, Contender
from .job import HEADS, random_job
from .measure import Options, run_cases
from .rules import linear_rows, softmax_rows, splat_rows
from .selective_scan import READS, scan_job
from .splat_step import BEFORE, by_splats, by_stepper

LIMITS_MS = {"small": 1.0, "512 x 512": 10.0, "large": 100.0}


def run(options: Options) -> dict[str, Any]:
    sizes = {"small": 64, "512 x 512": 512, "large": 1024 if options.quick else 4096}
    return run_cases(cases(sizes, 3 if options.quick else 9))


def cases(sizes: dict[str, int], rounds: int, *, heads: int = HEADS) -> Iterator[Case]:
    for name, tokens in sizes.items():
        job = random_job(tokens, heads=heads)
        contenders = attentions(tokens, heads)
        if name == "small":
            contenders += [one_token(heads), scan(tokens)]
        yield Case(
            name=f"{name}, {tokens} tokens",
            inputs=job.inputs,
            contenders=contenders,
            baseline="",
            rounds=rounds,
        )


def attentions(tokens: int, heads: int) -> list[Contender]:
    job = random_job(tokens, heads=heads)
    of_splats = job.contender(
        "splats",
        partial(splat_attention, is_causal=True),
        splat_rows,
        module=field(64, heads=heads),
    )
    of_features = job.contender("linear", partial(linear_attention, is_causal=True), linear_rows)
    exact = partial(tiled_attention, is_causal=True, resolution=1.0)
    return [of_splats, of_features, job.contender("tiled, R=1", exact, softmax_rows)]


def one_token(heads: int) -> Contender:
    """The faster way that there is here to go on from a state."""
    job, own = random_job(BEFORE + 1, heads=heads), field(64, heads=heads).eval()
    for one in (by_stepper(job, own), by_splats(job, own)):
        if isinstance(one, Contender):
            return replace(one, name="splats, one token")
    raise AssertionError("torch can always go on")


def scan(tokens: int) -> Contender:
    """512 inner channels of 16 numbers of state."""
    job = scan_job(tokens, 512, backward=False)

    def attend(*tensors: Tensor, implementation: str | None = None) -> Tensor:
        y = selective_scan(*tensors[:-1], z=tensors[-1], implementation=implementation)
        assert isinstance(y, Tensor)
        return y[:, None]

    def exact(*tensors: Tensor) -> Tensor:
        return attend(*tensors[:-1], implementation="reference")[:, :, tensors[-1]]

    return job.contender("selective scan", attend, exact, reads=READS)
