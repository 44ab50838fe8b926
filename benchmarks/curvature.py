"""Scalar curvature of a learnt metric, forward and backward: closed form, forward mode, loops.

Batch 256, float64, 64 hidden numbers, dimension 4 and 8; the gradient of the sum of R with respect
to all parameters. All are gated by Riemann's tensor, contracted as the textbook has it, whose
derivatives of the metric come from `torch.func`. The loops go over points, with one graph a point:
one by forward mode, one by `torch.autograd` (`vectorize=True`, which is about eight times faster
than without), which takes each entry of the symmetric matrix once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from adaptive_attention_tiling.mathematics.geometry import (
    LearnedMetric,
    RiemannianStructure,
    curvature,
)
from adaptive_attention_tiling.mathematics.geometry.jets import MetricJet

from .contender import Absent, Case, Contender
from .measure import Options, run_cases

BATCH, HIDDEN = 256, 64


def run(options: Options) -> dict[str, Any]:
    batch = 16 if options.quick else BATCH
    return run_cases(cases((4, 8), batch, rounds=3))


def cases(dimensions: tuple[int, ...], batch: int, *, rounds: int) -> Iterator[Case]:
    for n in dimensions:
        torch.manual_seed(0)
        metric, points = LearnedMetric(n, hidden=HIDDEN).double(), torch.randn(batch, n).double()
        forward_mode = RiemannianStructure(metric, n, checks=False)
        by_jet = RiemannianStructure(metric, n, jet=metric.jet, checks=False)
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "loop over points": partial(looped, forward_mode.scalar_curvature),
            "forward mode, any metric": forward_mode.scalar_curvature,
            "closed second derivatives": by_jet.scalar_curvature,
            "closed form": metric.scalar_curvature,
        }
        contenders: list[Contender | Absent] = [
            contender(name, way, metric, points) for name, way in ways.items()
        ]
        name = "loop over points, reverse mode"
        if n == 4:
            by_gradients = partial(looped, partial(by_reverse_mode, metric))
            contenders.append(contender(name, by_gradients, metric, points))
        else:
            contenders.append(Absent(name, "takes minutes a round"))
        yield Case(
            name=f"scalar curvature, n={n}",
            inputs={"batch": batch, "n": n, "hidden": HIDDEN, "dtype": "float64", "seed": 0},
            contenders=contenders,
            baseline="loop over points",
            rounds=rounds,
        )


def contender(
    name: str, way: Callable[[Tensor], Tensor], metric: LearnedMetric, points: Tensor
) -> Contender:
    parameters = list(metric.parameters())

    def answer(way: Callable[[Tensor], Tensor] = way) -> list[Tensor]:
        scalar = way(points)
        return [scalar.detach(), *torch.autograd.grad(scalar.sum(), parameters)]

    return Contender(
        name=name,
        run=answer,
        answer=answer,
        truth=lambda: answer(lambda x: textbook(metric, x)),
        tolerance=1e-10,
    )


def textbook(metric: LearnedMetric, points: Tensor) -> Tensor:
    """g^bd R^a_bad, with R^a_bcd by derivatives of the Christoffel symbols."""

    def gamma(x: Tensor) -> Tensor:
        return curvature.christoffel(metric(x), torch.func.jacfwd(metric)(x))

    def scalar(x: Tensor) -> Tensor:
        own, derivative = gamma(x), torch.func.jacfwd(gamma)(x)
        half = torch.einsum("adbc->abcd", derivative) + torch.einsum("ace,edb->abcd", own, own)
        riemann = half - half.transpose(-1, -2)
        return torch.einsum("bd,abad->", torch.linalg.inv(metric(x)), riemann)

    found: Tensor = torch.func.vmap(scalar)(points)
    return found


def looped(scalar: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    return torch.stack([scalar(point) for point in points])


def by_reverse_mode(metric: LearnedMetric, point: Tensor) -> Tensor:
    """R at one point, from gradients of the entries of the metric."""
    n = len(point)
    rows, columns = torch.triu_indices(n, n)
    number = torch.zeros(n, n, dtype=torch.long)
    number[rows, columns] = number[columns, rows] = torch.arange(len(rows))

    def slopes(x: Tensor) -> Tensor:
        return _jacobian(lambda x: metric(x)[rows, columns], x)

    first, second = slopes(point), _jacobian(slopes, point)
    return curvature.scalar(MetricJet(metric(point), first[number], second[number]))


def _jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    found: Tensor = jacobian(function, point, create_graph=True, vectorize=True)
    return found
