"""What each splat did lately: its share of the tokens, over the last training steps."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..errors import ArgumentError
from .apply import followed
from .field import SplatField


@torch.no_grad()
def activation(
    field: SplatField,
    x: Float[Tensor, "B H T D"],
    key_padding_mask: Bool[Tensor, "B T"] | None = None,
) -> Float[Tensor, "H K"]:
    """The mean over tokens of each splat's responsibility phi_s(x) / sum_r phi_r(x).

    phi_s is the feature through which a token writes and reads, so this is the splat's share of
    the traffic. The background takes its part, so a head's shares sum to at most 1. Tokens that no
    feature sees count as 0 everywhere.

    Args:
        key_padding_mask: True for tokens, False for padding.
    """
    logs = field.log_features(x)
    shares = torch.softmax(logs, -1)
    shares = shares.masked_fill(torch.isneginf(logs.amax(-1, keepdim=True)), 0)
    if key_padding_mask is None:
        mean = shares.mean((0, 2))
    else:
        check_padding(key_padding_mask, x)
        weight = key_padding_mask.to(shares)
        mean = torch.einsum("bhtf,bt->hf", shares, weight) / weight.sum().clamp(min=1)
    return mean[:, : field.count]


class ActivationHistory(nn.Module):
    """A ring buffer of the activations of the last `window` steps.

    Slots that start fresh in an edit have no past: `age` counts the steps that a slot has been
    recorded for, at most `window`, and `mean` is over these. What a split passes on is divided
    among the halves, so that a head's activations keep their sum.
    """

    values: Tensor
    age: Tensor
    position: Tensor

    def __init__(self, heads: int, count: int, window: int) -> None:
        super().__init__()
        for name, number in {"heads": heads, "count": count, "window": window}.items():
            if number < 1:
                raise ArgumentError(name, number, "an integer >= 1", f"pass {name}=1 or more")
        self.register_buffer("values", torch.zeros(window, heads, count))
        self.register_buffer("age", torch.zeros(heads, count, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @property
    def window(self) -> int:
        return self.values.shape[0]

    @property
    def full(self) -> Bool[Tensor, "H K"]:
        """Which slots have been recorded for as long as the window is."""
        return self.age >= self.window

    @torch.no_grad()
    def record(self, activation: Float[Tensor, "H K"]) -> None:
        """Add a step, in the place of the oldest."""
        if activation.shape != self.age.shape:
            raise ArgumentError(
                "activation",
                f"shape {list(activation.shape)}",
                f"shape {list(self.age.shape)}",
                "pass activation(field, x)",
            )
        self.values[self.position] = activation.to(self.values)
        self.position.copy_((self.position + 1) % self.window)
        self.age.copy_((self.age + 1).clamp(max=self.window))

    def mean(self) -> Float[Tensor, "H K"]:
        """The mean activation over the steps that each slot was recorded for; 0 where none."""
        return self.values.sum(0) / self.age.clamp(min=1)

    @torch.no_grad()
    def follow(self, source: Int[Tensor, "H K"]) -> None:
        """Follow an edit: see `Edit.source`."""
        heirs = torch.zeros_like(source).scatter_add_(
            1, source.clamp(min=0), (source >= 0).to(source.dtype)
        )
        shares = (self.values / heirs.clamp(min=1)).movedim(0, -1)
        self.values.copy_(followed(shares, source).movedim(-1, 0))
        self.age.copy_(followed(self.age, source))

    def reset(self) -> None:
        """Forget everything."""
        for buffer in (self.values, self.age, self.position):
            buffer.zero_()


def check_padding(key_padding_mask: Tensor, x: Tensor) -> None:
    """Raise an ArgumentError for a mask that is not [B, T] bool for points [B, H, T, D]."""
    shape = (x.shape[0], x.shape[2])
    if tuple(key_padding_mask.shape) != shape or key_padding_mask.dtype != torch.bool:
        raise ArgumentError(
            "key_padding_mask",
            f"{key_padding_mask.dtype} {list(key_padding_mask.shape)}",
            f"torch.bool {list(shape)}",
            "pass True for tokens and False for padding",
        )
