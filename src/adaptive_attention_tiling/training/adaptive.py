"""A step of training that holds a compute budget by moving the price of tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..data.synthetic import TokenBatch
from ..errors import ArgumentError, CorrectnessError
from ..layers import AdaptiveAttentionSystem
from ..tiling import adaptation_efficiency, load_imbalance
from .loop import parameter_groups, token_loss


@dataclass(frozen=True)
class StepReport:
    """What a step came to.

    Attributes:
        task_loss: in nats per target.
        penalty: of compute and information, mean over the systems.
        mean_resolution: of the tokens that were cut into tiles, mean over the systems.
        compute_share: multiply-adds of all systems over those at full resolution, where all keys
            are read and all tokens written in full.
        prices: of a row in each system, after the step.
        adaptation_efficiency: AE of chapter 3.4.2 over this one step: the change of the mean
            resolution times 1 - sigmoid(load imbalance of the tiles), mean over the systems.
    """

    task_loss: float
    penalty: float
    mean_resolution: float
    compute_share: float
    prices: tuple[float, ...]
    adaptation_efficiency: float


class AdaptiveOptimizer:
    """A thin step around a torch optimizer that also adapts tiles.

        optimizer = AdaptiveOptimizer(model, base_lr=3e-4)
        for batch in batches:
            report = optimizer.optimize_step(batch, compute_budget=0.5)

    In order: forward with the tiles' present prices; the task's loss and the systems' penalties;
    backward; the optimizer's step; then the prices, from the tokens of this step, for the next one.

    Source: chapter 4.5.2, which adapts between forward and backward. There the backward pass of
    checkpointed layers would compute other tiles again than those that made the loss; and a price
    found from the weights before the step is no better known earlier.

    Args:
        model: tokens [B, T] to logits [B, T, V]; holds at least one `AdaptiveAttentionSystem` with
            a state-space path.
        base_lr, weight_decay: of AdamW, if no `optimizer` is given. Learning rates may be set in
            `optimizer.param_groups` at any time.
        optimizer: of the model's parameters.
        clip_norm: largest norm of all gradients.
        rate: part of the way that each step moves the logarithm of a price to where its own
            tokens would meet the budget. Small ones even out what single batches have by chance.
    """

    def __init__(
        self,
        model: nn.Module,
        base_lr: float = 1e-4,
        optimizer: Optimizer | None = None,
        *,
        weight_decay: float = 0.1,
        clip_norm: float = 1.0,
        rate: float = 0.5,
    ) -> None:
        self.systems = _systems(model)
        if not 0 < rate <= 1:
            raise ArgumentError("rate", rate, "a number in (0, 1]", "use 0.5")
        if optimizer is None:
            optimizer = AdamW(parameter_groups(model, weight_decay), lr=base_lr, betas=(0.9, 0.95))
        self.model, self.optimizer = model, optimizer
        self.clip_norm, self.rate = clip_norm, rate
        self._resolutions: list[float] | None = None

    def optimize_step(self, batch: TokenBatch, compute_budget: float | None = None) -> StepReport:
        """Learn one batch, and move the prices towards a mean resolution of `compute_budget`.

        Args:
            compute_budget: of every system; the present one of each if None.

        Raises:
            CorrectnessError: the loss is not finite.
        """
        self.model.train()
        task = token_loss(self.model(batch.inputs), batch.targets)
        penalty = torch.stack([system.penalty() for system in self.systems]).mean()
        loss = task + penalty
        if not math.isfinite(loss.item()):
            raise CorrectnessError(
                f"loss: got {loss.item()}, expected a finite number. Fix: lower the learning rate, "
                "or look for a batch without targets"
            )
        figures = self._figures()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        prices = tuple(s.adapt_tiling(compute_budget, rate=self.rate) for s in self.systems)
        return StepReport(task.item(), penalty.item(), *figures[:2], prices, figures[2])

    def _figures(self) -> tuple[float, float, float]:
        """Mean resolution, compute share and adaptation efficiency of the last forward pass."""
        resolutions = [system.mean_resolution for system in self.systems]
        costs = [cost for s in self.systems if (cost := s.compute_cost) is not None]
        share = sum(cost.total for cost in costs) / sum(cost.full for cost in costs)
        before = self._resolutions or resolutions
        change = torch.tensor(resolutions) - torch.tensor(before)
        uneven = torch.stack([_imbalance(system) for system in self.systems])
        self._resolutions = resolutions
        efficiency = adaptation_efficiency(change, uneven)
        return sum(resolutions) / len(resolutions), share, efficiency.item()


def _systems(model: nn.Module) -> list[AdaptiveAttentionSystem]:
    found = [
        module
        for module in model.modules()
        if isinstance(module, AdaptiveAttentionSystem) and module.memory is not None
    ]
    if not found:
        raise ArgumentError(
            "model",
            type(model).__name__,
            "a model with an AdaptiveAttentionSystem that has a state-space path",
            "train it with training.train",
        )
    return found


def _imbalance(system: AdaptiveAttentionSystem) -> Tensor:
    """How unevenly the compute of the last call's tiles is spread, mean over sequences."""
    tiling = system.current_tiling
    if tiling is None:
        return torch.zeros(())
    loads = (tiling.resolution * tiling.length).float()
    counts = (tiling.length > 0).sum(1)
    rows = [load_imbalance(row[:count]) for row, count in zip(loads, counts, strict=True)]
    return torch.stack(rows).mean()
