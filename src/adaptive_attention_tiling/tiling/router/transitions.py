"""How a state passes from one resolution to another: each way with the norm that it never raises.

A state of resolution n has n entries along its last axis: n channels, the first n of a larger
state ("nested"), or n segments of equal length, of which it holds a sample or the mean each. For
n <= m let down: m -> n and up: n -> m. Every way here obeys

    down(up(x)) = x,   down(down(x)) and up(up(x)) through a resolution between = the direct ones,
    |down(y)| <= |y|,  |up(x)| = |x| in the way's own norm,

so that up(down(y)) is y seen through n entries, and seeing it so twice changes nothing more.

Where down cuts channels off and the norm is the Euclidean one, |up(x)| <= |x| leaves no choice:
up must append zeros. A learnt extension therefore has either another norm (`Extension`) or another
down (`Rotation`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from ...errors import ArgumentError


class AbstractTransition(nn.Module, ABC):
    """States between resolutions n <= m; both differ in what they hold along the last axis."""

    @abstractmethod
    def down(self, state: Float[Tensor, "*b m"], resolution: int) -> Float[Tensor, "*b n"]:
        """The state with `resolution` entries, at most those it has."""

    @abstractmethod
    def up(self, state: Float[Tensor, "*b n"], resolution: int) -> Float[Tensor, "*b m"]:
        """The state with `resolution` entries, at least those it has."""

    @abstractmethod
    def norm(self, state: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
        """The norm that neither direction raises."""

    def check(self, few: int, many: int) -> None:
        """Raise an ArgumentError if there is no way between these resolutions."""


class _Segments(AbstractTransition):
    """Segments of equal length, which the segments of a coarser state are made up of."""

    def check(self, few: int, many: int) -> None:
        if many % few:
            raise ArgumentError(
                "resolutions", f"{few} and {many}", "one a multiple of the other", "use halves"
            )


class Area(_Segments):
    """Means of segments: down takes the mean of each run, up repeats. |x| is the root mean square.

    As functions that are constant on segments, up is the identity and down the orthogonal
    projection.
    """

    def down(self, state: Tensor, resolution: int) -> Tensor:
        means: Tensor = state.unflatten(-1, (resolution, -1)).mean(-1)
        return means

    def up(self, state: Tensor, resolution: int) -> Tensor:
        return state.repeat_interleave(resolution // state.shape[-1], -1)

    def norm(self, state: Tensor) -> Tensor:
        norm: Tensor = state.square().mean(-1).sqrt()
        return norm


class Nearest(_Segments):
    """Samples at the start of segments: down takes one of each run, up repeats. |x| = max |x_i|."""

    def down(self, state: Tensor, resolution: int) -> Tensor:
        return state[..., :: state.shape[-1] // resolution]

    def up(self, state: Tensor, resolution: int) -> Tensor:
        return state.repeat_interleave(resolution // state.shape[-1], -1)

    def norm(self, state: Tensor) -> Tensor:
        return state.abs().amax(-1)


class Linear(Nearest):
    """Samples at the start of segments: up draws a line from each to the next; the last stays."""

    def up(self, state: Tensor, resolution: int) -> Tensor:
        times = resolution // state.shape[-1]
        share = torch.arange(times, dtype=state.dtype, device=state.device) / times
        following = torch.cat([state[..., 1:], state[..., -1:]], -1)
        return torch.lerp(state[..., None], following[..., None], share).flatten(-2)


class Nested(AbstractTransition):
    """Channels: down cuts off all but the first, up appends zeros. |x| is Euclidean."""

    def down(self, state: Tensor, resolution: int) -> Tensor:
        return state[..., :resolution]

    def up(self, state: Tensor, resolution: int) -> Tensor:
        return pad(state, (0, resolution - state.shape[-1]))

    def norm(self, state: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(state, dim=-1)
        return norm


class Extension(Nested):
    """Channels: down cuts off all but the first, up predicts those that follow.

    With a strictly lower triangular matrix S, learnt and 0 at first, channel i is predicted from
    the ones before it as (S x)_i, and predictions serve later ones. |x| is the Euclidean norm of
    the surprises x - S x: predictions are no surprise, so up keeps it, and down can only lose some
    (the lifting scheme; Sweldens, 1998). The Euclidean norm of x itself may grow.
    """

    def __init__(self, resolutions: Sequence[int]) -> None:
        super().__init__()
        self.predictor = nn.Parameter(torch.zeros(max(resolutions), max(resolutions)))

    def up(self, state: Tensor, resolution: int) -> Tensor:
        n = state.shape[-1]
        # At least the parameter's precision: no triangular system is solved in 16 bits.
        rows = self._matrix(resolution)[n:]
        rows = rows.to(state.device, torch.promote_types(rows.dtype, state.dtype))
        new = torch.eye(resolution - n, dtype=rows.dtype, device=rows.device) - rows[:, n:]
        known = (state.to(rows) @ rows[:, :n].mT)[..., None]
        added = torch.linalg.solve_triangular(new, known, upper=False, unitriangular=True)
        return torch.cat([state, added[..., 0].to(state)], -1)

    def norm(self, state: Tensor) -> Tensor:
        surprise = state - state @ self._matrix(state.shape[-1]).to(state).mT
        norm: Tensor = torch.linalg.vector_norm(surprise, dim=-1)
        return norm

    def check(self, few: int, many: int) -> None:
        if many > len(self.predictor):
            raise ArgumentError(
                "resolutions", many, f"at most {len(self.predictor)}", "name it at construction"
            )

    def _matrix(self, resolution: int) -> Tensor:
        return self.predictor[:resolution, :resolution].tril(-1)


class Rotation(Nested):
    """Channels in a learnt basis at each resolution n: U_n, orthogonal, the identity at first.

        up(x) = U_m^T [U_n x; 0],   down(y) = U_n^T (the first n entries of U_m y),

    adjoints of each other; up is an isometry and down a projection. |x| is Euclidean. These are
    all the linear ways that keep the laws with the Euclidean norm. U_n = exp(A_n - A_n^T).
    """

    def __init__(self, resolutions: Sequence[int]) -> None:
        super().__init__()
        self.generators = nn.ParameterDict(
            {str(n): nn.Parameter(torch.zeros(n, n)) for n in resolutions}
        )

    def down(self, state: Tensor, resolution: int) -> Tensor:
        return super().down(self._turn(state), resolution) @ self._basis(state, resolution)

    def up(self, state: Tensor, resolution: int) -> Tensor:
        return super().up(self._turn(state), resolution) @ self._basis(state, resolution)

    def check(self, few: int, many: int) -> None:
        for resolution in (few, many):
            if str(resolution) not in self.generators:
                known = ", ".join(self.generators)
                raise ArgumentError(
                    "resolutions", resolution, f"one of {known}", "name it at construction"
                )

    def _turn(self, state: Tensor) -> Tensor:
        return state @ self._basis(state, state.shape[-1]).mT

    def _basis(self, state: Tensor, resolution: int) -> Float[Tensor, "n n"]:
        generator = self.generators[str(resolution)]
        basis: Tensor = torch.linalg.matrix_exp(generator - generator.mT)
        return basis.to(state)
