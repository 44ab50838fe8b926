"""Which mixers remember associations: MQAR in Zoology's form, with its noise.

    python experiments/recall.py [--table NAME] [--workers 2] [--quick]

Question: at equal model width, steps and data, what accuracy does each mixer reach, after how many
steps 0.99, and with how many bytes of state? Two layers of width 64, one head, a short convolution
before q, k and v, queries and keys of width 16 (fidelity: m), AdamW 1e-2 with a cosine, no
positions. Tables:

    recall      256 tokens, 16 pairs, 1,024 ids; trained on 64, 128 and 256 tokens in turn
    background  64, 128 and 256 splats under a strong and a weak background; 64 tokens, 8 pairs,
                128 ids
    widths      64 and 128 splats that start wide, with queries and keys of width 16 and 64
    kinds       covariance kinds of 64 splats on the same
    starts      random, k-means and PCA starts of 64 splats on the same
    preparations  fidelity with states of amplitudes and of angles, without and with phases; 128
                tokens, 8 pairs, 512 ids, trained on 64 and 128 tokens in turn

Results: experiments/results/recall_<table>.json, one entry a run, read back when started again;
what they say is in docs/log.md.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch

from adaptive_attention_tiling.data.synthetic import IGNORED, AssociativeRecall, TokenBatch
from adaptive_attention_tiling.layers import (
    FidelityAttentionConfig,
    GateConfig,
    GaussianSplatAttention,
    GaussianSplatAttentionConfig,
    LinearAttentionConfig,
    MixerConfig,
    ProjectionConfig,
    ResolventAttentionConfig,
    SoftmaxAttentionConfig,
    SplatFieldConfig,
    StatePreparation,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.splats import SplatField
from adaptive_attention_tiling.training import TrainingConfig, train

WIDTH, QUERY_WIDTH = 64, 16
RESULTS = Path(__file__).parent / "results"
PROJECTION = ProjectionConfig(width=WIDTH, heads=1, convolution_width=4, query_width=QUERY_WIDTH)
WIDE = replace(PROJECTION, query_width=None)
BACKGROUND = 1e-7


def sharp(width: int) -> float:
    """Deviation of splats at the start: sharp, whatever the default is."""
    return 1.2


def wide(width: int) -> float:
    """A standard normal point and centre have a mean squared distance of 4 deviations."""
    return (width * 2 / 4) ** 0.5


def splats(
    count: int = 64, *, start: str = "random", background: float = BACKGROUND, **settings: Any
) -> GaussianSplatAttentionConfig:
    kind = settings.pop("kind", "diagonal")
    field = SplatFieldConfig(splats=count, kind=kind, init=start, background=background)
    return GaussianSplatAttentionConfig(projection=PROJECTION, field=field, **settings)


def fidelity(
    state_width: int, kind: Literal["amplitude", "angle"] = "amplitude", *, phases: bool = False
) -> FidelityAttentionConfig:
    return FidelityAttentionConfig(
        projection=PROJECTION,
        preparation=StatePreparation(kind=kind, phases=phases),
        state_width=state_width,
        gates=GateConfig(write=True),
    )


TABLES: dict[str, dict[str, MixerConfig]] = {
    "recall": {
        "softmax": SoftmaxAttentionConfig(projection=WIDE),
        "resolvent, alpha = 0.5": ResolventAttentionConfig(projection=WIDE),
        "linear (elu + 1), 64 features": LinearAttentionConfig(projection=WIDE),
        "fidelity, m = 12, write gate": FidelityAttentionConfig(
            projection=WIDE, state_width=12, gates=GateConfig(write=True)
        ),
        "fidelity, m = 16, write gate": FidelityAttentionConfig(
            projection=WIDE, state_width=16, gates=GateConfig(write=True)
        ),
        "fidelity, m = 24, write gate": FidelityAttentionConfig(
            projection=WIDE, state_width=24, gates=GateConfig(write=True)
        ),
        "splats, K = 64": splats(),
        "splats, K = 64, write gate": splats(gates=GateConfig(write=True)),
        "splats, K = 64, window 16": splats(window=16),
        "splats, K = 128": splats(128),
        "splats, full: K = 128, write gate, window 16": splats(
            128, gates=GateConfig(write=True), window=16
        ),
        "splats, PCA start: K = 128, write gate, window 16": splats(
            128, start="pca", gates=GateConfig(write=True), window=16
        ),
        "splats, K = 256, write gate": splats(256, gates=GateConfig(write=True)),
        "splats, K = 256, top 4, write gate": splats(256, top_m=4, gates=GateConfig(write=True)),
    },
    "preparations": {
        "amplitudes, m = 12": fidelity(12),
        "amplitudes, m = 16": fidelity(16),
        "amplitudes with phases, m = 9": fidelity(9, phases=True),
        "amplitudes with phases, m = 12": fidelity(12, phases=True),
        "4 angles, m = 16": fidelity(16, "angle"),
        "3 angles with phases, m = 8": fidelity(8, "angle", phases=True),
    },
    "background": {
        f"splats, K = {count}, background {background:g}": splats(count, background=background)
        for count in (64, 128, 256)
        for background in (1e-3, 1e-7)
    },
    "widths": {
        f"splats, K = {count}, query width {width}": replace(
            splats(count, background=1e-6), projection=replace(PROJECTION, query_width=width)
        )
        for width in (16, 64)
        for count in (64, 128)
    },
    "kinds": {
        "scalar": splats(kind="scalar"),
        "diagonal": splats(),
        "low_rank, rank 2": splats(kind="low_rank"),
        "full": splats(kind="full"),
    },
    "starts": {
        "random": splats(),
        "kmeans": splats(start="kmeans"),
        "pca": splats(start="pca"),
    },
}


@dataclass(frozen=True)
class Job:
    """One training: everything that decides its result."""

    table: str
    name: str
    seed: int
    steps: int


@dataclass(frozen=True)
class Exercise:
    """What a table trains on in turn, (sequences a batch, tokens, pairs); the last is tested."""

    sizes: tuple[tuple[int, int, int], ...]
    ids: int
    steps: int

    @property
    def tasks(self) -> list[tuple[int, AssociativeRecall]]:
        """(sequences a batch, task), in turn."""
        return [
            (rows, AssociativeRecall(vocabulary=self.ids, length=length, pairs=pairs))
            for rows, length, pairs in self.sizes
        ]


SHORT = Exercise(((32, 64, 8),), ids=128, steps=300)
EXERCISES = {
    "recall": Exercise(((64, 64, 4), (32, 128, 8), (16, 256, 16)), ids=1024, steps=500),
    "preparations": Exercise(((32, 64, 4), (16, 128, 8)), ids=512, steps=500),
}


def run(job: Job) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    config, exercise = TABLES[job.table][job.name], EXERCISES.get(job.table, SHORT)
    model = GPT(
        GPTConfig(vocabulary=exercise.ids, width=WIDTH, depth=2, network_ratio=1.0, mixers=config)
    )
    mixture = exercise.tasks
    _, tested = mixture[-1]
    scale = wide if job.table == "widths" else sharp
    start(model, tested.batch(8, torch.Generator().manual_seed(3)), scale)
    held_out = tested.batch(64, torch.Generator().manual_seed(7))

    def evaluate(model: torch.nn.Module) -> float:
        asked = held_out.targets != IGNORED
        right = model(held_out.inputs).argmax(-1) == held_out.targets
        return float(right[asked].float().mean())

    result = train(
        model,
        stream(mixture, torch.Generator().manual_seed(1000 + job.seed)),
        TrainingConfig(
            steps=job.steps,
            learning_rate=1e-2,
            warmup_steps=min(50, job.steps // 4),
            evaluate_every=50,
            target_accuracy=0.99,
            seed=job.seed,
        ),
        evaluate=evaluate,
    )
    return {
        "name": job.name,
        "seed": job.seed,
        "steps": job.steps,
        "accuracy": result.accuracy,
        "steps_to_0.99": result.steps_to_target,
        "curve": [[e.step, round(e.accuracy, 4)] for e in result.evaluations],
        "state_bytes": state_bytes(model, held_out.inputs[:1]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_s": round(result.cpu_s, 1),
    }


def start(model: GPT, batch: TokenBatch, scale: Callable[[int], float]) -> None:
    """Random fields get the deviation that was chosen; others cover what the text gives them."""
    x = model.embedding(batch.inputs)
    for block in model.blocks:
        mixer = block.mixer
        if isinstance(mixer, GaussianSplatAttention):
            if mixer.config.field.init != "random":
                mixer.fit_field(block.mixer_norm(x))
            else:
                rescale(mixer.field, scale(mixer.field.width))
        x = x + block.kick(x, None)
        x = (x + block.drift(x)).detach()


def rescale(field: SplatField, scale: float) -> None:
    values = field.splats().detached()
    factor = None if values.factor is None else values.factor * (scale / values.scale.mean())
    field.set_splats(replace(values, scale=torch.full_like(values.scale, scale), factor=factor))


def stream(
    mixture: list[tuple[int, AssociativeRecall]], generator: torch.Generator
) -> Iterator[TokenBatch]:
    while True:
        for rows, task in mixture:
            yield task.batch(rows, generator)


@torch.no_grad()
def state_bytes(model: GPT, tokens: torch.Tensor) -> int:
    """What a generation carries in both layers' attention after these tokens."""
    _, state = model.eval()(tokens, return_state=True)
    total = 0
    for block in state.blocks:
        kept = block.attention
        if hasattr(kept, "bytes"):
            total += kept.bytes
        else:  # a cache of keys and values
            total += sum(t.numel() * t.element_size() for t in vars(kept).values() if t is not None)
    return total


def summary(runs: list[dict[str, Any]], names: list[str]) -> str:
    lines = [
        "| mixer | steps | accuracy (seeds) | steps to 0.99 | state bytes |",
        "|---|---|---|---|---|",
    ]
    given = sorted({(names.index(r["name"]), r["steps"]) for r in runs if r["name"] in names})
    for number, limit in given:
        name = names[number]
        own = [r for r in runs if r["name"] == name and r["steps"] == limit]
        own.sort(key=lambda r: r["seed"])
        each = " / ".join(f"{r['accuracy']:.3f}" for r in own)
        steps = " / ".join(str(r["steps_to_0.99"] or "-") for r in own)
        average = mean(r["accuracy"] for r in own)
        lines.append(
            f"| {name} | {limit} | {average:.3f} ({each}) | {steps} | {own[0]['state_bytes']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=sorted(TABLES), default="recall")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="run only mixers with this in their name")
    parser.add_argument("--steps", type=int, help="default: 500, and 300 on short texts")
    parser.add_argument("--quick", action="store_true", help="few steps, one seed, nothing kept")
    options = parser.parse_args()
    path = RESULTS / f"recall_{options.table}.json"
    steps = options.steps or EXERCISES.get(options.table, SHORT).steps
    runs: list[dict[str, Any]] = []
    if options.quick:
        options.seeds, steps = 1, 8
    elif path.exists():
        runs = json.loads(path.read_text())
    done = {(r["name"], r["seed"], r["steps"]) for r in runs}
    names = list(TABLES[options.table])
    jobs = [
        Job(options.table, name, seed, steps)
        for seed in range(options.seeds)
        for name in names
        if (name, seed, steps) not in done and options.only in name
    ]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, job) for job in jobs]):
            runs.append(future.result())
            last = runs[-1]
            print(
                f"{last['name']}, seed {last['seed']}: accuracy {last['accuracy']:.3f}, 0.99 after "
                f"{last['steps_to_0.99']} steps, {last['cpu_s']:.0f} s",
                flush=True,
            )
            if not options.quick:
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(runs, indent=1) + "\n")
    print(summary(runs, names))


if __name__ == "__main__":
    main()
