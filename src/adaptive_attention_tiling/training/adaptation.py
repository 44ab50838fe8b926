"""Lets the splat fields of a model change their structure while it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ..errors import ArgumentError
from ..layers import GaussianSplatAttention
from ..splats import AdaptationConfig, AdaptationPolicy, AdaptationReport


class FieldAdaptation:
    """An `after_step` of `train`: a policy for the field of every `GaussianSplatAttention`.

        adaptation = FieldAdaptation(model, AdaptationConfig(every=100))
        train(model, batches, config, after_step=adaptation)

    Each policy observes the queries and keys of the last forward pass in training mode. Switched
    off (`every=None`) it puts nothing into the model, and training is the same to the bit.
    `state_dict` is all that it knows between steps; together with the model's and the optimizer's,
    interrupted training goes on as it would have. Build it once the model is on its device and
    its fields are fitted. Fields of cross-attention are left alone.

    Attributes:
        policies: by the name of the layer.
        reports: of the last step, by the name of the layer.
    """

    def __init__(self, model: nn.Module, config: AdaptationConfig) -> None:
        layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, GaussianSplatAttention)
        }
        if not layers:
            raise ArgumentError(
                "model",
                type(model).__name__,
                "a model with a GaussianSplatAttention layer",
                "train it without adaptation",
            )
        self.policies = {
            name: AdaptationPolicy(config, layer.field) for name, layer in layers.items()
        }
        self.reports: dict[str, AdaptationReport] = {}
        self._seen: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._handles: list[RemovableHandle] = []
        if config.every is not None:
            self._handles = [self._watch(name, layer) for name, layer in layers.items()]

    def __call__(self, step: int, model: nn.Module, optimizer: Optimizer) -> None:
        """Take note of what the fields saw in this step, and edit those that are due."""
        for name, policy in self.policies.items():
            policy.optimizer = optimizer
            if name in self._seen:
                policy.observe(*self._seen.pop(name))
            self.reports[name] = policy.step(step)

    def remove(self) -> None:
        """Take the hooks out of the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen.clear()

    def state_dict(self) -> dict[str, Any]:
        """What each policy knows, by the name of its layer."""
        return {name: policy.state_dict() for name, policy in self.policies.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, with the same config and model."""
        if state.keys() != self.policies.keys():
            raise ArgumentError(
                "state",
                f"layers {sorted(state)}",
                f"layers {sorted(self.policies)}",
                "pass the state_dict of the adaptation of the same model",
            )
        for name, policy in self.policies.items():
            policy.load_state_dict(state[name])

    def _watch(self, name: str, layer: GaussianSplatAttention) -> RemovableHandle:
        def keep(
            projections: nn.Module,
            args: tuple[Any, ...],
            kwargs: dict[str, Any],
            output: tuple[tuple[Tensor, Tensor, Tensor], Any],
        ) -> None:
            if projections.training:
                query, key, _ = output[0]
                padding = args[1] if len(args) > 1 else kwargs.get("padding")
                self._seen[name] = _tokens(query, key, padding)

        return layer.projections.register_forward_hook(keep, with_kwargs=True)


@torch.no_grad()
def _tokens(query: Tensor, key: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The queries and keys that meet in each head of keys, [B, G, N, D], and their padding."""
    groups = query.unflatten(1, (key.shape[1], -1))  # [B, G, R, T, D]
    met = torch.cat([groups, key[:, :, None]], 2)
    repeats = met.shape[2]
    return met.flatten(2, 3), None if padding is None else padding.repeat(1, repeats)
