"""SmolLM2 reads a speech with exact and with tiled attention, untrained: loss and time.

All 30 layers of SmolLM2-135M-Instruct; loss in nats per token on the second half, above exact
attention's; time is that of all attention calls together. The gate: in every layer, reading every
tile gives exact attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model, longest
from adaptive_attention_tiling.evaluation.exactness import check_exactness
from adaptive_attention_tiling.evaluation.prefill import Prefill, prefill, settled_bytes
from adaptive_attention_tiling.ops.tiled_attention import TiledAttentionConfig

from .contender import pinned_to
from .job import native_sets
from .measure import Options, tell

TOLERANCES = (0.01, 0.03, 0.1, 0.3)
_GATE_TOKENS = 1024


def run(options: Options) -> dict[str, Any]:
    if options.quick:
        return measure(1024, (0.1,), 1)
    return measure(8192, TOLERANCES, 2)


def measure(tokens: int, tolerances: Sequence[float], rounds: int) -> dict[str, Any]:
    model, tokenizer = load_model()
    speech = longest(SotuSpeeches())
    ids = torch.tensor([first_tokens(speech, tokenizer, tokens)])
    ways = {"sdpa": ("off", None)} | {
        f"tolerance {tolerance}, {'torch' if pin == 'off' else f'native {pin}'}": (
            pin,
            TiledAttentionConfig(tolerance=tolerance),
        )
        for tolerance in tolerances
        for pin in pins()
    }
    errors = {}
    for pin in pins():
        with pinned_to(pin):
            errors[pin] = check_exactness(model, ids[:, :_GATE_TOKENS])
    loaded = settled_bytes()
    found: dict[str, list[Prefill]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (pin, config) in ways.items():
            with pinned_to(pin):
                found[name].append(prefill(model, ids, config, loaded_bytes=loaded))
    rows = [row(name, own, found["sdpa"]) for name, own in found.items()]
    for each in rows:
        tell("  ".join(f"{key}: {value}" for key, value in each.items()))
    return {"text": speech.name, "tokens": tokens, "exactness": errors, "rows": rows}


def pins() -> list[str]:
    """Native kernels off, and those of the fastest set that runs here."""
    return ["off", *(name for name, reason in native_sets(all_sets=False) if not reason)]


def row(name: str, own: list[Prefill], exact: list[Prefill]) -> dict[str, Any]:
    over = [a.attention.cpu_s / b.attention.cpu_s for a, b in zip(exact, own, strict=True)]
    whole = [a.model.cpu_s / b.model.cpu_s for a, b in zip(exact, own, strict=True)]
    return {
        "way": name,
        "attention_cpu_s": round(median(one.attention.cpu_s for one in own), 2),
        "sdpa / it": round(median(over), 3),
        "model, sdpa / it": round(median(whole), 3),
        "loss": round(own[0].loss, 4),
        "loss above exact": round(own[0].loss - exact[0].loss, 4),
    }
