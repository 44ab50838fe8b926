"""The attentions of this package and torch's own, as contenders of a job."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.ops.fidelity_attention import fidelity_attention
from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.ops.linear_attention import linear_attention
from adaptive_attention_tiling.splats import SplatField

from .contender import Absent, Contender
from .job import HEADS, WIDTH, Job
from .rules import fidelity_rows, linear_rows, softmax_rows, splat_rows

SDPA = "sdpa"
Kind = Any


def field(splats: int, *, kind: Kind = "diagonal", heads: int = HEADS) -> SplatField:
    """The same field for the same numbers."""
    source = torch.Generator().manual_seed(1)
    return SplatField.random(heads=heads, splats=splats, width=WIDTH, kind=kind, generator=source)


def sdpa(job: Job, *, rule: str = "", is_causal: bool = True) -> Contender:
    """torch's exact attention, 4-D: inputs of three axes would take a path ten times slower."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        gqa = query.shape[1] != key.shape[1]
        return scaled_dot_product_attention(query, key, value, is_causal=is_causal, enable_gqa=gqa)

    exact = partial(softmax_rows, is_causal=is_causal)
    return job.contender(SDPA, attend, exact, rule=rule)


def splats(job: Job, count: int, **options: Any) -> list[Contender | Absent]:
    own = field(count, heads=job.tensors["query"].shape[1])
    return job.forms(
        f"splats K={count}",
        partial(splat_attention, is_causal=True),
        splat_rows,
        module=own,
        **options,
    )


def splats_with(
    job: Job,
    name: str,
    *,
    count: int = 64,
    kind: Kind = "diagonal",
    reads: Sequence[str] = ("query", "key", "value"),
    **settings: Any,
) -> list[Contender | Absent]:
    """Splat attention with options; its truth is that of all pairs, which tests prove by loops."""
    attend = partial(_with_decay, is_causal=settings.pop("is_causal", True), **settings)

    def exact(*arguments: Any) -> Tensor:
        out: Tensor = attend(*arguments[:-1], implementation="parallel")
        return out[:, :, arguments[-1]]

    own = field(count, kind=kind, heads=job.tensors["query"].shape[1])
    return job.forms(name, attend, exact, module=own, reads=reads)


def _with_decay(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **settings: Any) -> Tensor:
    *decay, own = rest
    return splat_attention(query, key, value, own, decay=decay[0] if decay else None, **settings)


def linear(job: Job, **options: Any) -> list[Contender | Absent]:
    attend = partial(linear_attention, is_causal=True)
    return job.forms("linear, elu + 1", attend, linear_rows, **options)


def fidelity(job: Job, **options: Any) -> list[Contender | Absent]:
    width = job.tensors["query"].shape[-1]
    attend = partial(fidelity_attention, is_causal=True)
    # Gradients are ill-conditioned where all of the few first keys are orthogonal to a query.
    name, tolerance = f"fidelity m={width}", 1e-3 if job.backward else 1e-4
    return job.forms(name, attend, fidelity_rows, tolerance=tolerance, **options)
