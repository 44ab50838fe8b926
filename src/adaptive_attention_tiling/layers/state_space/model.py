"""The state space itself: from inner channels to steps, rates and the places to write and read."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer

from ...errors import ArgumentError, UnsupportedError
from ...ops.selective_scan import ScanState, selective_scan, selective_step
from ..sizes import check_sizes
from .resize import check_optimizer, replace_parameter

RESOLUTIONS = (0.25, 0.5, 1.0)
# Steps at the start: a channel of rate 1 remembers between 10 and 1000 tokens.
_STEPS = (1e-3, 0.1)


class StateRates(nn.Module):
    """A = -exp(log), -1, -2, ..., -N for every inner channel at the start.

    Gu et al. 2022 (arXiv 2206.11893), S4D-Real. Training leaves weight decay off these.
    """

    def __init__(self, width: int, d_state: int) -> None:
        super().__init__()
        rates = torch.arange(1.0, d_state + 1)
        self.log = nn.Parameter(rates.log().repeat(width, 1))

    def forward(self) -> Float[Tensor, "I N"]:
        return -self.log.exp()


class VariableStateSpaceModel(nn.Module):
    """y = selective_scan(x) with delta, B and C that x selects; its state has N channels.

    Channels are nested: with a resolution R only the first ceil(R N) are used, so the first ones
    should be worth most. `nested_training` sees to that: while it trains, and unless it is told
    which to use, it draws one of `resolutions` for every tile of `tile` tokens (by torch's
    generator, the same for all rows), so that every prefix learns to do without the rest.

    Args:
        d_model: I, width of x.
        d_state: N.
        delta_rank: width of the bottleneck before delta; d_model / 16 if None.

    Source: Gu and Dao 2023 (arXiv 2312.00752), algorithm 2 and section 3.6.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        delta_rank: int | None = None,
        nested_training: bool = False,
        resolutions: tuple[float, ...] = RESOLUTIONS,
        tile: int = 64,
    ) -> None:
        super().__init__()
        self.d_model, self.d_state, self.tile = d_model, d_state, tile
        self.delta_rank = math.ceil(d_model / 16) if delta_rank is None else delta_rank
        self.nested_training, self.resolutions = nested_training, resolutions
        check_sizes(self, "d_model", "d_state", "delta_rank", "tile")
        check_resolutions(resolutions)
        self.rates = StateRates(d_model, d_state)
        self.delta_in = nn.Linear(d_model, self.delta_rank, bias=False)
        self.delta_out = nn.Linear(self.delta_rank, d_model)
        self.write = nn.Linear(d_model, d_state, bias=False)
        self.read = nn.Linear(d_model, d_state, bias=False)
        self.skip = nn.Parameter(torch.ones(d_model))
        self._start_steps()

    @torch.no_grad()
    def _start_steps(self) -> None:
        """Spread softplus(bias) evenly in its logarithm over `_STEPS`."""
        nn.init.uniform_(self.delta_out.weight, -(self.delta_rank**-0.5), self.delta_rank**-0.5)
        low, high = (math.log(step) for step in _STEPS)
        steps = torch.empty(self.d_model).uniform_(low, high).exp()
        self.delta_out.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def selected(self, x: Float[Tensor, "*b I"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(delta, A, B, C) as `selective_scan` and `tile_contributions` take them."""
        delta = softplus(self.delta_out(self.delta_in(x)))
        return delta, self.rates(), self.write(x), self.read(x)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        *,
        z: Float[Tensor, "B T I"] | None = None,
        resolution: Float[Tensor, "B T"] | float | None = None,
        state: Float[Tensor, "B I N"] | ScanState | None = None,
        return_state: bool = False,
        padding: Bool[Tensor, "B T"] | None = None,
    ) -> Tensor | tuple[Tensor, ScanState]:
        """y [B, T, I], and the state after the last token if it is asked for.

        `z` gates the output; the other arguments are those of `selective_scan`.
        """
        self._check(x)
        if resolution is None and self.nested_training and self.training:
            resolution = self.drawn_resolution(x)
        return selective_scan(
            x,
            *self.selected(x),
            self.skip,
            z=z,
            resolution=resolution,
            initial_state=state,
            padding=padding,
            return_state=return_state,
        )

    def step(
        self,
        x: Float[Tensor, "B I"],
        *,
        z: Float[Tensor, "B I"] | None = None,
        resolution: float | None = None,
        state: ScanState,
    ) -> tuple[Float[Tensor, "B I"], ScanState]:
        """One token of all rows, which cannot be taken back."""
        self._check(x)
        if state.rollback_limit:
            raise UnsupportedError(
                "state: a step keeps nothing to take back. Fix: start without a rollback_limit."
            )
        y, channels = selective_step(
            x, *self.selected(x), self.skip, z=z, resolution=resolution, state=state.channels
        )
        return y, ScanState(channels, length=state.length + 1)

    def drawn_resolution(self, x: Float[Tensor, "B T I"]) -> Float[Tensor, "B T"]:
        """One of `resolutions` for each tile."""
        tiles = -(-x.shape[1] // self.tile)
        offered = torch.tensor(self.resolutions, device=x.device)
        drawn = offered[torch.randint(len(offered), (tiles,), device=x.device)]
        return drawn.repeat_interleave(self.tile)[: x.shape[1]].expand(x.shape[0], -1)

    def resize(
        self,
        new_d_state: int,
        *,
        preserve_weights: bool = True,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Give the state `new_d_state` channels; see `AdaptiveMambaBlock.resize_state_space`."""
        if optimizer is not None:
            check_optimizer(optimizer, self.named_parameters())
        fresh = self._fresh(new_d_state)
        if preserve_weights:
            nn.init.zeros_(fresh.read.weight)
            replace_parameter(self.rates, "log", fresh.rates.log, axis=1, optimizer=optimizer)
            for own, new in ((self.write, fresh.write), (self.read, fresh.read)):
                replace_parameter(own, "weight", new.weight, axis=0, optimizer=optimizer)
        else:
            for name, parameter in fresh.named_parameters():
                owner, _, last = name.rpartition(".")
                replace_parameter(
                    self.get_submodule(owner), last, parameter, axis=None, optimizer=optimizer
                )
        self.d_state = self.write.out_features = self.read.out_features = new_d_state

    def _fresh(self, d_state: int) -> VariableStateSpaceModel:
        fresh = VariableStateSpaceModel(self.d_model, d_state, delta_rank=self.delta_rank)
        return fresh.to(self.skip)

    def _check(self, x: Tensor) -> None:
        if x.shape[-1] != self.d_model:
            raise ArgumentError(
                "x", f"shape {list(x.shape)}", f"[..., {self.d_model}]", "check the inner width"
            )


def check_resolutions(resolutions: tuple[float, ...]) -> None:
    """Raise unless there is something to draw."""
    if not resolutions or not all(0 < share <= 1 for share in resolutions):
        raise ArgumentError(
            "resolutions", resolutions, "one or more numbers in (0, 1]", "try (0.25, 0.5, 1.0)"
        )
