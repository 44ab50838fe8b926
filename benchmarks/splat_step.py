"""One more token: through a state of fixed size, and over all keys that were kept.

Batch 1, 8 heads, width 64, float32. Splats go on from 128 tokens (a step does not depend on how
many there were); torch's exact attention writes the new key and value into a slot of its cache and
reads the whole of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.errors import UnsupportedError
from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.optional import installed
from adaptive_attention_tiling.splats import SplatField

from .attentions import field
from .contender import Absent, Case, Contender
from .job import HEADS, Job, native_sets, random_job
from .measure import Options, run_cases
from .rules import linear_rows, softmax_rows, splat_rows

BEFORE = 128
CACHES = (1024, 4096, 16384)
_STEP = "adaptive_attention_tiling.ops.gaussian_splat.step"


def run(options: Options) -> dict[str, Any]:
    counts = (64,) if options.quick else (16, 64, 128)
    return run_cases([case(counts, CACHES, 5 if options.quick else 25)])


def case(counts: Sequence[int], caches: Sequence[int], rounds: int, *, heads: int = HEADS) -> Case:
    job = random_job(BEFORE + 1, heads=heads)
    contenders: list[Contender | Absent] = [over_cache(keys, heads) for keys in caches]
    for count in counts:
        own = field(count, heads=heads).eval()
        contenders += [by_splats(job, own), by_stepper(job, own), by_splats(job, own, "native")]
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


def by_splats(job: Job, own: SplatField, form: str = "chunked") -> Contender | Absent:
    """The public call: of torch with native kernels off, or of the fastest native ones."""

    def attend(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Any:
        return splat_attention(query, key, value, own, is_causal=True, **options)

    name = f"splats K={own.count}, {form}"
    if form == "chunked":
        return by_state(job, name, attend, of(own))
    ((instruction_set, reason),) = native_sets(all_sets=False)
    if reason:
        return Absent(f"{name} call", reason)
    named = f"{name} {instruction_set} call"
    return by_state(job, named, partial(attend, implementation="native"), of(own), instruction_set)


def by_stepper(job: Job, own: SplatField) -> Contender | Absent:
    """`SplatStepper`, which keeps its state in place."""
    ((instruction_set, reason),) = native_sets(all_sets=False)
    name = f"splats K={own.count}, native {instruction_set} stepper"
    if reason or not installed(_STEP):
        return Absent(name, reason or "not built")
    stepper_class = importlib.import_module(_STEP).SplatStepper
    before, last = split(job)
    held: list[Any] = []

    @torch.no_grad()
    def answer() -> Sequence[Tensor]:
        _, state = splat_attention(*before, own, is_causal=True, return_state=True)
        stepper = stepper_class(own, state)
        chosen = stepper.explain()
        if chosen.implementation != "native":
            raise UnsupportedError(f"SplatStepper: {chosen.reason}")
        held[:] = [stepper]
        return [stepper.step(*last)]

    @torch.no_grad()
    def run() -> Any:
        return held[0].step(*last)

    return Contender(
        name=name,
        run=run,
        answer=answer,
        truth=partial(at_last, job, of(own)),
        instruction_set=instruction_set,
    )


def by_state(
    job: Job,
    name: str,
    attend: Callable[..., Any],
    exact: Callable[..., Tensor],
    instruction_set: str = "off",
) -> Contender:
    """The public call with one token and the state of those before it."""
    before, last = split(job)
    held: list[Any] = []

    @torch.no_grad()
    def run() -> Any:
        return attend(*last, initial_state=held[0], return_state=True)[0]

    def answer() -> Sequence[Tensor]:
        with torch.no_grad():
            held[:] = [attend(*before, return_state=True)[1]]
        return [run()]

    return Contender(
        name=name,
        run=run,
        answer=answer,
        truth=partial(at_last, job, exact),
        instruction_set=instruction_set,
    )


def split(job: Job) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of the tokens before, and of the last."""
    tensors = job.tensors.values()
    return [t[:, :, :BEFORE] for t in tensors], [t[:, :, BEFORE:] for t in tensors]


def of(own: SplatField) -> Callable[..., Tensor]:
    """The rule of splats of this field."""

    def exact(query: Tensor, key: Tensor, value: Tensor, rows: Tensor) -> Tensor:
        return splat_rows(query, key, value, deepcopy(own).double(), rows)

    return exact


@torch.no_grad()
def at_last(job: Job, exact: Callable[..., Tensor]) -> Sequence[Tensor]:
    double = (tensor.double() for tensor in job.tensors.values())
    return [exact(*double, torch.tensor([BEFORE]))]


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
