"""A decoder of any mixers: embedding, blocks of mixer and network, logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import ArgumentError
from ..layers import (
    AdaptiveAttentionConfig,
    MixerConfig,
    MixerState,
    make_mixer,
    mixer_width,
    reversible_leapfrog,
)
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
        reversible: two residual streams, whose activations training works out again instead of
            keeping them: memory does not grow with depth, a step costs about one more forward
            pass. Mixers with penalties of their own, which need a graph, are refused.
    """

    vocabulary: int
    width: int
    depth: int
    mixers: MixerConfig | tuple[MixerConfig, ...]
    network: Literal["swiglu", "gelu"] = "swiglu"
    network_ratio: float = 8 / 3
    positions: int | None = None
    tied: bool = True
    reversible: bool = False

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
            penalties = isinstance(mixer, AdaptiveAttentionConfig) and (
                mixer.lambda_compute or mixer.lambda_info
            )
            if self.reversible and penalties:
                raise ArgumentError(
                    "mixers",
                    "an adaptive system with lambda_compute or lambda_info",
                    "mixers without penalties in a reversible model",
                    "pass lambda_compute=0 and lambda_info=0, or reversible=False",
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
    """x + mixer(norm(x)), then x + network(norm(x)): a layer of `ReversibleStack` as well."""

    def __init__(self, config: GPTConfig, mixer: MixerConfig) -> None:
        super().__init__()
        self.mixer_norm = nn.RMSNorm(config.width)
        self.mixer = make_mixer(mixer)
        self.network_norm = nn.RMSNorm(config.width)
        hidden = round(config.network_ratio * config.width)
        network = SwiGLUNetwork if config.network == "swiglu" else GELUNetwork
        self.network: SwiGLUNetwork | GELUNetwork = network(config.width, hidden)

    def mix(
        self,
        x: Float[Tensor, "B T C"],
        attn_mask: Tensor | None,
        state: MixerState | None,
        keep: bool,
    ) -> tuple[Float[Tensor, "B T C"], MixerState | None]:
        """What the mixer adds, and its state after these tokens if `keep`."""
        x = self.mixer_norm(x)
        mixed = self.mixer(x, attn_mask=attn_mask, state=state, return_state=keep)
        return mixed if keep else (mixed, None)

    def kick(self, x: Float[Tensor, "B T C"], attn_mask: Tensor | None) -> Float[Tensor, "B T C"]:
        """What the mixer adds to a text from its start."""
        return self.mix(x, attn_mask, None, False)[0]

    def drift(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """What the network adds."""
        added: Tensor = self.network(self.network_norm(x))
        return added


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
        if self.config.reversible and state is None and not return_state:
            q, p = reversible_leapfrog(self.blocks, x, x, attn_mask)
            whole: Tensor = self.readout(self.norm((q + p) / 2))
            return whole
        x, states = self._through_blocks(x, attn_mask, state, return_state)
        logits: Tensor = self.readout(self.norm(x))
        return (logits, GPTState(states, following)) if return_state else logits

    def _through_blocks(
        self, x: Tensor, attn_mask: Tensor | None, state: GPTState | None, keep: bool
    ) -> tuple[Tensor, tuple[MixerState, ...]]:
        """The tokens after all blocks by plain autograd, and each mixer's state if `keep`."""
        q, p = x, x
        two_streams = self.config.reversible
        states = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, GPTBlock)
            before = None if state is None else state.blocks[index]
            mixed, after = block.mix(q, attn_mask, before, keep)
            p = (p if two_streams else q) + mixed
            q = (q if two_streams else p) + block.drift(p)
            states += [] if after is None else [after]
        return (q + p) / 2 if two_streams else q, tuple(states)

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
