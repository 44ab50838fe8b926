"""Geodesics: curves whose velocity is parallel along themselves, from a point or between two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .integration import Integration
from .jets import MetricFunction, first_jet, jacobian

_NODES, _MOST_ITERATIONS, _LEAST_SHARE = (12, 24, 48), 12, 1 / 16


@dataclass(frozen=True)
class GeodesicFlow:
    """A geodesic of each pair of a point and a velocity, read at some times.

    Args:
        times: [t].
        positions, velocities: [t, *b, *p], with p the shape of a point.
    """

    times: Float[Tensor, " t"]
    positions: Tensor
    velocities: Tensor


class Rule(NamedTuple):
    """Integrals of the polynomial through values at N nodes of Gauss on [0, 1].

    Args:
        once, twice: [N, N], from values to their integral, and its integral, from 0 to each node.
        once_whole, twice_whole: [N], the same from 0 to 1.
        tail: [2, N], the last two coefficients in Legendre's polynomials.
        nodes: [N].
    """

    once: Tensor
    twice: Tensor
    once_whole: Tensor
    twice_whole: Tensor
    tail: Tensor
    nodes: Tensor


class Arc(NamedTuple):
    """A geodesic from time 0 to 1 at N nodes: velocity at the start, and x, v [N, *b, n]."""

    start: Tensor
    positions: Tensor
    velocities: Tensor
    rule: Rule


def acceleration(metric: MetricFunction, point: Tensor, velocity: Tensor) -> Tensor:
    """-Gamma^k_ij v^i v^j = g^kl (d_l g_ij v^i v^j / 2 - v^i d_i g_jl v^j), [*b, n].

    Source: Lee, Introduction to Riemannian Manifolds (2018), equation 4.16.
    """
    matrix, first = first_jet(metric, point)
    once = torch.einsum("...jlk,...j->...lk", first, velocity)  # v^j d_k g_jl
    half = torch.einsum("...ik,...i->...k", once, velocity) / 2
    along = torch.einsum("...lk,...k->...l", once, velocity)
    found: Tensor = torch.linalg.inv(matrix) @ (half - along)[..., None]
    return found[..., 0]


def flow(
    metric: MetricFunction, point: Tensor, velocity: Tensor, times: Tensor, how: Integration
) -> GeodesicFlow:
    """Positions and velocities at the times; the first of them is when the velocity is given."""

    def field(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, v = state
        return v, acceleration(metric, x, v)

    start = tuple(torch.broadcast_tensors(point, velocity))
    positions, velocities = how.integrate(field, start, times)
    return GeodesicFlow(times, positions, velocities)


def arc(metric: MetricFunction, point: Tensor, other: Tensor, tolerance: float) -> Arc:
    """The geodesic from `point` to `other` that is found from the straight line of the chart.

    The acceleration u is a polynomial through N nodes of Gauss, and x, with the right ends, its
    second integral; Newton's method solves u = -Gamma(x) x' x' at all nodes at once, where it must
    by way of nearer ends. N grows until the last coefficients of u are below the tolerance. What is
    found depends on inputs by the implicit function theorem: two last steps by a derivative held
    fixed carry first and second gradients.

    Source: collocation, Hairer, Norsett and Wanner (1993), section II.7.
    """
    point, other = torch.broadcast_tensors(point, other)
    extent = 1 + (other - point).detach().norm(dim=-1)
    u = point.new_zeros(_NODES[0], *point.shape)
    for count in _NODES:
        rule = _rule(count, point.dtype, point.device)
        u = _at_nodes(u, rule)

        def accelerated(u: Tensor, rule: Rule = rule) -> Tensor:
            return acceleration(metric, *_curve(u, point, other, rule))

        with torch.no_grad():
            u, matrix = _continued(metric, u, point, other, rule, tolerance)
            tail = torch.tensordot(rule.tail, u, 1).norm(dim=-1).amax(0)
        if bool((tail <= 100 * tolerance * extent).all()):
            break
    else:
        _refuse(other, tail / extent, f"not resolved by {_NODES[-1]} nodes")
    for _ in range(2):
        u = u - _solved(matrix, u - accelerated(u))
    start = other - point - torch.tensordot(rule.twice_whole, u, 1)
    return Arc(start, *_curve(u, point, other, rule), rule)


def carried(connection: Callable[[Tensor], Tensor], along: Arc, tangent: Tensor) -> Tensor:
    """`tangent` at time 1 of w' = -Gamma(x) x' w along an arc, from w = `tangent` at time 0."""
    gamma = connection(along.positions)
    turn = torch.einsum("a...kij,a...i->...akj", gamma, along.velocities)
    count, n = turn.shape[-3], turn.shape[-1]
    system = torch.einsum("ab,...bkj->...akbj", along.rule.once, turn)
    system = system.flatten(-4, -3).flatten(-2) + torch.eye(count * n).to(turn)
    tangent = tangent.expand(torch.broadcast_shapes(tangent.shape, (*turn.shape[:-3], n)))
    start = tangent[..., None, :].expand(*tangent.shape[:-1], count, n).flatten(-2)
    w = torch.linalg.solve(system, start[..., None])[..., 0].unflatten(-1, (count, n))
    return tangent - torch.einsum("a,...akj,...aj->...k", along.rule.once_whole, turn, w)


def _curve(u: Tensor, point: Tensor, other: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """x and v at the nodes, with x'' = u, x(0) = `point` and x(1) = `other`."""
    chord = other - point - torch.tensordot(rule.twice_whole, u, 1)
    times = rule.nodes.reshape(-1, *(1,) * point.dim())
    return (
        point + times * chord + torch.tensordot(rule.twice, u, 1),
        chord + torch.tensordot(rule.once, u, 1),
    )


def _continued(
    metric: MetricFunction, u: Tensor, point: Tensor, other: Tensor, rule: Rule, tolerance: float
) -> tuple[Tensor, Tensor]:
    """The u of the geodesic and the derivative there, by way of nearer ends where it must be."""
    done, share = 0.0, 1.0
    while done < 1:
        goal = min(1.0, done + share)
        guess = u * (goal / done) ** 2 if done else u * (goal == 1)
        end = point + goal * (other - point)
        found, matrix, missed = _newton(metric, guess, point, end, rule, tolerance)
        if bool((missed <= 1).all()):
            u, done = found, goal
            continue
        share /= 2
        if share < _LEAST_SHARE:
            _refuse(other, missed, "not found by Newton's method")
    return u, matrix


def _newton(
    metric: MetricFunction, u: Tensor, point: Tensor, other: Tensor, rule: Rule, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """u, the derivative of u - acceleration there, and what is missed in units of the tolerance."""
    n, position = point.shape[-1], rule.twice - rule.nodes[:, None] * rule.twice_whole
    velocity = rule.once - rule.twice_whole

    def both(state: Tensor) -> Tensor:
        return acceleration(metric, state[..., :n], state[..., n:])

    def at(u: Tensor) -> tuple[Tensor, Tensor]:
        value, derivative = jacobian(both, torch.cat(_curve(u, point, other, rule), -1))
        by_x = torch.einsum("a...kj,ab->...akbj", derivative[..., :n], position)
        by_v = torch.einsum("a...kj,ab->...akbj", derivative[..., n:], velocity)
        matrix = -(by_x + by_v).flatten(-4, -3).flatten(-2)
        return u - value, matrix + torch.eye(matrix.shape[-1]).to(matrix)

    missed, matrix = at(u)
    share = torch.ones_like(point[..., 0])
    for _ in range(_MOST_ITERATIONS):
        over = _size(missed) / (tolerance * (1 + _size(u)))
        if bool((over <= 1).all()):
            break
        tried = u - share[..., None] * _solved(matrix, missed)
        new_missed, new_matrix = at(tried)
        better = _size(new_missed) < _size(missed)
        u = torch.where(better[..., None], tried, u)
        missed = torch.where(better[..., None], new_missed, missed)
        matrix = torch.where(better[..., None, None], new_matrix, matrix)
        share = torch.where(better, (2 * share).clamp(max=1), share / 4)
    return u, matrix, over


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Of systems [*b, N n, N n], right sides [N, *b, n]."""
    flat: Tensor = torch.linalg.solve(matrix, right.movedim(0, -2).flatten(-2))
    return flat.reshape(*flat.shape[:-1], len(right), right.shape[-1]).movedim(-2, 0)


def _size(values: Tensor) -> Tensor:
    """The largest norm at a node; infinite where something is not finite."""
    found = values.norm(dim=-1).amax(0)
    return torch.where(found.isfinite(), found, torch.inf)


def _refuse(other: Tensor, wrong: Tensor, why: str) -> None:
    worst = other.detach().reshape(-1, other.shape[-1])[int(wrong.flatten().argmax())]
    raise ArgumentError(
        "other",
        f"{[round(c, 6) for c in worst.tolist()]}, the geodesic to which is {why}",
        "a point that a geodesic from `point` reaches within the chart",
        "choose points nearer to each other, away from singular coordinates",
    )


def _at_nodes(u: Tensor, rule: Rule) -> Tensor:
    """The polynomial through values at some nodes of Gauss, at the nodes of another rule."""
    coarse, _ = np.polynomial.legendre.leggauss(len(u))
    fine = 2 * rule.nodes.double().cpu().numpy() - 1
    legendre = np.polynomial.legendre.legvander
    matrix = legendre(fine, len(u) - 1) @ np.linalg.inv(legendre(coarse, len(u) - 1))
    found: Tensor = torch.tensordot(torch.from_numpy(matrix).to(u), u, 1)
    return found


def _rule(count: int, dtype: torch.dtype, device: torch.device) -> Rule:
    return Rule(*(torch.from_numpy(part).to(device, dtype) for part in _rule_arrays(count)))


@lru_cache
def _rule_arrays(count: int) -> tuple[np.ndarray, ...]:
    """The entries of a Rule, from integrals of Legendre's polynomials."""
    nodes, _ = np.polynomial.legendre.leggauss(count)
    values = np.polynomial.legendre.legvander(nodes, count - 1)
    to_coefficients = np.linalg.inv(values)
    places = np.append(nodes, 1.0)

    def integrated(times: int) -> np.ndarray:
        each = [
            np.polynomial.legendre.legval(
                places, np.polynomial.legendre.legint(row, m=times, lbnd=-1, scl=1)
            )
            for row in np.eye(count)
        ]
        matrix: np.ndarray = np.stack(each, 1) @ to_coefficients / 2**times
        return matrix

    once, twice = integrated(1), integrated(2)
    tail = to_coefficients[-2:]
    return once[:-1], twice[:-1], once[-1], twice[-1], tail, (1 + nodes) / 2
