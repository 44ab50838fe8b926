"""Reactions f(u) point by point, [..., s] to [..., s], with the states where they rest.

Sources: Murray, Mathematical Biology II (2003), sections 2.2 and 13.2; Prigogine and Lefever,
J. Chem. Phys. 48 (1968); Pearson, Science 261 (1993); Allen and Cahn, Acta Metall. 27 (1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

Number = float | Tensor


@dataclass(frozen=True)
class Schnakenberg:
    """u' = a - u + u^2 v,  v' = b - u^2 v."""

    a: Number
    b: Number

    def __call__(self, state: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        u, v = state.unbind(-1)
        made = u * u * v
        return torch.stack([self.a - u + made, self.b - made], -1)

    def steady_state(self) -> Float[Tensor, " 2"]:
        """(a + b, b / (a + b)^2)."""
        total = self.a + self.b
        return _state(total, self.b / total**2)


@dataclass(frozen=True)
class Brusselator:
    """u' = A - (B + 1) u + u^2 v,  v' = B u - u^2 v."""

    a: Number
    b: Number

    def __call__(self, state: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        u, v = state.unbind(-1)
        made = u * u * v
        return torch.stack([self.a - (self.b + 1) * u + made, self.b * u - made], -1)

    def steady_state(self) -> Float[Tensor, " 2"]:
        """(A, B / A); unstable to oscillations for B > 1 + A^2."""
        return _state(self.a, self.b / self.a)


@dataclass(frozen=True)
class GrayScott:
    """u' = -u v^2 + F (1 - u),  v' = u v^2 - (F + k) v."""

    feed: Number
    kill: Number

    def __call__(self, state: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b 2"]:
        u, v = state.unbind(-1)
        used = u * v * v
        return torch.stack([self.feed * (1 - u) - used, used - (self.feed + self.kill) * v], -1)

    def steady_state(self) -> Float[Tensor, " 2"]:
        """The one with u = (1 - sqrt(1 - 4 (F + k)^2 / F)) / 2, v = F (1 - u) / (F + k).

        Raises:
            ArgumentError: k lies beyond the saddle-node at sqrt(F) / 2 - F.
        """
        out = self.feed + self.kill
        inside = torch.as_tensor(1 - 4 * out**2 / self.feed, dtype=torch.float64)
        if bool(inside < 0):
            raise ArgumentError(
                "kill", float(torch.as_tensor(self.kill)), "at most sqrt(F) / 2 - F",
                "only (1, 0) is steady there",
            )  # fmt: skip
        u = (1 - inside.sqrt()) / 2
        return _state(u, self.feed * (1 - u) / out)


@dataclass(frozen=True)
class FisherKPP:
    """u' = r u (1 - u), one species; fronts into u = 0 move at 2 sqrt(r D) or faster."""

    growth: Number = 1.0

    def __call__(self, state: Float[Tensor, "*b 1"]) -> Float[Tensor, "*b 1"]:
        return self.growth * state * (1 - state)

    def front_speed(self, diffusivity: Number) -> Tensor:
        """2 sqrt(r D), of the front that comes from a step."""
        return 2 * torch.as_tensor(self.growth * diffusivity, dtype=torch.float64).sqrt()


@dataclass(frozen=True)
class AllenCahn:
    """u' = (u - u^3) / eps^2, one species; with D = 1 discs shrink as r^2 = r_0^2 - 2 t."""

    width: Number

    def __call__(self, state: Float[Tensor, "*b 1"]) -> Float[Tensor, "*b 1"]:
        return (state - state**3) / self.width**2

    def wall(self, distance: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """tanh(x / (sqrt(2) eps)), at rest in one dimension."""
        return torch.tanh(distance / (2**0.5 * self.width))


def _state(*parts: Number) -> Tensor:
    return torch.stack([torch.as_tensor(part, dtype=torch.float64) for part in parts])
