"""Does a memory written at adaptive resolution lose less than one written evenly, at equal compute?

    python experiments/adaptive_system.py [--arms NAME ...] [--seeds 0 1] [--steps 160] [--quick]

A GPT of 2 blocks of width 128 reads State of the Union speeches as byte-pair tokens (1,024 of
them, found in the training speeches). Its mixers are `AdaptiveAttentionSystem`s: attention to the
token's own super-block of 32 tokens and the one before it, and everything farther through a state
of 32 channels a head, to which every super-block is written in tiles of 8 to 32 tokens. Every
tenth speech is held out. AdamW at 2e-3 with a warm-up and a cosine; equal steps and equal batches.

Arms:

    full           every tile at resolution 1
    adaptive R     tiles and resolutions by dynamic programme, mean resolution R held by the price
                   alone, gradients straight through
    ... no estimator   the same without a gradient of the choice
    ... penalty    the same with lambda_compute = 1 beside the price
    uniform R      tiles of 32 tokens, all at resolution R
    no memory      the near field alone: what the memory is worth

Results: experiments/results/adaptive_system.json, one entry a run, read back when started again.
The share of compute is that of the mixers' multiply-adds over those of the arm "full".
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from circumstances import commit
from torch.nn.functional import cross_entropy

from adaptive_attention_tiling.data import SotuSpeeches
from adaptive_attention_tiling.data.synthetic import TokenBatch
from adaptive_attention_tiling.layers import (
    AdaptiveAttentionConfig,
    AdaptiveAttentionSystem,
    ProjectionConfig,
)
from adaptive_attention_tiling.models.gpt import GPT, GPTConfig
from adaptive_attention_tiling.training import AdaptiveOptimizer, TrainingConfig, train

VOCABULARY, WIDTH, DEPTH, LENGTH, ROWS = 1024, 128, 2, 1024, 4
WINDOWS = 24  # of held-out text
RESULTS = Path(__file__).parent / "results" / "adaptive_system.json"
PROJECTION = ProjectionConfig(width=WIDTH, heads=4, rotary_base=10_000.0)

MAIN = ("full", "adaptive 0.5", "uniform 0.5", "no memory")  # are run first
ARMS: dict[str, dict[str, Any]] = {
    "full": {"compute_budget": 1.0},
    "adaptive 0.5": {"compute_budget": 0.5, "lambda_compute": 0.0},
    "adaptive 0.5, no estimator": {
        "compute_budget": 0.5,
        "lambda_compute": 0.0,
        "estimator": "none",
    },
    "uniform 0.5": {"compute_budget": 0.5, "rule": "uniform"},
    "no memory": {"state_space": False},
    "adaptive 0.25": {"compute_budget": 0.25, "lambda_compute": 0.0},
    "uniform 0.25": {"compute_budget": 0.25, "rule": "uniform"},
    "adaptive 0.5, penalty": {"compute_budget": 0.5, "lambda_compute": 1.0},
}


def mixer_of(arm: str) -> AdaptiveAttentionConfig:
    return AdaptiveAttentionConfig(
        sequence_length=LENGTH,
        projection=PROJECTION,
        min_tile_size=8,
        max_tile_size=32,
        resolutions=(1, 1 / 2, 1 / 4, 1 / 8),
        d_state=32,
        **ARMS[arm],
    )


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of the training and of the held-out speeches, one after another."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    speeches = [document.text for document in SotuSpeeches().documents()]
    held_out = speeches[5::10]
    kept = [text for index, text in enumerate(speeches) if index % 10 != 5]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(kept, trainer)

    def encoded(parts: list[str]) -> torch.Tensor:
        return torch.tensor([i for e in tokenizer.encode_batch(parts) for i in e.ids])

    return encoded(kept), encoded(held_out)


def stream(tokens: torch.Tensor, seed: int) -> Iterator[TokenBatch]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        starts = torch.randint(len(tokens) - LENGTH, (ROWS,), generator=generator)
        rows = torch.stack([tokens[start : start + LENGTH + 1] for start in starts])
        yield TokenBatch(inputs=rows[:, :-1], targets=rows[:, 1:])


def learn(model: GPT, tokens: torch.Tensor, arm: str, seed: int, steps: int) -> list[float]:
    """Losses of the steps."""
    config = TrainingConfig(
        steps=steps, learning_rate=2e-3, warmup_steps=min(20, steps // 4), seed=seed
    )
    batches = stream(tokens, 1000 + seed)
    if arm == "no memory":
        return list(train(model, batches, config).losses)
    optimizer = AdaptiveOptimizer(model)
    losses = []
    for step in range(1, steps + 1):
        for group in optimizer.optimizer.param_groups:
            group["lr"] = config.rate_at(step)
        report = optimizer.optimize_step(next(batches))
        losses.append(report.task_loss)
        if step % 20 == 0:
            print(f"  {step}: {report.task_loss:.3f}, R {report.mean_resolution:.3f}", flush=True)
    return losses


@torch.no_grad()
def held_out_figures(model: GPT, tokens: torch.Tensor) -> dict[str, Any]:
    """Loss in nats a token, what the mixers cost, and how long it took."""
    model.eval()
    systems = [m for m in model.modules() if isinstance(m, AdaptiveAttentionSystem)]
    tiling_s = [0.0]
    for system in systems:
        if system.memory is not None:
            time_calls(system.memory.choice, tiling_s)
    starts = torch.linspace(0, len(tokens) - LENGTH - 1, WINDOWS).long()
    losses, costs, resolutions = [], [], []
    began_s = time.process_time()
    for start in starts.split(ROWS):
        rows = torch.stack([tokens[s : s + LENGTH + 1] for s in start])
        logits = model(rows[:, :-1]).transpose(1, 2)
        losses.append(cross_entropy(logits, rows[:, 1:], reduction="none"))
        costs.append([asdict(s.compute_cost) for s in systems])
        resolutions.append([s.mean_resolution for s in systems])
    cpu_s = time.process_time() - began_s
    loss = torch.cat(losses).double()
    parts = {k: sum(c[k] for batch in costs for c in batch) / loss.numel() for k in costs[0][0]}
    return {
        "loss": loss.mean().item(),
        "loss_late": loss[:, LENGTH // 2 :].mean().item(),
        "resolution": mean(r for batch in resolutions for r in batch),
        "multiply_adds_per_token": {k: round(v) for k, v in parts.items() if k != "full"},
        "evaluation_cpu_s": round(cpu_s, 2),
        "tiling_cpu_s": round(tiling_s[0], 2),
    }


def time_calls(module: torch.nn.Module, total_s: list[float]) -> None:
    began: list[float] = []
    module.register_forward_pre_hook(lambda *_: began.append(time.process_time()))

    def ended(*_: object) -> None:
        total_s[0] += time.process_time() - began.pop()

    module.register_forward_hook(ended)


def run(arm: str, seed: int, steps: int, kept: torch.Tensor, held: torch.Tensor) -> dict[str, Any]:
    torch.manual_seed(seed)
    mixers = mixer_of(arm)
    model = GPT(GPTConfig(vocabulary=VOCABULARY, width=WIDTH, depth=DEPTH, mixers=mixers))
    began_s = time.process_time()
    losses = learn(model, kept, arm, seed, steps)
    training_s = time.process_time() - began_s
    return {
        "arm": arm,
        "seed": seed,
        "steps": steps,
        "last_training_loss": mean(losses[-20:]),
        "training_cpu_s": round(training_s, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        **held_out_figures(model, held),
    }


def summary(runs: list[dict[str, Any]]) -> str:
    full = [mixing(r) for r in runs if r["arm"] == "full"]
    lines = [
        "| arm | held-out loss (seeds) | mean R | writing, multiply-adds a token | mixers' share "
        "of compute | CPU s to train | to evaluate |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        own = sorted((r for r in runs if r["arm"] == arm), key=lambda r: r["seed"])
        if not own:
            continue
        each = " / ".join(f"{r['loss']:.4f}" for r in own)
        share = f"{mean(map(mixing, own)) / mean(full):.3f}" if full else "-"
        written = mean(r["multiply_adds_per_token"]["writing"] for r in own)
        trained, read = (mean(r[k] for r in own) for k in ("training_cpu_s", "evaluation_cpu_s"))
        lines.append(
            f"| {arm} | {mean(r['loss'] for r in own):.4f} ({each}) | "
            f"{mean(r['resolution'] for r in own):.3f} | {written:.0f} | {share} | {trained:.0f} | "
            f"{read:.1f} |"
        )
    return "\n".join(lines)


def mixing(run: dict[str, Any]) -> float:
    """Multiply-adds a token of all parts."""
    return float(sum(run["multiply_adds_per_token"].values()))


def circumstances() -> dict[str, str]:
    return {
        "command": "python experiments/adaptive_system.py " + " ".join(sys.argv[1:]),
        "commit": os.environ.get("AAT_COMMIT") or commit(),
        "machine": f"{processor()}, 1 thread, torch {torch.__version__}",
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--quick", action="store_true", help="few steps, nothing kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs: list[dict[str, Any]] = []
    if options.quick:
        options.steps, options.seeds = 8, [0]
    elif RESULTS.exists():
        runs = json.loads(RESULTS.read_text())["runs"]
    done = {(r["arm"], r["seed"], r["steps"]) for r in runs}
    kept, held = texts()
    print(f"{len(kept)} tokens to learn, {len(held)} held out", flush=True)
    main_arms = [arm for arm in options.arms if arm in MAIN]
    for arms in (main_arms, [arm for arm in options.arms if arm not in MAIN]):
        for seed, arm in itertools.product(options.seeds, arms):
            if (arm, seed, options.steps) in done:
                continue
            runs.append(run(arm, seed, options.steps, kept, held))
            last = runs[-1]
            print(f"{arm}, seed {seed}: {last['loss']:.4f}, R {last['resolution']:.3f}", flush=True)
            if not options.quick:
                RESULTS.parent.mkdir(exist_ok=True)
                found = {**circumstances(), "runs": runs}
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(summary(runs))


if __name__ == "__main__":
    main()
