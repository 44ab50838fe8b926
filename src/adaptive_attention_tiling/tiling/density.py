"""Where a text is dense: how fast the states move from token to token."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from .attention_entropy import attention_entropy, entropy_of_probabilities
from .derivative import StatesOf, diagonal_derivative
from .metric import AbstractMetric
from .positions import check_positions, temporal_distance
from .smoothing import window_sums

Form = Literal["discrete", "autograd"]


class DensityState(NamedTuple):
    """What later densities need of the text so far; its size does not grow.

    state: the last state [*b, C].
    position: the last position [*b].
    recent: the last window_size - 1 densities before smoothing [*b, window_size - 1], 0 for none.
    seen: tokens so far.
    """

    state: Tensor
    position: Tensor
    recent: Tensor
    seen: int


class InformationDensityAnalyzer:
    """Information density of every token from the tokens up to it.

        discrete   rho_t = |(s_t - s_{t-1}) / (p_t - p_{t-1})|^2  in the metric at s_t
        autograd   rho_t = |d s_t / d p_t|^2                      in the metric at s_t

    then the mean of rho over the last `window_size` tokens, of which there are fewer at the start.

    The autograd form is for states that are a smooth function of continuous positions; the
    discrete one converges to it as steps h shrink, with error O(h), and with O(h^2) to its value in
    the middle of a step. Only the diagonal derivative is meant, s_t by p_t, also where s_t depends
    on earlier positions too.

    Source: chapter 3.1.1 and 4.2.1 of the specification, with three corrections. Its
    grad(states.sum(), positions) is the derivative of the *sum* over channels (and over later
    tokens), which vanishes where channels move against each other; here it is the norm of the
    derivative. Its norm is not squared; rho is, as in 3.1.1. Its avg_pool with padding on both
    sides averages over window_size // 2 future tokens, which leaks them into whatever is decided
    from the density; here no token looks ahead.

    Args:
        window_size: tokens that a density is averaged over; 1 for no smoothing.
        metric: of steps; None is Euclidean. See `FisherMetric`, and `query_metric` for keys.
        pointwise: of the autograd form: see `diagonal_derivative`.
    """

    def __init__(
        self,
        window_size: int = 32,
        *,
        form: Form = "discrete",
        metric: AbstractMetric | None = None,
        pointwise: bool = True,
    ) -> None:
        if isinstance(window_size, bool) or not isinstance(window_size, int) or window_size < 1:
            raise ArgumentError(
                "window_size", window_size, "an integer >= 1", "pass window_size=1 for no smoothing"
            )
        if form not in get_args(Form):
            raise ArgumentError(
                "form", repr(form), f"one of {get_args(Form)}", "pass form='discrete' for tokens"
            )
        self.window_size = window_size
        self.form = form
        self.metric = metric
        self.pointwise = pointwise

    def compute_density(
        self,
        states: Float[Tensor, "*b T C"] | StatesOf,
        positions: Tensor | None = None,
    ) -> Float[Tensor, "*b T"]:
        """The smoothed density of every token, >= 0, in squared state units per squared position.

        The first token has no step before it. In the discrete form its density is 0 and is left
        out of the means after it, so that an even motion has an even density from the second
        token on.

        Args:
            states: [*b, T, C]; in the autograd form a function from positions to states, or states
                that carry the graph to `positions`.
            positions: [*b, T], strictly increasing along T; None counts 0, 1, ... (discrete form).
        """
        density, _ = self.extend(None, states, positions)
        return density

    def extend(
        self,
        past: DensityState | None,
        states: Float[Tensor, "*b T C"] | StatesOf,
        positions: Tensor | None = None,
    ) -> tuple[Float[Tensor, "*b T"], DensityState]:
        """The densities of T more tokens, and the state for those after them.

        In pieces of any lengths a text gets the densities of the whole call. `past` None starts a
        text. Positions None count on from the last one.
        """
        if self.form == "discrete":
            values, positions, raw = self._discrete(past, states, positions)
        else:
            values, positions, raw = self._autograd(past, states, positions)
        seen = (past.seen if past else 0) + raw.shape[-1]
        density, recent = self._smooth(past, raw)
        return density, DensityState(values[..., -1, :], positions[..., -1], recent, seen)

    def extract_density_features(
        self,
        states: Float[Tensor, "*b T C"] | StatesOf,
        positions: Tensor | None = None,
        *,
        attention: Float[Tensor, "B H T S"] | None = None,
        query: Float[Tensor, "B H T D"] | None = None,
        key: Float[Tensor, "B G S D"] | None = None,
    ) -> dict[str, Tensor]:
        """Features from which resolutions are chosen, each [*b, T].

        - gradient_density: `compute_density`.
        - temporal_distance: p_t - p_{t-1}, 0 for the first token: see `temporal_distance`.
        - attention_entropy: of each query's row in nats, mean over heads [B, T], from `attention`
          or, causally, from `query` and `key`; left out if neither is given.
        """
        density = self.compute_density(states, positions)
        if positions is None:
            positions = _counted(None, density.shape, density.device)
        features = {
            "gradient_density": density,
            "temporal_distance": temporal_distance(positions).to(density.dtype),
        }
        if attention is not None and (query is not None or key is not None):
            raise ArgumentError(
                "attention", "probabilities beside query or key", "one of them", "leave one out"
            )
        if (query is None) != (key is None):
            raise ArgumentError("key", "query or key alone", "both or neither", "pass both")
        if attention is not None:
            features["attention_entropy"] = entropy_of_probabilities(attention).mean(1)
        elif query is not None and key is not None:
            features["attention_entropy"] = attention_entropy(query, key).mean(1)
        return features

    def _discrete(
        self, past: DensityState | None, states: Tensor | StatesOf, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States and positions as used, and densities before smoothing."""
        if not isinstance(states, Tensor):
            raise ArgumentError(
                "states", "a function", "a tensor in the discrete form", "pass form='autograd'"
            )
        states = _checked_states(past, states)
        if positions is None:
            positions = _counted(past, states.shape[:-1], states.device)
        check_positions(positions, states.shape[:-1], past.position if past else None)
        first = positions[..., :1]
        if past:
            before, first_span = past.state, first - past.position[..., None]
        else:
            # The first token is compared with itself: no step, no density.
            before, first_span = states[..., 0, :], torch.ones_like(first)
        steps = states - torch.cat([before[..., None, :], states[..., :-1, :]], -2)
        spans = torch.cat([first_span, positions.diff(dim=-1)], -1)
        rates = steps / spans.to(steps.dtype)[..., None]
        return states, positions, self._squared_norm(states, rates)

    def _autograd(
        self, past: DensityState | None, states: Tensor | StatesOf, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if positions is None or not positions.is_floating_point():
            raise ArgumentError(
                "positions",
                None if positions is None else positions.dtype,
                "a floating tensor in the autograd form",
                "pass the positions that the states are a function of",
            )
        check_positions(positions, positions.shape, past.position if past else None)
        motion = diagonal_derivative(states, positions, pointwise=self.pointwise)
        values = _checked_states(past, motion.states)
        return values, positions, self._squared_norm(values, motion.rates.to(values.dtype))

    def _squared_norm(self, states: Tensor, rates: Tensor) -> Tensor:
        if self.metric is None:
            return rates.square().sum(-1)
        return self.metric.squared_norm(states, rates)

    def _smooth(self, past: DensityState | None, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Means over the window, and the densities that later windows need."""
        if past is None:
            recent = raw.new_zeros(*raw.shape[:-1], self.window_size - 1)
        else:
            recent = past.recent
        series = torch.cat([recent, raw], -1)
        sums = window_sums(series, self.window_size)
        tokens = torch.arange(raw.shape[-1], device=raw.device) + (past.seen if past else 0)
        first = 0 if self.form == "discrete" else 1
        sizes = (tokens + first).clamp(1, self.window_size)
        return sums / sizes.to(raw.dtype), series[..., series.shape[-1] - self.window_size + 1 :]


def _checked_states(past: DensityState | None, states: Tensor) -> Tensor:
    """The states in float32 at least, if they fit the text so far."""
    if states.dim() < 2 or states.shape[-2] == 0 or not states.is_floating_point():
        raise ArgumentError(
            "states",
            f"{states.dtype} {list(states.shape)}",
            "floating [*b, T, C] with T > 0",
            "pass one state vector a token",
        )
    if past is not None and past.state.shape != states[..., 0, :].shape:
        raise ArgumentError(
            "states",
            f"shape {list(states.shape)}",
            f"batch and width {list(past.state.shape)} as before",
            "keep one DensityState a text",
        )
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _counted(past: DensityState | None, shape: torch.Size, device: torch.device) -> Tensor:
    count = torch.arange(shape[-1], device=device)
    if past is not None:
        count = past.position[..., None] + 1 + count
    return count.expand(shape)
