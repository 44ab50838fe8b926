"""The one face of everything that lets tokens talk to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ArgumentError
from .mask import Visibility, read_mask
from .projections import AttentionProjections, ProjectionConfig


@dataclass(frozen=True)
class MixerState:
    """What a mixer remembers of `tokens` tokens, padding included, to go on from there."""

    tokens: int
    projections: Any  # of what comes before the op: positions, and what convolutions carry on
    attention: Any  # of the op: a cache, or a state of fixed size


class AbstractMixer(nn.Module, ABC):
    """Projections around an attention, which a subclass provides."""

    def __init__(self, projection: ProjectionConfig) -> None:
        super().__init__()
        self.width = projection.width
        self.projections = AttentionProjections(projection)

    @property
    def output(self) -> nn.Linear:
        """The map into the residual stream."""
        return self.projections.output.linear

    @abstractmethod
    def attend(
        self,
        x: Float[Tensor, "B T C"],
        heads: tuple[Tensor, Tensor, Tensor],
        mask: Visibility,
        past: Any,
        *,
        return_state: bool,
    ) -> tuple[Float[Tensor, "B H T E"], Any]:
        """The output of query, key and value after `past`, and the state after them or None."""

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = True,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, MixerState]:
        """Mix the tokens of x, after those of `state`.

        Args:
            attn_mask: padding [B, T] or [B, 1, 1, T], or any mask for softmax; see `read_mask`.
            is_causal: a token sees itself and those before it.
            state: of an earlier call with `return_state`; it is not changed.
            return_state: also return the state after these tokens.

        Returns:
            [B, T, C], or (that, state). What it holds for padding has no meaning.
        """
        check_call(x, self.width, is_causal, state, return_state)
        tokens = 0 if state is None else state.tokens
        mask = read_mask(
            attn_mask, batch=x.shape[0], length=x.shape[1], past=tokens, is_causal=is_causal
        )
        before = (None, None) if state is None else (state.projections, state.attention)
        heads, projected = self.projections(x, mask.padding, before[0])
        out, attention = self.attend(x, heads, mask, before[1], return_state=return_state)
        y: Tensor = self.projections.output(out, x)
        return (y, MixerState(tokens + x.shape[1], projected, attention)) if return_state else y


def check_call(x: Tensor, width: int, is_causal: bool, state: object, return_state: bool) -> None:
    """Raise for tokens that do not fit a mixer, and for a state where nothing has an order."""
    check_tokens("x", x, width)
    if not is_causal and (state is not None or return_state):
        raise ArgumentError(
            "is_causal",
            "False together with a state",
            "True where tokens follow one another",
            "pass the whole text at once",
        )


def check_tokens(name: str, x: Tensor, width: int) -> None:
    """Raise unless x is [B, T, width]."""
    if x.dim() != 3 or x.shape[-1] != width or x.shape[1] == 0:
        raise ArgumentError(
            name, f"shape {list(x.shape)}", f"[B, T >= 1, {width}]", "check the model width"
        )


def attend_by(
    op: Callable[..., Any], *tensors: Any, return_state: bool, **settings: Any
) -> tuple[Tensor, Any]:
    """(output, state or None) of an op that returns a state only when it is asked to."""
    result = op(*tensors, return_state=return_state, **settings)
    return result if return_state else (result, None)
