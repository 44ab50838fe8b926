"""Dimensions and power laws of self-similar sets, masses and profiles, fitted with errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError


class BoxDimension(NamedTuple):
    """The slope of a count of boxes over their size."""

    dimension: Tensor
    error: Tensor
    """Standard error of the slope, as if counts scattered independently about a line; it does not
    hold what is due to sizes too near the smallest distance or the whole."""
    sizes: Tensor
    entropies: Tensor
    """H_q of the mass in boxes of each size; ln(number of boxes) for q = 0."""


class PowerLaw(NamedTuple):
    """y = A x^slope, times a log-periodic ripple if one was fitted."""

    slope: Tensor
    error: Tensor
    """Standard error of the slope."""
    log_period: Tensor
    """ln of the ratio of scales by which the ripple repeats; infinite without one."""
    amplitude: Tensor
    """Of the ripple in ln y, >= 0."""
    chance: Tensor
    """Share of shuffled residues with a ripple as large, the residues among them; 1 without."""


def box_dimension(
    points: Float[Tensor, "m n"],
    sizes: Sequence[float],
    masses: Float[Tensor, " m"] | None = None,
    order: float = 0.0,
) -> BoxDimension:
    """D_q = - slope of H_q(e) over ln e, H_q = ln(sum_i p_i^q) / (1 - q) of boxes of size e.

    q = 0 counts boxes, q = 1 is the information dimension, q = 2 the correlation dimension. Boxes
    are [i e, (i + 1) e) from the smallest coordinates on.

    Args:
        points: m places, more than a few in the smallest boxes.
        sizes: e, three or more; for a set that shrinks by r at each step take powers of r.
        masses: of the points, >= 0, not all 0; alike by default.
        order: q >= 0.

    Raises:
        ArgumentError: too few points or sizes.

    Renyi (1970); Falconer, Fractal Geometry (2014), sections 2.1 and 17.1.
    """
    weights = torch.ones_like(points[..., 0]) if masses is None else masses
    _check_points(points, sizes, weights, order)
    places = points.detach().double() - points.detach().double().amin(0)
    weights = weights.detach().double() / weights.detach().double().sum()
    rows = [_entropy(places, weights, size, order) for size in sizes]
    logs, entropies = places.new_tensor([math.log(size) for size in sizes]), torch.stack(rows)
    design = torch.stack([torch.ones_like(logs), logs], 1)
    coefficients, errors, _ = _fit(design, entropies)
    return BoxDimension(-coefficients[1], errors[1], logs.exp(), entropies)


def power_law(
    places: Float[Tensor, " m"],
    values: Float[Tensor, " m"],
    log_periods: Sequence[float] = (),
    shuffles: int = 99,
    generator: torch.Generator | None = None,
) -> PowerLaw:
    """ln y = a + slope ln x + c cos(2 pi ln x / p) + s sin(2 pi ln x / p) by least squares.

    Such ripples are what discrete scale invariance, y(b x) = b^slope y(x) for one b alone, leaves:
    p = ln b.

    Args:
        places: x > 0, eight or more.
        values: y > 0.
        log_periods: p that are tried, at most ln(largest x / smallest x); none for a plain line.
            Places must tell the ripple from the line: powers of b do not hold p = ln b.
        shuffles: of the residues of the plain line, for `chance`.
        generator: of the shuffles.

    Sornette, Phys. Rep. 297 (1998) 239, section 2.
    """
    _check_profile(places, values, log_periods, shuffles)
    x, y = places.detach().double().log(), values.detach().double().log()
    line = torch.stack([torch.ones_like(x), x], 1)
    coefficients, errors, residue = _fit(line, y)
    none = x.new_tensor(math.inf), x.new_tensor(0.0), x.new_tensor(1.0)
    if not log_periods:
        return PowerLaw(coefficients[1], errors[1], *none)
    designs = [_rippled(line, x, period) for period in log_periods]
    _check_designs(designs, log_periods)
    left = torch.stack([_fit(design, y)[2].square().sum() for design in designs])
    best = int(left.argmin())
    coefficients, errors, _ = _fit(designs[best], y)
    as_well = 1
    bases = torch.stack([torch.linalg.qr(design).Q for design in designs])
    kept = _kept(bases, y - line @ torch.linalg.lstsq(line, y[:, None]).solution[:, 0])
    for _ in range(shuffles):
        order = torch.rand(len(y), generator=generator).argsort().to(y.device)
        as_well += int(_kept(bases, residue[order]) >= kept)
    return PowerLaw(
        coefficients[1],
        errors[1],
        x.new_tensor(log_periods[best]),
        coefficients[2:].norm(),
        x.new_tensor(as_well / (shuffles + 1)),
    )


def _entropy(places: Tensor, weights: Tensor, size: float, order: float) -> Tensor:
    _, box = (places / size).floor().long().unique(dim=0, return_inverse=True)
    shares = weights.new_zeros(int(box.max()) + 1).index_add(0, box, weights)
    shares = shares[shares > 0]
    if order == 1:
        return -(shares * shares.log()).sum()
    return shares.pow(order).sum().log() / (1 - order)


def _rippled(line: Tensor, x: Tensor, period: float) -> Tensor:
    phase = 2 * math.pi * x / period
    return torch.cat([line, phase.cos()[:, None], phase.sin()[:, None]], 1)


def _kept(bases: Float[Tensor, "p m c"], residue: Tensor) -> Tensor:
    return (bases.mT @ residue).square().sum(-1).max()


def _fit(design: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients, their standard errors and what is left over."""
    coefficients = torch.linalg.lstsq(design, values[:, None]).solution[:, 0]
    left = values - design @ coefficients
    variance = left.square().sum() / (len(values) - design.shape[1])
    spread = torch.linalg.inv(design.mT @ design).diagonal()
    return coefficients, (variance * spread).sqrt(), left


def _check_designs(designs: Sequence[Tensor], log_periods: Sequence[float]) -> None:
    for design, period in zip(designs, log_periods, strict=True):
        line, ripple = design.split(2, 1)
        unit = torch.cat([line / line.norm(dim=0), ripple / math.sqrt(len(design))], 1)
        if not float(torch.linalg.cond(unit)) < 1e6:
            raise ArgumentError(
                "log_periods",
                f"{period:.6g}, by which places make no ripple but a line",
                "more than two places a period",
                "pass places in between, or leave this period out",
            )


def _check_points(points: Tensor, sizes: Sequence[float], masses: Tensor, order: float) -> None:
    if points.dim() != 2 or len(points) < 16 or not bool(points.detach().isfinite().all()):
        raise ArgumentError(
            "points", f"shape {list(points.shape)}", "finite [m, n], m >= 16", "pass more points"
        )
    if len(set(sizes)) < 3 or not all(0 < size < math.inf for size in sizes):
        raise ArgumentError("sizes", sizes, "three or more lengths > 0", "pass powers of a ratio")
    if masses.shape != points.shape[:1] or not _are_masses(masses):
        raise ArgumentError(
            "masses", f"shape {list(masses.shape)}", "finite [m], >= 0, not all 0", "one a point"
        )
    if not 0 <= order < math.inf:
        raise ArgumentError("order", order, "a number >= 0", "pass 0, 1 or 2")


def _are_masses(masses: Tensor) -> bool:
    return bool(((masses >= 0) & masses.isfinite()).all()) and bool(masses.sum() > 0)


def _check_profile(
    places: Tensor, values: Tensor, log_periods: Sequence[float], shuffles: int
) -> None:
    for name, numbers in (("places", places), ("values", values)):
        good = numbers.dim() == 1 and len(numbers) >= 8 and len(numbers) == len(places)
        if not good or not bool(((numbers > 0) & numbers.isfinite()).all()):
            raise ArgumentError(
                name, f"shape {list(numbers.shape)}", "[m] finite and > 0, m >= 8", "pass more"
            )
    span = float((places.detach().max() / places.detach().min()).log())
    if not all(0 < period <= span for period in log_periods):
        raise ArgumentError(
            "log_periods", list(log_periods), f"in (0, {span:.3g}]", "fit within the profile"
        )
    if span == 0:
        raise ArgumentError("places", "one place", "several", "pass a profile")
    if shuffles < 1:
        raise ArgumentError("shuffles", shuffles, "a whole number >= 1", "pass 99")
