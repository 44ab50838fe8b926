"""What tiled attention reads of SmolLM2's far field, and what it loses; nothing is trained.

    python experiments/tiled_reading.py [--table methods|layers|calibration] [--only WORD ...]
                                        [--tokens N] [--text NAME] [--quick] [--json PATH]

SmolLM2-135M-Instruct reads 8,192 tokens of a speech; all 30 attention layers are replaced. Loss is
that of the second half, in nats per token, above exact attention's. Compute is counted in
multiply-adds of scores and values, as a share of dense causal attention (far_rule.py); a
share of 20 % is 5 times fewer.

- `methods`: ways to read the far field at equal multiply-adds. Thresholds are found on captured
  queries, keys and values; the shares printed are those of the run itself. Emulated, so no times.
- `layers`: the same and variants, layer by layer on captured queries, keys and values: relative
  error of the attention output, share read, and the loss that a Fisher metric of the outputs
  (output_metric.py) predicts from the errors. The first of --shares is used.
- `calibration`: `tiled_attention` itself: loss, reads and processor time by tolerance, and whether
  its estimated error holds.

Minutes for each row on one core; the results lie in results/tiled_reading_*.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

# Before torch is imported: one core is what the times are told of.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import circumstances
from far_field import attend
from far_rule import BLOCK, Rule, Tally
from far_tree import Tree, grow
from output_metric import output_metric
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from adaptive_attention_tiling.data import SotuSpeeches, first_tokens, load_model
from adaptive_attention_tiling.data.sources import named
from adaptive_attention_tiling.evaluation.error_curve import Capture, relative_error
from adaptive_attention_tiling.evaluation.prefill import prefill, second_half_loss
from adaptive_attention_tiling.evaluation.variant import attention_of, observed
from adaptive_attention_tiling.models.hf import recording
from adaptive_attention_tiling.ops.tiled_attention import (
    TiledAttentionConfig,
    TiledAttentionReport,
    tiled_attention,
)

LAYERS = (0, 3, 8, 15, 22, 29)
OTHER_TEXT = "1907-Roosevelt-1"
SHARES = (0.16, 0.20, 0.33)
TOLERANCES = (0.1, 0.3, 0.03, 1.0)
METHODS = {
    "as tiled attention": Rule(sizes=(32, 8), decide="tail"),
    "pyramid": Rule(sizes=(64, 32, 16, 8), decide="tail"),
    "key space, means": Rule(sizes=(32, 8)),
    "top-k, rest dropped": Rule(sizes=(16,), order="contiguous", decide="bound", rest="drop"),
    "second order, rank 1": Rule(sizes=(64, 16), rest="second", rank=1),
    "uniform tiles": Rule(sizes=(16,), order="contiguous", decide="mass"),
    "greedy boundaries": Rule(sizes=(16,), order="greedy", decide="mass"),
    "key space, means, shared by 64": Rule(sizes=(32, 8), shared=64),
    "means to tiles of 4": Rule(sizes=(64, 16, 4)),
    "second order, rank 2": Rule(sizes=(64, 16), rest="second", rank=2),
    "oracle": Rule(sizes=(32, 8), decide="oracle"),
}
VARIANTS = {
    "tiles of 4 in 32": Rule(sizes=(32, 4)),
    "tiles of 16 in 64": Rule(sizes=(64, 16)),
    "by mass": Rule(sizes=(32, 8), decide="mass"),
    "weighed with |v|": Rule(sizes=(32, 8), unit="value"),
    "weighed for the loss": Rule(sizes=(32, 8), unit="fisher"),
    "shared by 256": Rule(sizes=(32, 8), shared=256),
    "contiguous tiles": Rule(sizes=(32, 8), order="contiguous"),
    "rest dropped": Rule(sizes=(32, 8), rest="drop"),
}
Layer = tuple[Tensor, Tensor, Tensor]


class Reader:
    """A model with a text, and what exact attention makes of it."""

    def __init__(self, text: str, tokens: int) -> None:
        self.model, self.tokenizer = load_model()
        ids = first_tokens(named(SotuSpeeches(), text), self.tokenizer, tokens)
        self.ids = torch.tensor([ids])
        self.layers: dict[int, Layer] = {}
        capture = Capture(LAYERS, tokens)
        with observed(self.model, capture.see):
            self.exact = self.loss()
        for number, (query, key, value, scale) in sorted(capture.kept.items()):
            self.layers[number] = query[0] * scale, key[0], value[0]

    def output_metric(self) -> Tensor:
        """What errors of each head's output mean for the loss, on another speech."""
        other = first_tokens(named(SotuSpeeches(), OTHER_TEXT), self.tokenizer, 2048)
        return output_metric(self.model, torch.tensor([other[: self.ids.shape[1]]]))

    def loss(self) -> float:
        """Nats per token on the second half, by whatever attention is in force."""
        with torch.inference_mode():
            hidden = self.model.base_model(input_ids=self.ids, use_cache=False).last_hidden_state
            return second_half_loss(self.model.get_output_embeddings(), hidden, self.ids)

    def emulated(self, rule: Rule) -> tuple[float, Tally]:
        """Loss with all layers read by `rule`, and what that takes."""
        tally = Tally()
        with emulation(self.model, rule, tally):
            return self.loss(), tally


@contextmanager
def emulation(model: Any, rule: Rule, tally: Tally) -> Iterator[None]:
    """Within the context, `model` attends as `rule` reads; one sequence, whole super-blocks."""
    from transformers import AttentionInterface

    def forward(
        module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, scaling: float, **__: Any
    ) -> tuple[Tensor, None]:
        out = attend(query[0] * scaling, key[0], value[0], rule, tally)
        return out[None].transpose(1, 2), None

    before = model.config._attn_implementation
    AttentionInterface.register("emulated_far_field", forward)
    model.set_attn_implementation("emulated_far_field")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def methods(reader: Reader, only: list[str], shares: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """One row for each method and share that it can be brought to; the middle share comes first."""
    chosen = [name for name in METHODS if not only or any(word in name for word in only)]
    for share, name in itertools.product(sorted(shares, key=lambda s: abs(s - 0.2)), chosen):
        bar = bar_for(reader, METHODS[name], share)
        if bar is None:
            yield {"method": name, "asked": share, "reached": None}
            continue
        started = time.process_time()
        loss, tally = reader.emulated(replace(METHODS[name], bar=bar))
        yield {
            "method": name,
            "asked": share,
            "bar": bar,
            "loss_added": loss - reader.exact,
            "shares": tally.shares(),
            "emulator_cpu_s": round(time.process_time() - started),
        }


def bar_for(reader: Reader, rule: Rule, share: float, metric: Tensor | None = None) -> float | None:
    """The bar at which a rule reads `share`, by false position on logarithms; None if none does."""
    trees = {
        number: grow_last(reader, number, rule, None if metric is None else metric[number])
        for number in reader.layers
    }
    low, high = (256.0, 4.0) if rule.decide == "bound" else (1e-5, 3.0)
    more, less = (expected_share(reader, replace(rule, bar=bar), trees) for bar in (low, high))
    if not less < share < more:
        return None
    bar = low
    for _ in range(5):
        part = math.log(more / share) / math.log(more / less)
        bar = math.exp((1 - part) * math.log(low) + part * math.log(high))
        found = expected_share(reader, replace(rule, bar=bar), trees)
        if abs(found / share - 1) < 0.02:
            break
        if found > share:
            low, more = bar, found
        else:
            high, less = bar, found
    return bar


def grow_last(reader: Reader, number: int, rule: Rule, metric: Tensor | None) -> Tree:
    """The tree of a captured layer, as the last block of queries reads it."""
    far = reader.ids.shape[1] - 2 * BLOCK
    tensors = (x[:, :far].contiguous() for x in reader.layers[number])
    return grow(*tensors, rule, metric, Tally())


def expected_share(reader: Reader, rule: Rule, trees: dict[int, Tree]) -> float:
    """Share over all queries, from the last block's: far reads grow linearly."""
    last = reader.ids.shape[1] // BLOCK - 1
    tally = Tally()
    for number, tree in trees.items():
        with torch.inference_mode():
            attend(*reader.layers[number], rule, tally, blocks=[last], tree=tree)
    far = (tally.look + tally.summaries + tally.tokens) * last / 2
    return (far + tally.near * last) / (tally.dense * (last + 1) / 2)


def layers(reader: Reader, only: list[str], share: float) -> Iterator[dict[str, Any]]:
    """Every method and variant at `share`: its error and reads in each captured layer."""
    metric = reader.output_metric()
    exact = {number: last_rows(*tensors) for number, tensors in reader.layers.items()}
    for name, rule in {**METHODS, **VARIANTS}.items():
        if only and not any(word in name for word in only):
            continue
        bar = bar_for(reader, rule, share, metric)
        if bar is None:
            yield {"method": name, "asked": share, "reached": None}
            continue
        found = {
            str(number): _layer(reader, number, replace(rule, bar=bar), metric[number], full)
            for number, full in exact.items()
        }
        predicted = sum(one["predicted_nats"] for one in found.values()) * len(metric) / len(found)
        reads = sum(one["far_rows_read"] for one in found.values()) / len(found)
        head = {"method": name, "asked": share, "bar": bar}
        yield {**head, "predicted_nats": predicted, "far_rows_read": reads, "layers": found}


def _layer(
    reader: Reader, number: int, rule: Rule, metric: Tensor, full: Tensor
) -> dict[str, float]:
    """Error of one layer's last block of queries; reads per far token."""
    last, tally = reader.ids.shape[1] // BLOCK - 1, Tally()
    with torch.inference_mode():
        out = attend(*reader.layers[number], rule, tally, metric=metric, blocks=[last])
    error = out - full
    far = full.shape[0] * BLOCK * (last - 1) * BLOCK
    return {
        "relative_error": relative_error(out, full),
        "l2_error": float(error.norm() / full.norm()),
        "predicted_nats": 0.5 * float(((error @ metric) * error).sum(-1).mean(1).sum()),
        "far_tokens_read": tally.tokens / far,
        "far_rows_read": (tally.look + tally.summaries + tally.tokens) / far,
    }


def last_rows(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Exact attention of the last block of queries."""
    length = query.shape[1]
    mask = torch.ones(BLOCK, length, dtype=torch.bool).tril(length - BLOCK)
    rows = query[None, :, -BLOCK:]
    return scaled_dot_product_attention(
        rows, key[None], value[None], attn_mask=mask, scale=1.0, enable_gqa=True
    )[0]


def calibration(reader: Reader, tolerances: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """The operation itself: what it costs the model, and how well it knows its error."""
    for number, (query, key, value) in reader.layers.items():
        for tolerance in tolerances:
            yield {"layer": number, **estimate_of(query, key, value, tolerance)}
    exact = prefill(reader.model, reader.ids, None, loaded_bytes=None)
    yield {"tolerance": 0.0, "loss": exact.loss, "attention_cpu_s": exact.attention.cpu_s}
    for tolerance in tolerances:
        config = TiledAttentionConfig(tolerance=tolerance)
        read = prefill(reader.model, reader.ids, config, loaded_bytes=None)
        with (
            torch.inference_mode(),
            attention_of(reader.model, config),
            recording(reader.model, reports=True) as calls,
        ):
            reader.model.base_model(input_ids=reader.ids, use_cache=False)
        reports = [call.report for call in calls if call.report is not None]
        yield {
            "tolerance": tolerance,
            "loss_added": read.loss - exact.loss,
            "attention_cpu_s": read.attention.cpu_s,
            "far_keys_read": sum(r.fraction_read for r in reports) / len(reports),
            "rows_read": sum(share_of_rows(r) for r in reports) / len(reports),
        }


def share_of_rows(report: TiledAttentionReport) -> float:
    """Rows that queries are multiplied with, over those of dense causal attention."""
    tokens, blocks = report.error_bound.shape[-1], report.rows_per_query.shape[-1]
    return float(report.rows_per_query.mean()) / ((tokens + 1) / 2) if blocks else 1.0


def estimate_of(query: Tensor, key: Tensor, value: Tensor, tolerance: float) -> dict[str, Any]:
    """Measured error of queries with a far field against the tolerance and `error_bound`."""
    with torch.inference_mode():
        options: dict[str, Any] = {"is_causal": True, "scale": 1.0, "enable_gqa": True}
        tensors = query[None], key[None], value[None]
        full = scaled_dot_product_attention(*tensors, **options)
        out, report = tiled_attention(*tensors, **options, tolerance=tolerance, return_report=True)
        unit = value.norm(dim=-1).cummax(-1).values.repeat_interleave(len(query) // len(key), 0)
        error = ((out - full)[0].norm(dim=-1) / unit)[:, 2 * BLOCK :].flatten()
        bound = report.error_bound[0, :, 2 * BLOCK :].flatten()
    ratio = error / bound.clamp_min(1e-6)
    return {
        "tolerance": tolerance,
        "within_tolerance": float((error <= tolerance).float().mean()),
        "within_estimate": float((error <= bound).float().mean()),
        "error_over_tolerance_p99": float(error.quantile(0.99) / tolerance),
        "error_over_tolerance_worst": float(error.max() / tolerance),
        "error_over_estimate_p90": float(ratio.quantile(0.9)),
        "far_keys_read": report.fraction_read,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=("methods", "layers", "calibration"), default="methods")
    parser.add_argument("--only", nargs="*", default=[], help="words of the methods wanted")
    parser.add_argument("--shares", nargs="*", type=float, default=list(SHARES))
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--text", default="1873-Grant-1", help="name of a speech")
    parser.add_argument(
        "--quick", action="store_true", help="1,024 tokens, one share: does it run?"
    )
    parser.add_argument("--json", metavar="PATH", help="write the results there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokens, shares, tolerances = options.tokens, tuple(options.shares), TOLERANCES
    if options.quick:
        tokens, shares, tolerances = 1024, (0.75,), (0.3,)
    reader = Reader(options.text, tokens)
    rows = {
        "methods": lambda: methods(reader, options.only, shares),
        "layers": lambda: layers(reader, options.only, shares[0]),
        "calibration": lambda: calibration(reader, tolerances),
    }[options.table]()
    head = {
        **circumstances("tiled_reading.py", options.json),
        "text": options.text,
        "tokens": tokens,
        "exact_loss": reader.exact,
        "methods": {name: asdict(rule) for name, rule in METHODS.items()},
    }
    done: list[dict[str, Any]] = []
    for row in rows:
        done.append(row)
        sys.stdout.write(json.dumps(rounded(row)) + "\n")
        sys.stdout.flush()
        if options.json:
            document = {**head, "rows": [rounded(r) for r in done]}
            Path(options.json).write_text(json.dumps(document, indent=1) + "\n")


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with five digits of every number."""
    return {
        name: rounded(x)
        if isinstance(x, dict)
        else float(f"{x:.5g}")
        if isinstance(x, float)
        else x
        for name, x in row.items()
    }


if __name__ == "__main__":
    main()
