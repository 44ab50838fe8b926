"""Parallel transport: how a tangent is carried along a curve in coordinates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from .integration import Integration, unit_interval

Path = Callable[[Tensor], Tensor]
Connection = Callable[[Tensor], Tensor]


def along_path(
    connection: Connection,
    path: Path,
    tangent: Float[Tensor, "*b n"],
    times: Float[Tensor, " t"],
    how: Integration,
) -> Float[Tensor, "t *b n"]:
    """dw^k/dt = -Gamma^k_ij c'^i w^j along c(t), from w = `tangent` at times[0].

    Source: Lee, Introduction to Riemannian Manifolds (2018), equation 4.17.
    """

    def field(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        found = torch.func.jvp(path, (t,), (torch.ones_like(t),))
        point, velocity = found[0], found[1]
        return (-torch.einsum("...kij,...i,...j->...k", connection(point), velocity, state[0]),)

    start = torch.broadcast_shapes(tangent.shape, path(times[0]).shape)
    return how.integrate(field, (tangent.expand(start),), times)[0]


def along_polyline(
    connection: Connection,
    vertices: Float[Tensor, "m *b n"],
    tangent: Float[Tensor, "*b n"],
    how: Integration,
) -> Float[Tensor, "m *b n"]:
    """The same along straight lines of the chart, at each vertex."""
    found = [tangent.expand(torch.broadcast_shapes(tangent.shape, vertices.shape[1:]))]
    for start, end in pairwise(vertices):

        def straight(t: Tensor, start: Tensor = start, end: Tensor = end) -> Tensor:
            return start + t * (end - start)

        times = unit_interval(vertices)
        found.append(along_path(connection, straight, found[-1], times, how)[-1])
    return torch.stack(found)
