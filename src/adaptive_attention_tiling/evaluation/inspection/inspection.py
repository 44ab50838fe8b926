"""Every head of a model on one text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ...errors import ArgumentError, UnsupportedError
from ..diagnostics import check_laws
from ..recommendation import (
    HeadOption,
    HeadSensitivity,
    OptionTrial,
    Recommendation,
    default_options,
    head_sensitivity,
    recommend,
)
from .document import document_of
from .head import HeadInspection, HeadTask, inspect_head
from .layer_calls import LayerCall, show_layers
from .plan import InspectionPlan
from .workers import Workers, workers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Called with what begins now and its number of steps; gives what is to be called after each step.
Stage = Callable[[str, int], Callable[[], None]]

_PREFIX = 8
# Layers whose heads may wait for a worker, so that memory does not grow with depth.
_LAYERS_AHEAD = 2


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_model` found.

    Args:
        kind: "decoder" if queries see keys up to themselves only, else "encoder".
        key_value_heads: G, which the H heads share.
        found: [L][H].
        options: what heads might read instead of all keys; the first is exact.
        sensitivity: [L][H], nats per token or `unit` that an error as large as the output does.
        by_budget: asked budget and recommendation; a budget below the cheapest options gets those.
        chosen: what a head's page recommends.
        violations: figures that break their own law, by name; none if all is well.
        seconds: by the clock.
        processor_seconds: of all processes together, by kind of work.
    """

    kind: str
    tokens: int
    key_value_heads: int
    plan: InspectionPlan
    found: tuple[tuple[HeadInspection, ...], ...]
    options: tuple[HeadOption, ...]
    sensitivity: tuple[tuple[float, ...], ...]
    unit: str
    by_budget: tuple[tuple[float, Recommendation], ...]
    chosen: Recommendation
    violations: tuple[str, ...]
    seconds: float
    processor_seconds: dict[str, float]

    @property
    def layers(self) -> int:
        """L."""
        return len(self.found)

    @property
    def heads(self) -> int:
        """H."""
        return len(self.found[0])

    def document(
        self,
        *,
        command: str,
        model: str,
        text: str,
        pieces: Sequence[str],
        machine: Mapping[str, Any],
        versions: Mapping[str, Any],
    ) -> dict[str, Any]:
        """All of it as one JSON document, with the words and names that it does not know itself.

        Lists stand by layer and head. Numbers are finite, rounded to what is known of them, and
        None where there is none.

        Args:
            command: that gives the same again.
            model, text: their names.
            pieces: of the text, one a token.
            machine, versions: where it was made.
        """
        return document_of(
            self,
            command=command,
            model=model,
            text=text,
            pieces=pieces,
            machine=machine,
            versions=versions,
        )


def inspect_model(
    model: PreTrainedModel,
    ids: Int[Tensor, "1 T"],
    plan: InspectionPlan | None = None,
    stage: Stage = lambda name, steps: lambda: None,
) -> Inspection:
    """Let `model` read `ids` once and look at every head of every layer while it does.

    Which heads matter is found first, from the beginning of the text; see `head_sensitivity`.
    Queries, keys and values of about two layers are kept at a time.

    Args:
        model: a Hugging Face decoder or encoder, in eval mode.
        ids: one text of two tokens or more.
        stage: told what begins; see `Stage`.

    Raises:
        ArgumentError: fewer than two tokens, or more than the model takes; a pattern that the text
            is too short for.
        UnsupportedError: attention that is no plain softmax; see `show_layers`.
        CorrectnessError: what the model computes is not finite.
    """
    plan = InspectionPlan() if plan is None else plan
    began, spent = time.perf_counter(), dict[str, float]()
    check_text(model, ids)
    with _Stopwatch(spent, "which heads matter"):
        first = _shapes(model, ids[:, :_PREFIX])
        layers, heads, groups = len(first), first[0][0], first[0][1]
        steps = stage("which heads matter", 1)
        sensitivity = head_sensitivity(
            model, ids[:, : plan.sensitivity_tokens], draws=plan.sensitivity_draws
        )
        steps()
    options = default_options(ids.shape[1])
    causal: list[bool] = []
    read = stage("reading the text", layers)
    with (
        workers(
            inspect_head,
            plan.workers,
            waiting=_LAYERS_AHEAD * heads,
            done=stage("looking at heads", layers * heads),
        ) as crew,
        _Stopwatch(spent, "reading the text"),
    ):

        def see(call: LayerCall) -> None:
            causal.append(call.is_causal)
            _give(crew, call, options, sensitivity, plan)
            read()

        show_layers(model, ids, see)
        found = crew.results()
    inside = {name: sum(head.seconds[name] for head in found) for name in found[0].seconds}
    if plan.workers == 1:
        spent["reading the text"] -= sum(inside.values())
    rows = tuple(tuple(found[n * heads : (n + 1) * heads]) for n in range(layers))
    with _Stopwatch(spent, "recommending"):
        told = _recommendations(rows, options, sensitivity, plan, ids.shape[1])
    return Inspection(
        kind="decoder" if causal[0] else "encoder",
        tokens=ids.shape[1],
        key_value_heads=groups,
        plan=plan,
        found=rows,
        options=options,
        sensitivity=tuple(map(tuple, sensitivity.values.tolist())),
        unit=sensitivity.unit,
        by_budget=tuple(told[:-1]),
        chosen=told[-1][1],
        violations=tuple(
            f"layer {head.layer}, head {head.head}: {law}"
            for head in found
            for law in check_laws(head.values, ids.shape[1])
        ),
        seconds=time.perf_counter() - began,
        processor_seconds={**spent, **inside},
    )


def check_text(model: PreTrainedModel, ids: Int[Tensor, "1 T"]) -> None:
    """Raise an ArgumentError for a text that the model cannot read, or without any attention."""
    from ..reading import context_of

    if ids.dim() != 2 or len(ids) != 1:
        raise ArgumentError("ids", f"shape {list(ids.shape)}", "[1, T]", "pass one text")
    tokens, context = ids.shape[1], context_of(model)
    if tokens < 2:
        raise ArgumentError("tokens", tokens, "at least 2", "read a longer text")
    if context is not None and tokens > context:
        raise ArgumentError(
            "tokens",
            tokens,
            f"at most {context}, the context this model was made for",
            f"ask for {context} tokens or fewer, or take a model with a longer context",
        )


def _shapes(model: PreTrainedModel, ids: Tensor) -> list[tuple[int, int]]:
    """H and G of each call; the same in all of them."""
    shapes: list[tuple[int, int]] = []
    show_layers(model, ids, lambda call: shapes.append((len(call.query), len(call.key))))
    if len(set(shapes)) > 1:
        raise UnsupportedError(
            f"model: {type(model).__name__} has layers of {sorted(set(shapes))} heads and "
            "key-value heads, expected the same in each. Fix: inspect a model whose layers are "
            "alike."
        )
    return shapes


def _give(
    crew: Workers[HeadTask, HeadInspection],
    call: LayerCall,
    options: tuple[HeadOption, ...],
    sensitivity: HeadSensitivity,
    plan: InspectionPlan,
) -> None:
    heads, shared = len(call.query), len(call.query) // len(call.key)
    plain = tuple((o.name, o.kind, dict(o.parameters)) for o in options)
    for head in range(heads):
        crew.give(
            HeadTask(
                layer=call.number,
                head=head,
                number=call.number * heads + head,
                query=_array(call.query[head]),
                key=_array(call.key[head // shared]),
                value=_array(call.value[head // shared]),
                scale=call.scale,
                is_causal=call.is_causal,
                metric=sensitivity.metric[call.number, head].cpu().numpy(),
                options=plain,
                plan=plan,
            )
        )


def _array(x: Tensor) -> np.ndarray[Any, Any]:
    # Tensors would go to other processes through shared memory, of which containers have little.
    return np.array(x.float().cpu().numpy(), order="C")


def _recommendations(
    found: tuple[tuple[HeadInspection, ...], ...],
    options: tuple[HeadOption, ...],
    sensitivity: HeadSensitivity,
    plan: InspectionPlan,
    tokens: int,
) -> list[tuple[float, Recommendation]]:
    """One for each budget, and the one that heads' pages show."""
    trials = [
        [[OptionTrial(o, *t) for o, t in zip(options, head.trials, strict=True)] for head in row]
        for row in found
    ]
    cheapest = [min(trial.cost for trial in head) for row in trials for head in row]
    # Rounding must not put the cheapest options above a budget that is just theirs.
    least = sum(cheapest) / len(cheapest) * (1 + 1e-9)
    weights = sensitivity.values.tolist()
    told = [
        (budget, recommend(trials, weights, budget=max(budget, least), tokens=tokens))
        for budget in sorted(plan.budgets)
    ]
    middle = dict(told)[plan.middle]
    if plan.tolerance is None:
        return [*told, (plan.middle, middle)]
    chosen = recommend(trials, weights, tolerance=plan.tolerance, tokens=tokens)
    return [*told, (plan.middle, chosen)]


class _Stopwatch:
    """Adds the processor time of this process to an entry."""

    def __init__(self, spent: dict[str, float], name: str) -> None:
        self._spent, self._name = spent, name

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._spent[self._name] = time.process_time() - self._began
