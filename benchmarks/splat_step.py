"""One more token: through a state of fixed size, and over all keys that were kept.

Batch 1, 8 heads, width 64, float32. Splats go on from 128 tokens (a step does not depend on how
many there were); torch's exact attention writes the new key and value into a slot of its cache and
reads the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.splats import SplatField

from .attentions import field
from .contender import Absent, Case, Contender
from .job import HEADS, Job, random_job
from .measure import Options, run_cases
from .rules import linear_rows, softmax_rows, splat_rows

BEFORE = 128
CACHES = (1024, 4096, 16384)


def run(options: Options) -> dict[str, Any]:
    counts = (64,) if options.quick else (16, 64, 128)
    return run_cases([case(counts, CACHES, 5 if options.quick else 25)])


def case(counts: Sequence[int], caches: Sequence[int], rounds: int, *, heads: int = HEADS) -> Case:
    job = random_job(BEFORE + 1, heads=heads)
    contenders: list[Contender | Absent] = [over_cache(keys, heads) for keys in caches]
    for count in counts:
        own = field(count, heads=heads).eval()
        contenders.append(by_splats(job, own))
    attend = partial(linear_attention, is_causal=True)
    contenders.append(by_state(job, "linear, elu + 1, chunked", attend, linear_rows))
    return Case(
        name="one token",
        inputs=job.inputs,
        contenders=contenders,
        baseline=cache_name(caches[0]),
        rounds=rounds,
    )


def cache_name(keys: int) -> str:
    return f"sdpa, {keys} keys kept"


def by_splats(job: Job, own: SplatField) -> Contender:
    def attend(*tensors: Tensor, **options: Any) -> Any:
        return splat_attention(*tensors, own, is_causal=True, **options)

    def exact(*tensors: Tensor) -> Tensor:
        return splat_rows(*tensors[:-1], deepcopy(own).double(), tensors[-1])

    return by_state(job, f"splats K={own.count}, chunked", attend, exact)


def by_state(
    job: Job, name: str, attend: Callable[..., Any], exact: Callable[..., Tensor]
) -> Contender:
    """The public call with one token and the state of those before it."""
    before = [tensor[:, :, :BEFORE] for tensor in job.tensors.values()]
    last = [tensor[:, :, BEFORE:] for tensor in job.tensors.values()]

    @torch.no_grad()
    def answer() -> Sequence[Tensor]:
        return [attend(*last, initial_state=state, return_state=True)[0]]

    @torch.no_grad()
    def truth() -> Sequence[Tensor]:
        double = (tensor.double() for tensor in job.tensors.values())
        return [exact(*double, torch.tensor([BEFORE]))]

    with torch.no_grad():
        state = attend(*before, return_state=True, implementation="chunked")[1]
    return Contender(name=name, run=answer, answer=answer, truth=truth, instruction_set="off")


def over_cache(keys: int, heads: int) -> Contender:
    job = random_job(keys, heads=heads)
    query, key, value = job.tensors.values()
    query = query[:, :, -1:].contiguous()
    new = key[:, :, -1:].clone(), value[:, :, -1:].clone()

    @torch.no_grad()
    def answer() -> Sequence[Tensor]:
        key[:, :, -1:], value[:, :, -1:] = new
        return [scaled_dot_product_attention(query, key, value)]

    def truth() -> Sequence[Tensor]:
        double = (tensor.double() for tensor in job.tensors.values())
        return [softmax_rows(*double, torch.tensor([keys - 1]))]

    return Contender(name=cache_name(keys), run=answer, answer=answer, truth=truth, rule="softmax")
