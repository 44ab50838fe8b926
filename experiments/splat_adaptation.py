"""Does an adaptive splat field beat a fixed one where the distribution of the data shifts?

    python experiments/splat_adaptation.py [--quick] [--json PATH]

All arms have the same splats, parameters, steps and data, and are trained by AdamW; some may
edit the structure of their fields besides (`ARMS`). Two settings, of three and five seeds,
in about a quarter of an hour of one core:

- `field`: clusters of points, whose centres all move at each of two shifts. A field alone, without
  projections, is trained to give a point the label of its own cluster, by attention to labelled
  points: o_i = sum_j A_ij onehot(label_j) / sum_j A_ij, loss -log o_i[label_i]. It starts with
  wide splats at random, or with narrow ones that k-means fits to the first phase.
- `model`: a GPT of two splat layers learns associative recall, whose keys are other tokens after
  the shift.

What comes before the first shift is the control: does adaptation hurt where nothing shifts?
An arm has recovered where its accuracy after the shift first reaches 95 % of what it was
before. The result lies in results/splat_adaptation.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

# Before torch is imported: one core is what the times are told of.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from circumstances import commit
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import AdamW, Optimizer

from adaptive_attention_tiling.data.synthetic import (
    AssociativeRecall,
    ShiftingClusters,
    TokenBatch,
)
from adaptive_attention_tiling.layers import (
    GateConfig,
    GaussianSplatAttentionConfig,
    ProjectionConfig,
    SplatFieldConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.ops.gaussian_splat import splat_attention
from adaptive_attention_tiling.splats import (
    AdaptationConfig,
    AdaptationPolicy,
    SplatField,
    measure_coverage,
)
from adaptive_attention_tiling.training import FieldAdaptation, TrainingConfig, train

# Dense rounds that do not thin out, gaps nearer to the splats, and splits of what is not yet huge.
EAGER = {
    "every": 25,
    "growth": 1.0,
    "start": 25,
    "window": 20,
    "most": 4,
    "radius": 3.5,
    "split": 2.0,
}
ARMS: dict[str, dict[str, Any]] = {
    "fixed": {"every": None},
    "default": {"every": 100},
    "eager": EAGER,
}
RECOVERED = 0.95
SEEDS = {"field": 3, "model": 5}

CENTRES, DIMENSION, FIELD_SPLATS, FIELD_RATE, CONTEXT = 8, 16, 12, 1e-2, 48
PAIRS, VOCABULARY, LENGTHS, MODEL_SPLATS, MODEL_RATE = 4, 128, (16, 32, 64), 32, 1e-2


def field_run(
    arm: str, seed: int, *, start: str, phase_steps: int, phases: int = 3
) -> dict[str, Any]:
    """Train a field through all phases; what it was worth before and after each shift."""
    source = ShiftingClusters(
        shifts=tuple(phase_steps * n for n in range(1, phases)),
        centres=CENTRES,
        dimension=DIMENSION,
        seed=seed,
    )
    torch.manual_seed(seed)
    field = SplatField.random(heads=1, splats=FIELD_SPLATS, width=DIMENSION)
    if start == "kmeans":
        points, _ = source.vectors(0, 16, torch.Generator().manual_seed(seed))
        field = SplatField.kmeans(points.flatten(0, 1)[None], splats=FIELD_SPLATS)
    optimizer = AdamW(field.parameters(), lr=FIELD_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    policy = AdaptationPolicy(AdaptationConfig(**ARMS[arm], seed=seed), field, optimizer)
    generator = torch.Generator().manual_seed(1000 + seed)
    edits, track = 0, []
    started_s = time.process_time()
    for step in range(phase_steps * phases):
        if step % 10 == 0 or source.phase(step) != source.phase(step + 1):
            track.append(_field_score(field, source, step))
        points, labels = source.vectors(step, 16, generator)
        optimizer.zero_grad()
        _label_loss(field, points, labels)[0].backward()
        optimizer.step()
        policy.observe(points[:, None])
        edits += policy.step(step).edits
    cpu_s = time.process_time() - started_s
    return {"edits": edits, "cpu_s": round(cpu_s, 1), **_phases(track, source.shifts)}


def _label_loss(field: SplatField, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, accuracy) of the labels that the last points read from the first `CONTEXT` ones."""
    query, key = points[:, None, CONTEXT:], points[:, None, :CONTEXT]
    value = one_hot(labels[:, None, :CONTEXT], CENTRES).to(points)
    out = splat_attention(query, key, value, field)[:, 0]
    wanted = labels[:, CONTEXT:]
    share = out.gather(-1, wanted[..., None]).clamp(min=1e-6)
    return -share.log().mean(), (out.argmax(-1) == wanted).float().mean()


@torch.no_grad()
def _field_score(field: SplatField, source: ShiftingClusters, step: int) -> dict[str, float]:
    points, labels = source.vectors(step, 64, torch.Generator().manual_seed(99))
    loss, accuracy = _label_loss(field, points, labels)
    covered = measure_coverage(field.splats(), points.flatten(0, 1)[None]).share
    numbers = {"loss": loss, "accuracy": accuracy, "coverage": covered}
    return {"step": step, **{name: float(x) for name, x in numbers.items()}}


def _phases(track: list[dict[str, float]], shifts: tuple[int, ...]) -> dict[str, Any]:
    """What a run was worth before each shift, right after, over the next phase and at the end."""
    found: dict[str, Any] = {"final": track[-1]}
    ends = [*shifts[1:], track[-1]["step"] + 1]
    for number, (shift, end) in enumerate(zip(shifts, ends, strict=True), 1):
        before = [t for t in track if t["step"] < shift][-1]
        after = [t for t in track if shift <= t["step"] < end]
        there = (t["step"] for t in after if t["accuracy"] >= RECOVERED * before["accuracy"])
        back = next(there, None)
        found[f"shift_{number}"] = {
            "before": before,
            "after": after[0],
            "mean_accuracy_after": mean(t["accuracy"] for t in after),
            "mean_loss_after": mean(t["loss"] for t in after) if "loss" in after[0] else None,
            "steps_to_recover": None if back is None else back - shift,
        }
    return found


def model_run(arm: str, seed: int, *, steps: int, shift: int) -> dict[str, Any]:
    """Train a GPT on recall, whose keys change after `shift` steps."""
    sources = [
        ShiftingClusters(
            shifts=(shift,),
            recall=AssociativeRecall(vocabulary=VOCABULARY, length=length, pairs=PAIRS),
        )
        for length in LENGTHS
    ]
    torch.manual_seed(seed)
    model = _model()
    adaptation = FieldAdaptation(model, AdaptationConfig(**ARMS[arm], seed=seed))
    edits, track = 0, []

    def after_step(step: int, model: nn.Module, optimizer: Optimizer) -> None:
        nonlocal edits
        adaptation(step, model, optimizer)
        edits += sum(report.edits for report in adaptation.reports.values())
        # Batches count from 0, steps from 1: batch `step` is the next one.
        if step % 25 == 0 or step + 1 == shift:
            track.append({"step": step, "accuracy": _recall(model, sources[-1], step)})

    config = TrainingConfig(
        steps=steps, learning_rate=MODEL_RATE, warmup_steps=20, final_rate=1.0, seed=seed
    )
    result = train(model, _batches(sources, seed), config, after_step=after_step)
    losses, cpu_s = result.losses, round(result.cpu_s, 1)
    end = {"edits": edits, "cpu_s": cpu_s, "final_loss": mean(losses[-100:])}
    found = _phases(track, (shift,))
    return {**end, "mean_accuracy": mean(t["accuracy"] for t in track[-6:]), **found}


def _model() -> GPT:
    part = ProjectionConfig(width=64, heads=1, query_width=16, convolution_width=4)
    mixer = GaussianSplatAttentionConfig(
        projection=part,
        field=SplatFieldConfig(splats=MODEL_SPLATS),
        gates=GateConfig(write=True),
    )
    return GPT(GPTConfig(vocabulary=VOCABULARY, width=64, depth=2, mixers=mixer))


def _batches(sources: list[ShiftingClusters], seed: int) -> Iterator[TokenBatch]:
    generator = torch.Generator().manual_seed(1000 + seed)
    for step in itertools.count():
        yield sources[step % len(sources)].batch(16, generator, step=step)


def _recall(model: nn.Module, source: ShiftingClusters, step: int) -> float:
    batch = source.batch(128, torch.Generator().manual_seed(99), step=step)
    model.eval()
    with torch.no_grad():
        right = model(batch.inputs).argmax(-1) == batch.targets
    model.train()
    return float(right[batch.targets >= 0].float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="PATH", help="write the results there")
    parser.add_argument("--quick", action="store_true", help="one seed, few steps: does it run?")
    options = parser.parse_args()
    torch.set_num_threads(1)
    short, long, shift = (40, 60, 30) if options.quick else (300, 600, 350)
    settings = {
        "field, random start": lambda arm, seed: field_run(
            arm, seed, start="random", phase_steps=short
        ),
        "field, kmeans start": lambda arm, seed: field_run(
            arm, seed, start="kmeans", phase_steps=short
        ),
        "model": lambda arm, seed: model_run(arm, seed, steps=long, shift=shift),
    }
    results: dict[str, Any] = {}
    for name, run in settings.items():
        results[name] = {}
        for arm in ARMS:
            seeds = 1 if options.quick else SEEDS[name.split(",")[0]]
            runs = [run(arm, seed) for seed in range(seeds)]
            summary = _summary(runs)
            results[name][arm] = {"summary": summary, "runs": runs}
            sys.stdout.write(f"{name} {arm}: {json.dumps(summary)}\n")
            sys.stdout.flush()
            if options.json:
                whole = {**_circumstances(), "arms": ARMS, "results": results}
                Path(options.json).write_text(json.dumps(whole, indent=1) + "\n")


def _summary(runs: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    """[mean, deviation over seeds] of all numbers; the steps to recover of each seed."""
    flat = [dict(_flat(run)) for run in runs]
    summary: dict[str, list[float | None]] = {}
    for name in flat[0]:
        values = [run[name] for run in flat]
        if name.endswith("steps_to_recover"):
            summary[name] = values
        elif not name.endswith("step") and None not in values:
            spread = stdev(values) if len(values) > 1 else 0.0
            summary[name] = [round(mean(values), 4), round(spread, 4)]
    return summary


def _flat(run: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in run.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _circumstances() -> dict[str, str]:
    return {
        "command": " ".join(["python experiments/splat_adaptation.py", *sys.argv[1:]]),
        "commit": commit(),
        "torch": torch.__version__,
        "machine": f"one core, {platform.machine()}",
    }


if __name__ == "__main__":
    main()
