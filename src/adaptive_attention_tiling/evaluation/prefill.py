"""Let a model read a text once: time, memory and loss, or what its attention read."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..backends.memory import give_back_freed_memory, peak_bytes, reset_peak, resident_bytes
from ..errors import CorrectnessError
from ..models.hf import recording
from ..ops.tiled_attention import TiledAttentionConfig, TiledAttentionReport
from .variant import attention_of, each_layer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Tokens whose logits are formed at once: a vocabulary has some 50,000 of them for each.
_LOSS_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Time by the clock, and processor time of all threads, which others at work do not raise."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Prefill:
    """One pass over a text.

    attention   all calls of the attention function together
    model       the whole pass, up to the logits of the last token
    peak_bytes  largest memory above the loaded model; None where that cannot be measured
    loss        nats per token on the second half
    """

    attention: Duration
    model: Duration
    peak_bytes: int | None
    loss: float


@dataclass(frozen=True, kw_only=True)
class WhatWasRead:
    """What tiled attention read of the far field in one pass; nan where there is none.

    fraction_read  far keys read exactly over far keys, over all layers, heads and queries
    by_head        [layers][heads] the same for one head
    by_token       [T] mean resolution at which far queries read a token, over layers and heads
    """

    fraction_read: float
    by_head: tuple[tuple[float, ...], ...]
    by_token: tuple[float, ...]


def settled_bytes() -> int | None:
    """Memory of the process after it has given back what it does not need."""
    gc.collect()
    give_back_freed_memory()
    return resident_bytes()


def prefill(
    model: PreTrainedModel,
    ids: Int[Tensor, "1 T"],
    config: TiledAttentionConfig | None,
    *,
    loaded_bytes: int | None,
    layer_done: Callable[[], None] = lambda: None,
) -> Prefill:
    """Read `ids` once by `config`, or by SDPA if it is None; no report is made, as that takes time.

    `loaded_bytes` is what `settled_bytes` gave once the model was loaded.
    """
    head = model.get_output_embeddings()
    settled_bytes()
    known = reset_peak() and loaded_bytes is not None
    with (
        torch.inference_mode(),
        attention_of(model, config),
        recording(model) as calls,
        each_layer(model, layer_done),
    ):
        cpu, wall = time.process_time(), time.perf_counter()
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        head(hidden[:, -1:])
        spent = Duration(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
        peak = peak_bytes() if known else None
        loss = second_half_loss(head, hidden, ids)
    attention = Duration(
        wall_s=sum(call.seconds for call in calls), cpu_s=sum(call.cpu_seconds for call in calls)
    )
    above = None if peak is None or loaded_bytes is None else max(0, peak - loaded_bytes)
    return Prefill(attention=attention, model=spent, peak_bytes=above, loss=loss)


def second_half_loss(
    head: Callable[[Tensor], Tensor], hidden: Float[Tensor, "1 T C"], ids: Int[Tensor, "1 T"]
) -> float:
    """Mean negative log-likelihood, in nats, of the tokens in the second half of `ids`.

    Raises CorrectnessError if it is not finite.
    """
    half = ids.shape[1] // 2
    states, targets = hidden[0, half - 1 : -1], ids[0, half:]
    total = 0.0
    chunks = zip(torch.split(states, _LOSS_CHUNK), torch.split(targets, _LOSS_CHUNK), strict=True)
    for state, target in chunks:
        total += float(cross_entropy(head(state).float(), target, reduction="sum"))
    if not math.isfinite(total):
        raise CorrectnessError(
            f"loss: got {total} over {len(targets)} tokens, expected a finite number. Fix: check "
            "the model's weights; float16 overflows easily, so save them in float32 or bfloat16."
        )
    return total / len(targets)


def watch(
    model: PreTrainedModel,
    ids: Int[Tensor, "1 T"],
    config: TiledAttentionConfig,
    *,
    layer_done: Callable[[], None] = lambda: None,
) -> WhatWasRead:
    """Read `ids` once more, only to see what is read."""
    with (
        torch.inference_mode(),
        attention_of(model, config),
        recording(model, reports=True) as calls,
        each_layer(model, layer_done),
    ):
        model.base_model(input_ids=ids, use_cache=False)
    reports = [call.report for call in sorted(calls, key=lambda call: call.layer_idx)]
    return summarise([r for r in reports if r is not None], ids.shape[1], config.layout.sinks)


def summarise(reports: Sequence[TiledAttentionReport], tokens: int, sinks: int) -> WhatWasRead:
    """The measures of all layers together; the first `sinks` tokens are always read exactly."""
    rows = torch.stack([_token_row(report, tokens) for report in reports])
    by_token = rows.nanmean(0)
    by_token[:sinks] = math.nan
    return WhatWasRead(
        fraction_read=sum(report.fraction_read for report in reports) / len(reports),
        by_head=tuple(tuple(_by_head(report).tolist()) for report in reports),
        by_token=tuple(by_token.tolist()),
    )


def _token_row(report: TiledAttentionReport, tokens: int) -> Float[Tensor, " T"]:
    known = report.token_resolution()[0, :, :tokens].nanmean(0)
    return torch.nn.functional.pad(known, (0, tokens - len(known)), value=math.nan)


def _by_head(report: TiledAttentionReport) -> Float[Tensor, " H"]:
    """`read_by_block` over all blocks, each with the weight of its far field."""
    weight = (~report.resolution[0].isnan()).sum(-1)
    read = torch.where(weight > 0, report.read_by_block[0], 0.0)
    return (read * weight).sum(-1) / weight.sum(-1)
