"""How splat fields start: by chance, or from points that they are to cover."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ArgumentError
from .assembly import (
    accurate,
    assemble,
    check_positive,
    check_rank,
    shape_of_covariance,
    shape_of_variance,
    wide_enough,
    within,
)
from .clusters import cluster_covariance, cluster_variance, k_means
from .field import BACKGROUND, Bounds, SplatField
from .splats import Kind
from .teacher import from_teacher

# A point at this squared Mahalanobis distance has a feature of exp(-2): far enough for splats to
# differ, near enough for gradients to reach them and for the background not to drown them.
TYPICAL_DISTANCE = 4.0
# Random splats start sharper: on recall, models learnt less from wide ones. See docs/log.md.
RANDOM_DISTANCE = 20.0


def random(
    *,
    heads: int,
    splats: int,
    width: int,
    kind: Kind = "diagonal",
    rank: int = 2,
    spread: float = 1.0,
    scale: float | None = None,
    amplitude: float = 1.0,
    background: float | None = BACKGROUND,
    bounds: Bounds | None = None,
    capacity: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> SplatField:
    """A field of round splats with centres drawn from N(0, spread^2).

    Args:
        heads, splats, width: H, K and D.
        kind, rank: the covariance that can be learnt. Factors of a low-rank one start at a tenth
            of `scale`: at zero they would have no gradient.
        scale: the deviation of every splat. By default sqrt(D (1 + spread^2) / 20), with which a
            standard normal point has a mean squared Mahalanobis distance of 20, at any width.
        amplitude, background: a_s, and that of the splat of infinite width; None for none.
        bounds: by default such that the centres lie well within.
        capacity: slots a head; those beyond `splats` are empty.
    """
    for name, number in (("heads", heads), ("splats", splats), ("width", width)):
        if number < 1:
            raise ArgumentError(name, number, "an integer >= 1", f"give {name}=1 or more")
    check_rank(kind, rank, width)
    check_positive("spread", spread)
    if scale is None:
        scale = math.sqrt(width * (1 + spread**2) / RANDOM_DISTANCE)
    check_positive("scale", scale)

    def normal(*shape: int) -> Tensor:
        source = device if generator is None else generator.device
        return torch.randn(shape, generator=generator, device=source, dtype=dtype).to(device)

    mean = spread * normal(heads, splats, width)
    factor = None
    if kind == "low_rank":
        factor = 0.1 * scale * normal(heads, splats, width, rank)
    elif kind == "full":
        factor = mean.new_zeros(heads, splats, width, width)
    flat = mean[..., 0] if kind == "scalar" else mean
    return assemble(
        kind,
        mean,
        torch.full_like(flat, scale),
        factor,
        _equal(amplitude, mean),
        background=background,
        bounds=bounds or wide_enough(mean),
        capacity=capacity,
    )


def kmeans(
    points: Float[Tensor, "H N D"],
    *,
    splats: int,
    kind: Kind = "diagonal",
    rank: int = 2,
    distance: float = TYPICAL_DISTANCE,
    amplitude: float = 1.0,
    background: float | None = BACKGROUND,
    bounds: Bounds | None = None,
    capacity: int | None = None,
    iterations: int = 25,
    generator: torch.Generator | None = None,
) -> SplatField:
    """A field with a splat on every cluster of the points, as wide as the cluster.

    A point lies at a squared Mahalanobis distance of about D from the centre of its cluster, and
    exp(-D / 2) is nothing in a wide head; covariances are therefore those of the clusters times
    max(1, D / distance). Clusters of few points borrow from the covariance that all share.
    Amplitudes are equal: the more points of a large cluster already weigh more, each by its own.

    Args:
        points: what the splats are to cover, for example queries and keys of some batches.
        kind, rank: the covariance; a low-rank one takes the leading principal directions of the
            cluster and keeps the variance along every axis.
        distance: the squared Mahalanobis distance of a point to its own splat, at most.
        bounds: by default such that the centres lie well within; scales are clipped to them.
        amplitude, background, capacity: as in `random`.
    """
    points = _checked(points, kind, rank, distance)
    clusters = k_means(points, splats, iterations=iterations, generator=generator)
    bounds = bounds or wide_enough(clusters.centres)
    wider = max(1.0, points.shape[-1] / distance)
    if kind in ("scalar", "diagonal"):
        variance = wider * cluster_variance(points, clusters)
        scale, factor = shape_of_variance(variance, kind), None
    else:
        covariance = wider * cluster_covariance(points, clusters)
        scale, factor = shape_of_covariance(covariance, kind, rank)
    scale, factor = within(bounds, scale, factor)
    return assemble(
        kind,
        clusters.centres,
        scale,
        factor,
        _equal(amplitude, clusters.centres),
        background=background,
        bounds=bounds,
        capacity=capacity,
    )


def pca(
    points: Float[Tensor, "H N D"],
    *,
    splats: int,
    kind: Kind = "diagonal",
    rank: int = 2,
    directions: int = 2,
    distance: float = TYPICAL_DISTANCE,
    amplitude: float = 1.0,
    background: float | None = BACKGROUND,
    bounds: Bounds | None = None,
    capacity: int | None = None,
) -> SplatField:
    """A field laid out evenly, in quantiles of the points, along their principal directions.

    Centres are a Hammersley set of K points in the unit cube of `directions` dimensions, carried
    to the quantiles of the principal coordinates; no chance is involved. Splats share one
    covariance: that of the points with K^(-2 / directions) of the variance along the directions
    of the layout, times max(1, D / distance) as in `kmeans`. Other arguments are those of
    `kmeans`.
    """
    points = _checked(points, kind, rank, distance)
    if splats < 1:
        raise ArgumentError("splats", splats, "an integer >= 1", "give splats=1 or more")
    heads, _, width = points.shape
    if not 1 <= directions <= width:
        raise ArgumentError(
            "directions", directions, f"1 to {width}, the width", "use one direction or two"
        )
    centre = points.mean(1, keepdim=True)
    spectrum, axes = torch.linalg.eigh((points - centre).mT @ (points - centre) / points.shape[1])
    spectrum, axes = spectrum.flip(-1), axes.flip(-1)  # largest first; axes are columns
    places = _hammersley(splats, directions).to(points)
    along = _quantiles((points - centre) @ axes[..., :directions], places)
    mean = centre + along @ axes[..., :directions].mT
    floor = torch.where(spectrum.mean(-1) > 0, 1e-4 * spectrum.mean(-1), 1.0)
    variance = torch.maximum(spectrum, floor[:, None])
    variance[:, :directions] *= splats ** (-2 / directions)
    variance = variance * max(1.0, width / distance)
    covariance = (axes * variance[:, None]) @ axes.mT
    covariance = covariance[:, None].expand(heads, splats, width, width)
    bounds = bounds or wide_enough(mean)
    scale, factor = within(bounds, *shape_of_covariance(covariance, kind, rank))
    return assemble(
        kind,
        mean,
        scale,
        factor,
        _equal(amplitude, mean),
        background=background,
        bounds=bounds,
        capacity=capacity,
    )


def _checked(points: Tensor, kind: Kind, rank: int, distance: float) -> Tensor:
    points = accurate("points", points)
    check_rank(kind, rank, points.shape[-1])
    check_positive("distance", distance)
    return points


def _equal(amplitude: float, mean: Tensor) -> Tensor:
    """The logarithm of the same amplitude for every splat."""
    check_positive("amplitude", amplitude)
    return torch.full_like(mean[..., 0], math.log(amplitude))


def _hammersley(count: int, directions: int) -> Float[Tensor, "K M"]:
    """Evenly spread points of the unit cube: (i + 1/2) / K, then radical inverses of i."""
    axes = [[(i + 0.5) / count for i in range(count)]]
    for prime in _primes(directions - 1):
        axes.append([_radical_inverse(i + 1, prime) for i in range(count)])
    return torch.tensor(axes, dtype=torch.float64).mT


def _radical_inverse(number: int, radix: int) -> float:
    """The digits of the number mirrored at the point: 6 = 110 in binary gives 0.011."""
    inverse, weight = 0.0, 1.0
    while number:
        weight /= radix
        number, digit = divmod(number, radix)
        inverse += weight * digit
    return inverse


def _primes(count: int) -> list[int]:
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _quantiles(
    values: Float[Tensor, "H N M"], places: Float[Tensor, "K M"]
) -> Float[Tensor, "H K M"]:
    """The quantile of each column of values at that column's places, linear in between."""
    ordered = values.sort(1).values
    position = places * (ordered.shape[1] - 1)
    below = position.floor().long().clamp(max=ordered.shape[1] - 1)
    above = (below + 1).clamp(max=ordered.shape[1] - 1)
    low, high = (ordered.gather(1, i.expand(len(values), -1, -1)) for i in (below, above))
    return torch.lerp(low, high, (position - below).expand_as(low))


INITIALIZERS: dict[str, Callable[..., SplatField]] = {
    "random": random,
    "kmeans": kmeans,
    "pca": pca,
    "from_teacher": from_teacher,
}


def make_field(name: str, *args: object, **options: object) -> SplatField:
    """The field that the constructor of this name makes of the other arguments."""
    if name not in INITIALIZERS:
        raise ArgumentError(
            "name", repr(name), f"one of {tuple(INITIALIZERS)}", "check the spelling"
        )
    return INITIALIZERS[name](*args, **options)
