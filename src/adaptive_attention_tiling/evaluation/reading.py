"""A model reads a text with SDPA and with tiled attention: the whole comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Int
from torch import Tensor

from ..errors import ArgumentError
from ..inference.cache import TiledCache
from ..models.hf import attention_layers
from ..ops.tiled_attention import TiledAttentionConfig
from ..optional import require
from .continuation import Continuation, agreeing, fill, write
from .error_curve import Capture, Curve, error_curves, points_per_layer
from .exactness import check_exactness
from .prefill import Prefill, WhatWasRead, prefill, settled_bytes, watch
from .variant import attention_of, each_layer, observed

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

# Called with what begins now and its number of steps; gives what is to be called after each step.
Stage = Callable[[str, int], Callable[[], None]]

_SHORTEST = 16
_GATE_TOKENS = 1024


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """What to measure beside times, memory and loss.

    tolerances    one reading with tiled attention for each; the middle one also writes on
    new_tokens    length of the continuation
    curve_layers  how many layers, evenly spread, get curves of error against compute
    curve_tokens  the curves take at most so many tokens from the start of the text
    """

    tolerances: tuple[float, ...]
    new_tokens: int = 32
    curve_layers: int = 4
    curve_tokens: int = 4096

    def __post_init__(self) -> None:
        if not self.tolerances:
            raise ArgumentError("tolerances", "none", "at least one", "pass (0.1,)")
        self.configs()

    def configs(self) -> tuple[TiledAttentionConfig, ...]:
        """The settings of each reading, checked."""
        return tuple(TiledAttentionConfig(tolerance=x) for x in self.tolerances)

    @property
    def middle(self) -> int:
        """The index of the setting that writes on."""
        return len(self.tolerances) // 2


@dataclass(frozen=True, kw_only=True)
class TiledReading:
    """One setting of tiled attention: what it cost, and what was read."""

    tolerance: float
    prefill: Prefill
    read: WhatWasRead


@dataclass(frozen=True, kw_only=True)
class Continuations:
    """What was written after `prompt_tokens` tokens, exactly and at `tolerance`."""

    prompt_tokens: int
    tolerance: float
    exact: Continuation
    tiled: Continuation
    agreeing: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All results; `exactness` is the largest difference that the gate saw."""

    tokens: int
    exactness: float
    exact: Prefill
    tiled: tuple[TiledReading, ...]
    curves: tuple[Curve, ...]
    continuations: Continuations


def context_of(model: PreTrainedModel) -> int | None:
    """How many tokens the model was made for; None if its config does not say.

    RoBERTa and its like keep positions for padding, which no token can have.
    """
    found = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(found, int):
        return None
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return found if padding is None else found - padding - 1


def check_tokens(model: PreTrainedModel, tokens: int, new_tokens: int) -> None:
    """Raise an ArgumentError if the model cannot read so many tokens, or they are too few."""
    context = context_of(model)
    if tokens < _SHORTEST:
        raise ArgumentError("tokens", tokens, f"at least {_SHORTEST}", "read a longer text")
    if context is not None and tokens > context:
        raise ArgumentError(
            "tokens",
            tokens,
            f"at most {context}, the context this model was made for",
            f"ask for {context} tokens or fewer, or take a model with a longer context",
        )
    if context is not None and context - new_tokens < _SHORTEST:
        raise ArgumentError(
            "model",
            f"a context of {context} tokens",
            f"one that leaves {_SHORTEST} before the {new_tokens} that are written",
            "take a model with a longer context",
        )


def compare(
    model: PreTrainedModel, ids: Int[Tensor, "1 T"], plan: ReadingPlan, stage: Stage
) -> Reading:
    """Read `ids` in every way that `plan` asks for.

    Times are taken in passes of their own, without reports; the gate comes before all of them.

    Raises:
        ArgumentError: more tokens than the model can read, or too few.
        CorrectnessError: tiled attention that reads everything differs from SDPA, or what the
            model computes is not finite; then nothing is measured.
    """
    tokens, layers = ids.shape[1], len(attention_layers(model))
    check_tokens(model, tokens, plan.new_tokens)
    short = ids[:, :_GATE_TOKENS]
    with each_layer(model, stage("checking against SDPA", layers)):
        exactness = check_exactness(model, short)
    # Whatever is set up at the first call is paid here. Every reading starts from the same memory.
    prefill(model, short, plan.configs()[plan.middle], loaded_bytes=None)
    loaded = settled_bytes()

    def timed(config: TiledAttentionConfig | None, name: str) -> Prefill:
        return prefill(
            model,
            ids,
            config,
            loaded_bytes=loaded,
            layer_done=stage(f"reading, {name}", layers),
        )

    exact = timed(None, "SDPA")
    prefills = [timed(config, f"tolerance {config.tolerance:g}") for config in plan.configs()]
    tiled = tuple(
        TiledReading(
            tolerance=tolerance,
            prefill=measured,
            read=watch(
                model,
                ids,
                config,
                layer_done=stage(f"watching, tolerance {tolerance:g}", layers),
            ),
        )
        for tolerance, measured, config in zip(
            plan.tolerances, prefills, plan.configs(), strict=True
        )
    )
    capture = Capture(spread(layers, plan.curve_layers), plan.curve_tokens)
    continuations = _continue(model, ids, plan, capture, stage)
    steps = len(capture.layers) * points_per_layer()
    curves = error_curves(capture, point_done=stage("error against compute", steps))
    return Reading(
        tokens=tokens,
        exactness=exactness,
        exact=exact,
        tiled=tiled,
        curves=curves,
        continuations=continuations,
    )


def spread(layers: int, count: int) -> Sequence[int]:
    """`count` layers (or all, if there are fewer), evenly spread and away from both ends."""
    count = min(count, layers)
    return [int(layers * (number + 0.5) / count) for number in range(count)]


def _continue(
    model: PreTrainedModel,
    ids: Int[Tensor, "1 T"],
    plan: ReadingPlan,
    capture: Capture,
    stage: Stage,
) -> Continuations:
    """Both continuations; the exact one's reading is where `capture` looks at the model."""
    transformers = require("transformers", "hf", "the continuation")
    layers, context = len(attention_layers(model)), context_of(model)
    prompt = ids if context is None else ids[:, : context - plan.new_tokens]
    config = plan.configs()[plan.middle]

    def written(first: int, cache: Cache, name: str) -> Continuation:
        done = stage(f"writing, {name}", plan.new_tokens - 1)
        return write(model, first, plan.new_tokens, cache, token_done=done)

    exact_cache = transformers.DynamicCache(config=model.config)
    done = stage("filling the exact cache", layers)
    with observed(model, capture.see), each_layer(model, done):
        first = fill(model, prompt, exact_cache)
    with attention_of(model, None):
        exact = written(first, exact_cache, "exact cache")
    del exact_cache
    with attention_of(model, config):
        tiled_cache = TiledCache(config)
        with each_layer(model, stage("filling the adaptive cache", layers)):
            first = fill(model, prompt, tiled_cache)
        tiled = written(first, tiled_cache, "adaptive cache")
    return Continuations(
        prompt_tokens=prompt.shape[1],
        tolerance=plan.tolerances[plan.middle],
        exact=exact,
        tiled=tiled,
        agreeing=agreeing(exact.ids, tiled.ids),
    )
