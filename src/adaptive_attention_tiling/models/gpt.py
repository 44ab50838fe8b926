"""A decoder of any mixers: embedding, blocks of mixer and network, logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import ArgumentError
from ..layers import MixerConfig, MixerState, make_mixer, mixer_width
from ..layers.mask import read_mask
from ..layers.mlp import GELUNetwork, SwiGLUNetwork
from ..layers.projections import token_positions
from ..layers.sizes import check_sizes


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """A decoder-only language model.

    Args:
        vocabulary: number of tokens.
        width: C. `depth`: number of blocks.
        mixers: one config for all blocks, or one for each.
        network: "swiglu" or "gelu"; its hidden width is `network_ratio` C.
        positions: longest text that has learned positions; None where there are none.
        tied: the embedding is also the read-out.
    """

    vocabulary: int
    width: int
    depth: int
    mixers: MixerConfig | tuple[MixerConfig, ...]
    network: Literal["swiglu", "gelu"] = "swiglu"
    network_ratio: float = 8 / 3
    positions: int | None = None
    tied: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, "vocabulary", "width", "depth", "positions")
        if self.network not in ("swiglu", "gelu"):
            raise ArgumentError(
                "network", repr(self.network), "swiglu or gelu", "check the spelling"
            )
        if self.network_ratio * self.width < 1:
            raise ArgumentError(
                "network_ratio", self.network_ratio, "at least one hidden channel", "use 8 / 3 or 4"
            )
        if len(self.mixer_by_block) != self.depth:
            raise ArgumentError(
                "mixers",
                f"{len(self.mixer_by_block)} configs",
                f"one, or one for each of {self.depth} blocks",
                "repeat the configs: (first, second) * 3",
            )
        for mixer in self.mixer_by_block:
            if mixer_width(mixer) != self.width:
                raise ArgumentError(
                    "mixers",
                    f"width {mixer_width(mixer)}",
                    f"width {self.width} as the model has",
                    f"make the mixers' configs with width={self.width}",
                )

    @property
    def mixer_by_block(self) -> tuple[MixerConfig, ...]:
        """The config of each block's mixer."""
        return self.mixers if isinstance(self.mixers, tuple) else (self.mixers,) * self.depth


@dataclass(frozen=True)
class GPTState:
    """What a model remembers of a text: a state for each block, and the next position [B, 1]."""

    blocks: tuple[MixerState, ...]
    position: Tensor


class GPTBlock(nn.Module):
    """x + mixer(norm(x)), then x + network(norm(x))."""

    def __init__(self, config: GPTConfig, mixer: MixerConfig) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.width)
        self.mixer = make_mixer(mixer)
        self.network_norm = nn.RMSNorm(config.width)
        hidden = round(config.network_ratio * config.width)
        network = SwiGLUNetwork if config.network == "swiglu" else GELUNetwork
        self.network: SwiGLUNetwork | GELUNetwork = network(config.width, hidden)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        attn_mask: Tensor | None,
        state: MixerState | None,
        keep: bool,
    ) -> tuple[Float[Tensor, "B T C"], MixerState | None]:
        """The tokens after this block, and the mixer's state if `keep`."""
        mixed = self.mixer(self.mixer_norm(x), attn_mask=attn_mask, state=state, return_state=keep)
        mixed, following = mixed if keep else (mixed, None)
        x = x + mixed
        return x + self.network(self.network_norm(x)), following


class GPT(nn.Module):
    """Tokens in, logits of the next tokens out."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width) if config.positions else None
        self.blocks = nn.ModuleList(GPTBlock(config, mixer) for mixer in config.mixer_by_block)
        self.norm = nn.RMSNorm(config.width)
        self.readout = nn.Linear(config.width, config.vocabulary, bias=False)
        self._scale_parameters()
        if config.tied:
            self.readout.weight = self.embedding.weight

    def _scale_parameters(self) -> None:
        """As in GPT-2: what is added to the residual stream adds up to a variance of order one."""
        for module in (self.embedding, self.positions, self.readout):
            if module is not None:
                nn.init.normal_(module.weight, std=0.02)
        with torch.no_grad():
            for block in self.blocks:
                assert isinstance(block, GPTBlock)  # nn.ModuleList forgets it
                for linear in (block.mixer.output, block.network.output):
                    linear.weight.mul_((2 * self.config.depth) ** -0.5)

    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        *,
        attn_mask: Tensor | None = None,
        state: GPTState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, GPTState]:
        """Logits [B, T, V] of each next token, after the tokens of `state`.

        `attn_mask` is padding [B, T], True for tokens, or what the mixers take besides. With
        `return_state`, also the state to go on from; the state that was passed is not changed.
        """
        self._check(tokens)
        x = self.embedding(tokens)
        first, past = (None, 0) if state is None else (state.position, state.blocks[0].tokens)
        batch, length = tokens.shape
        mask = read_mask(attn_mask, batch=batch, length=length, past=past, is_causal=True)
        positions, following = token_positions(x, mask.padding, first)
        attn_mask = mask.padding if mask.scores is None else mask.scores  # read once for all blocks
        if self.positions is not None:
            x = x + self.positions(self._checked_positions(positions))
        states: list[MixerState | None] = []
        for index, block in enumerate(self.blocks):
            before = None if state is None else state.blocks[index]
            x, after = block(x, attn_mask, before, return_state)
            states.append(after)
        logits: Tensor = self.readout(self.norm(x))
        if not return_state:
            return logits
        return logits, GPTState(tuple(s for s in states if s is not None), following)

    def _check(self, tokens: Tensor) -> None:
        if tokens.dim() != 2 or tokens.is_floating_point():
            raise ArgumentError(
                "tokens", f"{tokens.dtype} {list(tokens.shape)}", "int64 [B, T]", "add a batch axis"
            )

    def _checked_positions(self, positions: Tensor) -> Tensor:
        assert self.config.positions is not None
        if int(positions.max()) >= self.config.positions:
            raise ArgumentError(
                "tokens",
                f"{int(positions.max()) + 1} tokens of text",
                f"at most positions={self.config.positions}",
                "shorten the text, or use rotary_base instead of learned positions",
            )
        return positions
