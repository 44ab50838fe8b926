"""Carries states between tiles of different resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import ArgumentError
from .transitions import AbstractTransition, Area, Extension, Linear, Nearest, Nested, Rotation

_FIXED: dict[str, type[AbstractTransition]] = {
    "linear": Linear,
    "nearest": Nearest,
    "area": Area,
    "nested": Nested,
}
_LEARNT: dict[str, type[Extension] | type[Rotation]] = {
    "extension": Extension,
    "rotation": Rotation,
}
MODES = (*_FIXED, *_LEARNT)


def routing_weights(
    source_resolutions: Sequence[int], target_resolutions: Sequence[int]
) -> Float[Tensor, "targets sources"]:
    """w_ji = r_ji / sum_i r_ji with r_ji = min(n_i, m_j) / max(n_i, m_j): each row sums to 1.

    A source counts by how near its resolution n_i is to the target's m_j.
    """
    rows = torch.tensor([list(source_resolutions)], dtype=torch.float64)
    columns = torch.tensor([list(target_resolutions)], dtype=torch.float64).mT
    ratio = torch.minimum(rows, columns) / torch.maximum(rows, columns)
    return ratio / ratio.sum(-1, keepdim=True)


class CrossScaleRouter(nn.Module):
    """Transitions of tile states between resolutions; a resolution is a state's size along an axis.

    Modes, their laws and norms are in `transitions`: for states of segments "linear", "nearest"
    and "area" (resolutions must divide each other); for nested channels, as a state-space layer
    carries them, "nested", which appends zeros, and two that learn: "extension", which keeps the
    channels that there are and predicts the new ones, and "rotation", which never raises the
    Euclidean norm. Both start as "nested".

    Args:
        interpolation_mode: one of `MODES`.
        resolutions: those that there can be; only for modes that learn, and needed by them.
        dim: the axis of the resolution; -1 for states [B, I, n].
    """

    def __init__(
        self,
        interpolation_mode: str = "linear",
        *,
        resolutions: Sequence[int] | None = None,
        dim: int = -1,
    ) -> None:
        super().__init__()
        if interpolation_mode not in MODES:
            raise ArgumentError(
                "interpolation_mode", repr(interpolation_mode), f"one of {MODES}", "pass 'linear'"
            )
        self.interpolation_mode, self.dim = interpolation_mode, dim
        learns = interpolation_mode in _LEARNT
        if learns != bool(resolutions) or any(n < 1 for n in resolutions or ()):
            raise ArgumentError(
                "resolutions",
                resolutions,
                "integers >= 1" if learns else f"None for {interpolation_mode!r}",
                "pass the sizes that states may have" if learns else "leave it out",
            )
        self.transition: AbstractTransition
        if resolutions:
            self.transition = _LEARNT[interpolation_mode](resolutions)
        else:
            self.transition = _FIXED[interpolation_mode]()

    def forward(self, state: Tensor, resolution: int) -> Tensor:
        """The state at another resolution; at its own, the same tensor."""
        if resolution == state.shape[self.dim]:
            return state
        return self._change(state.movedim(self.dim, -1), resolution).movedim(-1, self.dim)

    def _change(self, state: Float[Tensor, "*b n"], resolution: int) -> Float[Tensor, "*b m"]:
        before = state.shape[-1]
        if resolution < 1 or before < 1:
            raise ArgumentError("resolution", resolution, "an integer >= 1", "pass 1")
        self.transition.check(min(before, resolution), max(before, resolution))
        change = self.transition.down if resolution < before else self.transition.up
        return change(state, resolution)

    def norm(self, state: Tensor) -> Tensor:
        """The norm along the axis of the resolution that no transition raises."""
        return self.transition.norm(state.movedim(self.dim, -1))

    def route_states(
        self,
        source_states: Sequence[Tensor],
        source_resolutions: Sequence[int],
        target_resolutions: Sequence[int],
    ) -> list[Tensor]:
        """State i from source resolution i to target resolution i; those alike go together."""
        self._check(source_states, source_resolutions)
        if len(target_resolutions) != len(source_states):
            raise ArgumentError(
                "target_resolutions",
                f"{len(target_resolutions)} resolutions",
                f"{len(source_states)}, one for each state",
                "pass one for each state, or use mix_states",
            )
        groups: dict[tuple[object, ...], list[int]] = {}
        for i, (state, target) in enumerate(zip(source_states, target_resolutions, strict=True)):
            if target != source_resolutions[i]:
                kind = state.shape, state.dtype, state.device, target
                groups.setdefault(kind, []).append(i)
        routed = list(source_states)
        for members in groups.values():
            stack = torch.stack([source_states[i].movedim(self.dim, -1) for i in members])
            moved = self._change(stack, target_resolutions[members[0]])
            for i, state in zip(members, moved.unbind(0), strict=True):
                routed[i] = state.movedim(-1, self.dim)
        return routed

    def mix_states(
        self,
        source_states: Sequence[Tensor],
        source_resolutions: Sequence[int],
        target_resolutions: Sequence[int],
    ) -> list[Tensor]:
        """For each target the mean of all states at its resolution, by `routing_weights`.

        No norm exceeds the largest of the sources'. Causality is the caller's: give the states
        that the targets may know.
        """
        if not source_states:
            raise ArgumentError("source_states", "none", "at least one state", "pass the states")
        mixed: dict[int, Tensor] = {}
        for target in sorted(set(target_resolutions)):
            alike = [target] * len(source_states)
            states = self.route_states(source_states, source_resolutions, alike)
            weights = routing_weights(source_resolutions, [target])[0].to(states[0])
            mixed[target] = torch.einsum("s,s...->...", weights, torch.stack(states))
        return [mixed[target] for target in target_resolutions]

    def _check(self, states: Sequence[Tensor], resolutions: Sequence[int]) -> None:
        sizes = [state.shape[self.dim] for state in states]
        if sizes != list(resolutions):
            raise ArgumentError(
                "source_resolutions",
                list(resolutions),
                f"{sizes}, the sizes of the states along axis {self.dim}",
                "pass each state's own size",
            )
