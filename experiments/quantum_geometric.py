"""Which stages of quantum geometric attention pay, at equal parameters, steps and time?

    python experiments/quantum_geometric.py [--table recall language] [--arms NAME ...]
        [--seeds 0 1 2] [--workers 2] [--quick]

Each stage alone is put on plain fidelity attention, and each is taken from the whole. A state has
as many amplitudes in every arm, and the token-wise networks are made as much smaller as an arm has
parameters besides: all arms have as many as "plain" within 1 %. Two exercises, of two blocks
without positions but with a short convolution, AdamW at a constant rate after a warm-up; what is
tested is the exponential moving average of the weights, so that a curve may be read at any step:

    recall    MQAR with noise: 128 tokens, 8 pairs, 128 ids, trained on 32 tokens and 4 pairs in
              turn; width 64, 4 heads; accuracy
    language  State of the Union speeches as 1,024 byte-pair tokens, 256 at a time; every tenth
              speech is held out; width 128, 4 heads; nats a token
    longer    language for twice as many steps, added when half of the others had run: no part of
              the rule

The arm "projective", added after the first results, gives states the amplitude along one axis that
points of hyperbolic space have, and nothing hyperbolic.

Processor seconds of a step are medians of steps of all arms taken in turn in one process, so that
what else the machine does weighs on all alike. "Equal time" reads an arm's curve where it has had
the processor time of plain's last step, between two tests on a straight line; arms that are faster
than plain are read at their last step.

The rule, fixed before any run: a stage is on by default only if, at equal time, its gain over plain
(accuracy more, nats less) is on one exercise at least greater than the spread, and on none less
than minus the spread. Gain and spread are mean and standard deviation of the differences between
runs of the same seed. With three seeds that is t > 1.73, which chance alone exceeds once in nine
times: the rule errs towards keeping a stage.

Results: experiments/results/quantum_geometric.json, one entry a run, read back when started again.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from adaptive_system import texts
from circumstances import circumstances, commit
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adaptive_attention_tiling.data.synthetic import IGNORED, AssociativeRecall, TokenBatch
from adaptive_attention_tiling.layers import (
    LinearAttentionConfig,
    MixerConfig,
    ProjectionConfig,
    QuantumGeometricAttentionConfig,
    SoftmaxAttentionConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.training import TrainingConfig, train

RESULTS = Path(__file__).parent / "results" / "quantum_geometric.json"
DEPTH, RATIO, WARM_UP, TESTS = 2, 1.0, 50, 15
AVERAGING = 0.98  # of weights, per step
TIMED = 9  # steps

OFF: dict[str, Any] = {"geometry": "flat", "num_layers": 0, "motive_rank": 0, "routes": 0}
ON: dict[str, Any] = {"geometry": "lorentz", "num_layers": 1, "motive_rank": 4, "routes": 1}
STAGES = {"Lorentz": "geometry", "flow": "num_layers", "heights": "motive_rank", "routes": "routes"}
ARMS: dict[str, dict[str, Any] | None] = {
    "plain": OFF,
    "softmax": None,
    "linear": None,
    "Lorentz": OFF | {"geometry": "lorentz"},
    "heights": OFF | {"motive_rank": 4},
    "routes 1": OFF | {"routes": 1},
    "flow 1": OFF | {"num_layers": 1},
    "all": ON,
    "flow 2": OFF | {"num_layers": 2},
    "flow 3": OFF | {"num_layers": 3},
    "routes 2": OFF | {"routes": 2},
    "projective": OFF | {"geometry": "projective"},
    **{f"all but {name}": ON | {key: OFF[key]} for name, key in STAGES.items()},
}


@dataclass(frozen=True)
class Exercise:
    """What is learnt, by what, how long, and which figure is better: the higher (1), lower (-1)."""

    task: str
    vocabulary: int
    width: int
    heads: int
    amplitudes: int
    rate: float
    steps: int
    better: int
    figure: str

    def mixer(self, arm: str) -> MixerConfig:
        projection = ProjectionConfig(width=self.width, heads=self.heads, convolution_width=4)
        settings = ARMS[arm]
        if settings is None:
            kinds = {"softmax": SoftmaxAttentionConfig, "linear": LinearAttentionConfig}
            return kinds[arm](projection=projection)
        numbers = self.amplitudes - (settings["geometry"] != "flat")
        return QuantumGeometricAttentionConfig(
            projection=projection, manifold_dim=numbers, **settings
        )

    def model(self, arm: str) -> GPT:
        """With as many parameters as plain, as nearly as a network's width lets them be."""
        hidden = round(RATIO * self.width)
        surplus = count(self.built(arm, hidden)) - count(self.built("plain", hidden))
        return self.built(arm, hidden - round(surplus / (DEPTH * 3 * self.width)))

    def built(self, arm: str, hidden: int) -> GPT:
        return GPT(
            GPTConfig(
                vocabulary=self.vocabulary,
                width=self.width,
                depth=DEPTH,
                network_ratio=hidden / self.width,
                mixers=self.mixer(arm),
            )
        )


EXERCISES = {
    "recall": Exercise("recall", 128, 64, 4, 6, 1e-2, 600, 1, "accuracy"),
    "language": Exercise("language", 1024, 128, 4, 12, 3e-3, 160, -1, "nats a token"),
}
RULED = tuple(EXERCISES)  # what the rule reads
EXERCISES["longer"] = replace(EXERCISES["language"], steps=320)
RECALL = [
    (rows, AssociativeRecall(vocabulary=128, length=length, pairs=pairs))
    for rows, length, pairs in ((64, 32, 4), (16, 128, 8))
]
LENGTH, ROWS, WINDOWS = 256, 8, 32


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def recall_batches(seed: int) -> Iterator[TokenBatch]:
    generator = torch.Generator().manual_seed(1000 + seed)
    for rows, task in itertools.cycle(RECALL):
        yield task.batch(rows, generator)


def language_batches(seed: int) -> Iterator[TokenBatch]:
    generator, tokens = torch.Generator().manual_seed(1000 + seed), speeches()[0]
    while True:
        yield windows(tokens, torch.randint(len(tokens) - LENGTH, (ROWS,), generator=generator))


def windows(tokens: Tensor, starts: Tensor) -> TokenBatch:
    rows = torch.stack([tokens[start : start + LENGTH + 1] for start in starts.tolist()])
    return TokenBatch(inputs=rows[:, :-1], targets=rows[:, 1:])


speeches = cache(texts)


@cache
def held_out(task: str) -> TokenBatch:
    if task == "recall":
        return RECALL[-1][1].batch(256, torch.Generator().manual_seed(7))
    tokens = speeches()[1]
    return windows(tokens, torch.linspace(0, len(tokens) - LENGTH - 1, WINDOWS).long())


def figure(task: str, model: nn.Module) -> float:
    """Accuracy of what was asked, or nats a token, on held-out text."""
    batch = held_out(task)
    model.eval()
    logits = torch.cat([model(rows) for rows in batch.inputs.split(ROWS)])
    if task == "language":
        return cross_entropy(logits.flatten(0, 1), batch.targets.flatten()).item()
    asked = batch.targets != IGNORED
    return float((logits.argmax(-1) == batch.targets)[asked].float().mean())


BATCHES: dict[str, Callable[[int], Iterator[TokenBatch]]] = {
    "recall": recall_batches,
    "language": language_batches,
}


@dataclass(frozen=True)
class Job:
    """One training: everything that decides its result."""

    exercise: str
    arm: str
    seed: int
    steps: int


def run(job: Job) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    exercise = EXERCISES[job.exercise]
    model = exercise.model(job.arm)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    curve: list[tuple[int, float, float]] = []
    every = max(1, job.steps // TESTS)
    testing_s, began_s = 0.0, time.process_time()

    def after_step(step: int, model: nn.Module, optimizer: object) -> None:
        nonlocal testing_s
        now_s = time.process_time()
        average.update_parameters(model)
        if step % every == 0 or step == job.steps:
            with torch.no_grad():
                curve.append((step, now_s - began_s - testing_s, figure(exercise.task, average)))
        testing_s += time.process_time() - now_s

    batches = BATCHES[exercise.task](job.seed)
    next(batches)  # what is read once, before any time is taken
    began_s = time.process_time()
    train(model, batches, training(exercise, job.steps, job.seed), after_step=after_step)
    return {
        "exercise": job.exercise,
        "arm": job.arm,
        "seed": job.seed,
        "steps": job.steps,
        "parameters": count(model),
        "figure": curve[-1][2],
        "training_cpu_s": round(curve[-1][1], 2),
        "curve": [[step, round(cpu_s, 2), round(found, 4)] for step, cpu_s, found in curve],
        "commit": commit(),
    }


def training(exercise: Exercise, steps: int, seed: int) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        learning_rate=exercise.rate,
        warmup_steps=min(WARM_UP, steps // 4),
        final_rate=1.0,
        seed=seed,
    )


def step_seconds(task: str, rounds: int = TIMED) -> dict[str, float]:
    """Median processor seconds of a training step of each arm, all arms taken in turn."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    models = {arm: EXERCISES[task].model(arm) for arm in ARMS}
    batches = BATCHES[task](0)
    config = training(EXERCISES[task], 2, 0)
    taken: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for _ in range(rounds):
        pair = [next(batches), next(batches)]  # recall's sizes come in turn
        for arm, model in models.items():
            began_s = time.process_time()
            train(model, pair, config)
            taken[arm].append((time.process_time() - began_s) / 2)
    return {arm: round(median(all_s[1:]), 4) for arm, all_s in taken.items()}


def read_at(curve: list[list[float]], step: float) -> float:
    """The figure at a step, between two tests on a straight line; the last one from there on."""
    before = curve[0]
    for point in curve:
        if point[0] >= step:
            if point is before:
                return point[2]
            share = (step - before[0]) / (point[0] - before[0])
            return before[2] + share * (point[2] - before[2])
        before = point
    return before[2]


def gains(runs: list[dict[str, Any]], exercise: str, arm: str, share: float) -> list[float]:
    """By how much an arm is better than plain, run by run of a seed, after `share` of its steps."""
    found: dict[str, dict[int, float]] = {}
    for name, part in (("plain", 1.0), (arm, share)):
        own = [r for r in runs if r["exercise"] == exercise and r["arm"] == name]
        found[name] = {r["seed"]: read_at(r["curve"], part * r["steps"]) for r in own}
    both = sorted(found[arm].keys() & found["plain"].keys())
    better = EXERCISES[exercise].better
    return [better * (found[arm][seed] - found["plain"][seed]) for seed in both]


def spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else float("nan")


def summary(runs: list[dict[str, Any]], seconds: dict[str, dict[str, float]]) -> str:
    lines = []
    for name, exercise in EXERCISES.items():
        own = [r for r in runs if r["exercise"] == name]
        arms = [arm for arm in ARMS if any(r["arm"] == arm for r in own)]
        if "plain" not in arms:
            continue
        lines += [
            f"\n{name}, {exercise.figure} after {own[0]['steps']} steps; gains over plain of the "
            "same seed\n",
            f"| arm | parameters | CPU s a step | {exercise.figure} | gain at equal steps "
            "| gain at equal time |",
            "|---|---|---|---|---|---|",
        ]
        lines += [row(own, name, arm, seconds[exercise.task]) for arm in arms]
    return "\n".join(lines)


def row(runs: list[dict[str, Any]], exercise: str, arm: str, seconds: dict[str, float]) -> str:
    own = sorted((r for r in runs if r["arm"] == arm), key=lambda r: r["seed"])
    each = [r["figure"] for r in own]
    cells = [arm, str(own[0]["parameters"]), f"{seconds[arm]:.3f}", told(each)]
    for share in (1.0, seconds["plain"] / seconds[arm]):
        cells.append("-" if arm == "plain" else told(gains(runs, exercise, arm, share), "+"))
    return "| " + " | ".join(cells) + " |"


def told(values: list[float], sign: str = "") -> str:
    each = " / ".join(f"{x:{sign}.3f}" for x in values)
    return f"{mean(values):{sign}.4f} ± {spread(values):.4f} ({each})"


def pays(runs: list[dict[str, Any]], seconds: dict[str, dict[str, float]], arm: str) -> bool:
    """The rule of this file's head."""
    sizes = []
    for exercise in RULED:
        share = seconds[exercise]["plain"] / seconds[exercise][arm]
        own = gains(runs, exercise, arm, share)
        sizes.append((mean(own), spread(own)))
    return any(m > s for m, s in sizes) and not any(m < -s for m, s in sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="*", choices=list(EXERCISES), default=list(RULED))
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few steps, one seed, nothing kept")
    options = parser.parse_args()
    kept: dict[str, Any] = {"step_seconds": {}, "runs": []}
    if options.quick:
        options.seeds = [0]
    elif RESULTS.exists():
        kept = json.loads(RESULTS.read_text())
    jobs = [
        Job(name, arm, seed, 8 if options.quick else EXERCISES[name].steps)
        for seed, arm, name in itertools.product(options.seeds, options.arms, options.table)
    ]
    done = {(r["exercise"], r["arm"], r["seed"], r["steps"]) for r in kept["runs"]}
    jobs = [j for j in jobs if (j.exercise, j.arm, j.seed, j.steps) not in done]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        timings = {
            name: pool.submit(step_seconds, name, 3 if options.quick else TIMED)
            for name in {EXERCISES[table].task for table in options.table}
            if not ARMS.keys() <= kept["step_seconds"].get(name, {}).keys()
        }
        trainings = [pool.submit(run, job) for job in jobs]
        kept["step_seconds"] |= {name: future.result() for name, future in timings.items()}
        for future in as_completed(trainings):
            last = future.result()
            kept["runs"].append(last)
            print(
                f"{last['exercise']}, {last['arm']}, seed {last['seed']}: {last['figure']:.4f}, "
                f"{last['training_cpu_s']:.0f} s",
                flush=True,
            )
            if not options.quick:
                found = {**circumstances("quantum_geometric.py", None), **kept}
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(summary(kept["runs"], kept["step_seconds"]))
    verdict(kept)


def verdict(kept: dict[str, Any]) -> None:
    """Print which arms pay by the rule, of those that have all runs."""
    for arm in ARMS:
        have = {r["exercise"] for r in kept["runs"] if r["arm"] == arm}
        if have >= set(RULED) and arm != "plain" and not arm.startswith("all but"):
            says = "pays" if pays(kept["runs"], kept["step_seconds"], arm) else "does not pay"
            print(f"{arm}: {says}")


if __name__ == "__main__":
    main()
