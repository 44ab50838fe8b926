"""The Mamba block around a state space of variable size, as a mixer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu
from torch.optim import Optimizer

from ...errors import ArgumentError, UnsupportedError
from ...ops.selective_scan import ScanState
from ..mask import read_mask, refuse_scores
from ..mixer import MixerState, check_call, check_tokens
from ..short_convolution import ShortConvolution
from ..sizes import check_sizes
from .model import RESOLUTIONS, VariableStateSpaceModel, check_resolutions


@dataclass(frozen=True, kw_only=True)
class StateSpaceConfig:
    """A Mamba block.

    Args:
        width: C, of the model.
        d_state: N, channels of state for each inner channel.
        expand_factor: I / C, inner channels for each channel of the model.
        conv_width: tokens that the causal convolution before the state space sees.
        delta_rank, nested_training, resolutions, tile: of `VariableStateSpaceModel`.
    """

    width: int
    d_state: int = 16
    expand_factor: float = 2.0
    conv_width: int = 4
    delta_rank: int | None = None
    nested_training: bool = False
    resolutions: tuple[float, ...] = RESOLUTIONS
    tile: int = 64

    def __post_init__(self) -> None:
        check_sizes(self, "width", "d_state", "conv_width", "delta_rank", "tile")
        check_resolutions(self.resolutions)
        if not self.expand_factor * self.width >= 1:
            raise ArgumentError(
                "expand_factor", self.expand_factor, "at least one inner channel", "use 2.0"
            )


class AdaptiveMambaBlock(nn.Module):
    """W_out ssm(silu(conv(W_x u)), gated by W_z u), token by token in a state of fixed size.

    Arguments as in `StateSpaceConfig`. Its state has `d_state` channels, `base_d_state` when it
    was made; how many of them a token uses is its resolution.

    Source: Gu and Dao 2023 (arXiv 2312.00752), figure 3; specification, 4.3.2, whose `proj_in` has
    the width 2 C: here it is 2 expand_factor C, as there is an expansion factor.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        expand_factor: float = 2.0,
        conv_width: int = 4,
        *,
        delta_rank: int | None = None,
        nested_training: bool = False,
        resolutions: tuple[float, ...] = RESOLUTIONS,
        tile: int = 64,
    ) -> None:
        super().__init__()
        self.config = StateSpaceConfig(
            width=d_model,
            d_state=d_state,
            expand_factor=expand_factor,
            conv_width=conv_width,
            delta_rank=delta_rank,
            nested_training=nested_training,
            resolutions=resolutions,
            tile=tile,
        )
        self.width = self.d_model = d_model
        self.base_d_state, self.expand_factor = d_state, expand_factor
        inner = round(expand_factor * d_model)
        self.proj_in = nn.Linear(d_model, 2 * inner, bias=False)
        self.convolution = ShortConvolution(inner, conv_width)
        self.convolution_bias = nn.Parameter(torch.zeros(inner))
        self.ssm = VariableStateSpaceModel(
            inner,
            d_state,
            delta_rank=-(-d_model // 16) if delta_rank is None else delta_rank,
            nested_training=nested_training,
            resolutions=resolutions,
            tile=tile,
        )
        self.proj_out = nn.Linear(inner, d_model, bias=False)

    @classmethod
    def from_config(cls, config: StateSpaceConfig) -> AdaptiveMambaBlock:
        """The block that a config describes."""
        return cls(
            config.width,
            config.d_state,
            config.expand_factor,
            config.conv_width,
            delta_rank=config.delta_rank,
            nested_training=config.nested_training,
            resolutions=config.resolutions,
            tile=config.tile,
        )

    @property
    def output(self) -> nn.Linear:
        """The map into the residual stream."""
        return self.proj_out

    @property
    def d_state(self) -> int:
        """Channels of the state now."""
        return self.ssm.d_state

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = True,
        resolution: Float[Tensor, "B T"] | float | None = None,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, MixerState]:
        """Mix the tokens of x, after those of `state`.

        Arguments as in `AbstractMixer.forward`, of which a mask may hide padding only; `resolution`
        is the share of the state's channels that tokens use.

        Raises:
            ArgumentError: shapes, a resolution or a state that does not fit, by name.
            UnsupportedError: a mask that is more than padding, or no causality.
        """
        check_call(x, self.width, is_causal, state, return_state)
        tokens = 0 if state is None else state.tokens
        mask = read_mask(
            attn_mask, batch=x.shape[0], length=x.shape[1], past=tokens, is_causal=is_causal
        )
        refuse_scores(mask, type(self).__name__)
        if not mask.is_causal:
            raise UnsupportedError(
                "is_causal: a state space reads from left to right. Fix: leave is_causal=True, or "
                "add the result of the reversed text."
            )
        carried, scanned = (None, None) if state is None else self._parts(state)
        inner, z = self.proj_in(x).chunk(2, -1)
        inner, carried = self.convolution(inner, carried, mask.padding)
        result = self.ssm(
            silu(inner + self.convolution_bias),
            z=z,
            resolution=resolution,
            state=scanned,
            padding=mask.padding,
            return_state=return_state,
        )
        y, after = result if return_state else (result, None)
        out: Tensor = self.proj_out(y)
        return (out, MixerState(tokens + x.shape[1], carried, after)) if return_state else out

    def step(
        self,
        x: Float[Tensor, "B C"],
        *,
        resolution: float | None = None,
        state: MixerState | None = None,
    ) -> tuple[Float[Tensor, "B C"], MixerState]:
        """One token of all rows, and the state after it."""
        check_tokens("x", x[:, None], self.width)
        if state is None:
            state = self.empty_state(x)
        carried, scanned = self._parts(state)
        inner, z = self.proj_in(x).chunk(2, -1)
        inner, carried = self.convolution(inner[:, None], carried)
        y, after = self.ssm.step(
            silu(inner[:, 0] + self.convolution_bias), z=z, resolution=resolution, state=scanned
        )
        out: Tensor = self.proj_out(y)
        return out, MixerState(state.tokens + 1, carried, after)

    def empty_state(self, x: Float[Tensor, "B *t C"]) -> MixerState:
        """The state of rows of which nothing was read."""
        batch, inner = x.shape[0], self.ssm.d_model
        dtype = torch.promote_types(x.dtype, torch.float32)
        carried = x.new_zeros(batch, self.convolution.width - 1, inner)
        channels = x.new_zeros(batch, inner, self.d_state, dtype=dtype)
        length = torch.zeros(batch, dtype=torch.long, device=x.device)
        return MixerState(0, carried, ScanState(channels, length=length))

    def resize_state_space(
        self,
        new_d_state: int,
        preserve_weights: bool = True,
        *,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Give the state another number of channels.

        Fewer: the last ones go, and the block is what a resolution of new_d_state / d_state made
        of it. More: new channels are written, but their part of C is zero, so that the function
        stays as it is, and that part is what learns first. With `preserve_weights=False` the whole
        state space starts anew.

        The parameters that changed are new objects. `optimizer` gets them in place of the old ones,
        with the moments of the channels that stay and zeros for the others. A running state goes on
        through `resize_state`.

        Raises:
            ArgumentError: new_d_state is no whole number >= 1; the optimizer lacks a parameter.
            UnsupportedError: the optimizer keeps something of which we do not know how to move it.
                In either case nothing has changed.
        """
        if isinstance(new_d_state, bool) or not isinstance(new_d_state, int) or new_d_state < 1:
            raise ArgumentError(
                "new_d_state", new_d_state, "a whole number >= 1", "name the channels to have"
            )
        self.ssm.resize(new_d_state, preserve_weights=preserve_weights, optimizer=optimizer)

    def resize_state(self, state: MixerState) -> MixerState:
        """A running state with the channels that the block has now: cut off, or new ones empty."""
        return replace(state, attention=state.attention.resized(self.d_state))

    def _parts(self, state: MixerState) -> tuple[Tensor, ScanState]:
        scan = state.attention
        if not isinstance(scan, ScanState) or scan.channels.shape[-1] != self.d_state:
            raise ArgumentError(
                "state",
                f"one of {scan.channels.shape[-1]} channels"
                if isinstance(scan, ScanState)
                else "that of another mixer",
                f"one of {self.d_state} channels",
                "pass what this block returned, through resize_state if it was resized since",
            )
        assert isinstance(state.projections, Tensor)
        return state.projections, scan
