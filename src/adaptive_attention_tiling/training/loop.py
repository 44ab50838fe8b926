"""The loop that trains a model on batches of tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from ..data.synthetic import IGNORED, TokenBatch
from ..errors import ArgumentError, CorrectnessError, DataError
from ..layers.gates import LogGate
from ..layers.state_space import StateRates
from ..splats import SplatField

Evaluate = Callable[[nn.Module], float]
AfterStep = Callable[[int, nn.Module, Optimizer], None]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long and how fast to learn.

    Args:
        steps: at most so many batches.
        learning_rate: the highest, reached after `warmup_steps` of linear rise; from there it
            falls as a cosine to `final_rate` times it at the last step.
        weight_decay: of weight matrices; never of what `parameter_groups` spares.
        clip_norm: largest norm of the gradient of all parameters.
        evaluate_every: steps from one evaluation to the next; the last step is always followed
            by one.
        target_accuracy: an evaluation that reaches it ends the training; None for none.
        seed: of what the model draws while it learns. Batches have their own.
    """

    steps: int
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    warmup_steps: int = 0
    final_rate: float = 0.1
    clip_norm: float = 1.0
    evaluate_every: int = 100
    target_accuracy: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ArgumentError(name, getattr(self, name), "a number > 0", f"raise {name}")
        for name in ("weight_decay", "warmup_steps", "final_rate"):
            if not getattr(self, name) >= 0:
                raise ArgumentError(name, getattr(self, name), "a number >= 0", f"raise {name}")
        if self.warmup_steps >= self.steps:
            raise ArgumentError(
                "warmup_steps", self.warmup_steps, f"fewer than steps={self.steps}", "warm up less"
            )

    def rate_at(self, step: int) -> float:
        """The learning rate of step 1, 2, ... `steps`."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_rate + (1.0 - self.final_rate) * cosine)


@dataclass(frozen=True)
class Evaluation:
    """The accuracy that was measured after a step."""

    step: int
    accuracy: float


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to: `losses` of each step, in nats per token that was asked for."""

    losses: tuple[float, ...]
    evaluations: tuple[Evaluation, ...]
    steps_to_target: int | None
    cpu_s: float

    @property
    def accuracy(self) -> float | None:
        """Of the last evaluation."""
        return self.evaluations[-1].accuracy if self.evaluations else None


def train(
    model: nn.Module,
    batches: Iterable[TokenBatch],
    config: TrainingConfig,
    *,
    evaluate: Evaluate | None = None,
    after_step: AfterStep | None = None,
) -> TrainingResult:
    """Teach a model, whose call on tokens [B, T] gives logits [B, T, V], the targets of batches.

    The same model, batches and config give the same losses, to the bit, on the same machine.

    Args:
        evaluate: the accuracy of the model, which is in evaluation mode and without gradients.
        after_step: called with the step, the model and the optimizer after each step, before an
            evaluation; it may change both.

    Raises:
        CorrectnessError: the loss of a step is not finite.
        DataError: the batches ended before the steps did.
    """
    optimizer = AdamW(parameter_groups(model, config.weight_decay), betas=config.betas)
    losses: list[float] = []
    evaluations: list[Evaluation] = []
    target, steps_to_target = config.target_accuracy, None
    stream = iter(batches)
    started_s = time.process_time()
    model.train()
    with torch.random.fork_rng({p.device for p in model.parameters() if p.is_cuda}):
        torch.manual_seed(config.seed)
        for step in range(1, config.steps + 1):
            losses.append(_step(model, _next(stream, step), optimizer, config, step))
            if after_step is not None:
                after_step(step, model, optimizer)
            if evaluate is None or (step % config.evaluate_every and step != config.steps):
                continue
            evaluations.append(Evaluation(step, _evaluated(model, evaluate)))
            if target is not None and evaluations[-1].accuracy >= target:
                steps_to_target = step
                break
    cpu_s = time.process_time() - started_s
    return TrainingResult(tuple(losses), tuple(evaluations), steps_to_target, cpu_s)


# Zero is no resting place for these: decay would move what they stand for.
SPARED = (nn.Embedding, nn.RMSNorm, nn.LayerNorm, LogGate, SplatField, StateRates)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight matrices with decay; the rest without, and all of `SPARED`."""
    spared: set[int] = set()
    for module in model.modules():
        if isinstance(module, SPARED):
            spared.update(id(parameter) for parameter in module.parameters())
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    without = [p for p in trained if p.dim() < 2 or id(p) in spared]
    decayed = [p for p in trained if p.dim() >= 2 and id(p) not in spared]
    groups: list[dict[str, object]] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": without, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _step(
    model: nn.Module, batch: TokenBatch, optimizer: Optimizer, config: TrainingConfig, step: int
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = config.rate_at(step)
    loss = token_loss(model(batch.inputs), batch.targets)
    value = loss.item()
    if not math.isfinite(value):
        raise CorrectnessError(
            f"loss: got {value} at step {step}, expected a finite number. Fix: lower learning_rate "
            f"{config.learning_rate}, or look for a batch without targets"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return value


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the targets that are not `IGNORED`."""
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _evaluated(model: nn.Module, evaluate: Evaluate) -> float:
    model.eval()
    with torch.no_grad():
        accuracy = float(evaluate(model))
    model.train()
    return accuracy


def _next(stream: Iterator[TokenBatch], step: int) -> TokenBatch:
    try:
        return next(stream)
    except StopIteration:
        raise DataError(
            f"batches: ended before step {step}. Fix: pass an endless iterator, or fewer steps"
        ) from None
