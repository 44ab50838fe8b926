"""Tiled attention on a model's own queries, keys and values, against exact attention, by tolerance.

Five layers of SmolLM2-135M-Instruct (9 query heads, 3 key heads, width 64) on a speech. Exact
attention gets the shared heads as they are. A tolerance is an estimate, so the gate is: reading
everything gives exact attention, and at a tolerance the mean error, over max |v|, is within it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model, longest
from adaptive_attention_tiling.evaluation.error_curve import Capture
from adaptive_attention_tiling.evaluation.variant import observed
from adaptive_attention_tiling.ops.tiled_attention import tiled_attention

from .attentions import SDPA, sdpa
from .contender import Absent, Case, Contender
from .job import Job, rows_looked_at
from .measure import Options, run_cases
from .rules import softmax_rows

LAYERS = (0, 8, 15, 22, 28)
TOLERANCES = (0.03, 0.1, 0.3)


def run(options: Options) -> dict[str, Any]:
    if options.quick:
        return run_cases(cases(1024, LAYERS[1:2], (0.1,), 2))
    return run_cases(cases(8192, LAYERS, TOLERANCES, 3))


def cases(
    tokens: int, layers: Sequence[int], tolerances: Sequence[float], rounds: int
) -> Iterator[Case]:
    for layer, job in captured(tokens, layers).items():
        contenders: list[Contender | Absent] = [sdpa(job)]
        contenders += tiled(job, "R=1", resolution=1.0)
        for tolerance in tolerances:
            contenders += tiled(job, f"tolerance {tolerance}", tolerance=tolerance)
        yield Case(
            name=f"layer {layer}, {tokens} tokens",
            inputs=job.inputs,
            contenders=contenders,
            baseline=SDPA,
            rounds=rounds,
        )


def tiled(job: Job, name: str, **control: float) -> list[Contender | Absent]:
    attend = partial(tiled_attention, is_causal=True, enable_gqa=True, **control)
    forms = job.forms(f"tiled, {name}", attend, softmax_rows, forms=("eager", "native"))
    if "tolerance" not in control:
        return forms
    largest = float(job.tensors["value"].norm(dim=-1).max())
    distance = partial(mean_error, largest)
    return [
        replace(one, distance=distance, tolerance=control["tolerance"])
        if isinstance(one, Contender)
        else one
        for one in forms
    ]


def mean_error(largest: float, answer: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """The mean over queries of |o - o_exact| / max |v|."""
    return float(((answer[0] - truth[0]).norm(dim=-1) / largest).mean())


def captured(tokens: int, layers: Sequence[int]) -> dict[int, Job]:
    """Inputs of attention as the model made them, by layer."""
    model, tokenizer = load_model()
    speech = longest(SotuSpeeches())
    ids = torch.tensor([first_tokens(speech, tokenizer, tokens)])
    capture = Capture(layers, tokens)
    with torch.inference_mode(), observed(model, capture.see):
        model.base_model(input_ids=ids, use_cache=False)
    return {
        layer: Job(
            tensors={"query": query.clone(), "key": key.clone(), "value": value.clone()},
            outer=torch.ones_like(query),
            rows=rows_looked_at(tokens, 64),
            backward=False,
            inputs={"B": 1, "H": query.shape[1], "G": key.shape[1], "T": tokens, "D": 64}
            | {"text": speech.name, "layer": layer, "dtype": "float32"},
        )
        for layer, (query, key, value, _) in sorted(capture.kept.items())
    }
