"""The splat field that comes nearest to a softmax layer before any training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
from .clusters import Clusters, cluster_covariance, cluster_variance, draw, k_means
from .field import Bounds, SplatField
from .least_squares import nonnegative_least_squares
from .log_features import prepare
from .splats import Kind, Splats

# Variances tried, in units of what the clusters ask for; the first is that of a dense quadrature.
_FACTORS = (0.5, 0.7, 1.0)
# Amplitudes that give less than this share of the largest one's weight count as zero.
_NOTHING = 1e-9
# The largest exponent of an amplitude, of either sign; bounds are float64 numbers.
_RANGE = 600.0


def from_teacher(
    query: Float[Tensor, "H N D"],
    key: Float[Tensor, "H M D"],
    *,
    splats: int,
    scale: float | None = None,
    kind: Kind = "scalar",
    rank: int = 2,
    background: bool = True,
    samples: int = 1024,
    bounds: Bounds | None = None,
    capacity: int | None = None,
    iterations: int = 25,
    generator: torch.Generator | None = None,
) -> SplatField:
    """The field whose kernel is nearest to exp(c q.k) on a softmax layer's queries and keys.

    exp(c q.k) = exp(c |q|^2 / 2) exp(c |k|^2 / 2) exp(-c |q - k|^2 / 2). The first two factors
    belong to one point each: `norm_factor` = c folds them into the features. The last one is

        sum_s a_s exp(-1/2 |q - mu_s|^2 / s^2) exp(-1/2 |k - mu_s|^2 / s^2)

    for splats that lie densely with s^2 = 1 / (2 c), as an integral over all centres shows. Few
    splats do better when wider: among points of variance v around a centre, the best single
    Gaussian (the first eigenfunction of the kernel, Rasmussen and Williams 4.3.1) has
    s^2 = (1 + sqrt(1 + 4 c v)) / (2 c), taken along every axis or principal direction that `kind`
    tells apart. Tried are 0.5, 0.7 and 1 times this variance, around two sets of k-means
    centres: of queries and keys together, and of the midpoints of queries with the keys that they
    attend to (which a quadrature at s^2 = 1 / (2 c) asks for). Each head keeps the best.

    Amplitudes are the non-negative least squares fit to the teacher's attention weights,

        min_a sum_ij (sum_s a_s exp(l_s(q_i) + l_s(k_j)) / Z_i - softmax_j(c q_i.k_j))^2,

    Z_i the teacher's normaliser: every query counts alike and every pair by what an error in it
    would do to the output. There is no causal mask. Splats of amplitude zero leave empty slots.
    Where queries lie so far from keys that amplitudes leave e^+-600, those of the head are scaled
    by a common factor, which attention does not notice.

    This is an initialisation; it needs training against the teacher to be of use. Adding the same
    vector to all keys changes nothing for softmax; one that brings keys nearer to the queries
    makes this fit easier.

    Args:
        query, key: what the teacher compares, after rotary or other position encoding.
        scale: c; by default 1 / sqrt(D).
        background: whether to fit an infinitely wide splat as well.
        samples: queries, and keys, to fit to at most; drawn at random.
        bounds: by default such that centres and amplitudes lie well within.
        capacity: slots a head; those beyond `splats` are empty.
    """
    query, key = accurate("query", query), accurate("key", key)
    heads, _, width = query.shape
    if key.shape[::2] != query.shape[::2]:
        raise ArgumentError(
            "key",
            f"shape {list(key.shape)}",
            f"[{heads}, M, {width}], the heads and width of query",
            "repeat keys that several query heads share",
        )
    check_rank(kind, rank, width)
    c = width**-0.5 if scale is None else scale
    check_positive("scale", c)
    if samples < 1:
        raise ArgumentError("samples", samples, "an integer >= 1", "leave it out")
    dtype = query.dtype
    query, key = (_sample(x, samples, generator).double() for x in (query, key))
    target = torch.softmax(c * query @ key.mT, -1)
    log_normaliser = torch.logsumexp(c * query @ key.mT, -1)
    best: _Fit | None = None
    for points in (torch.cat([query, key], 1), _midpoints(query, key, target, generator)):
        clusters = k_means(points, splats, iterations=iterations, generator=generator)
        for factor in _FACTORS:
            shape = _shape(points, clusters, kind, rank, c, factor)
            scales, factors = within(bounds or Bounds(), *shape)
            candidate = _unweighted(kind, clusters.centres, scales, factors)
            fit = _fit(candidate, background, query, key, c, target, log_normaliser)
            best = fit if best is None else best.better(fit)
    assert best is not None
    return best.field(dtype, c, background, bounds, capacity)


@dataclass(frozen=True)
class _Fit:
    """Splats with their amplitudes, that of the background, and the squared error a head."""

    splats: Splats
    log_background: Tensor  # [H], -inf for none
    error: Tensor  # [H]

    def better(self, other: _Fit) -> _Fit:
        """Of each head the one with the smaller error."""
        wins = other.error < self.error

        def pick(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(wins.view(-1, *[1] * (new.dim() - 1)), new, old)

        mine, theirs = self.splats.arrays(), other.splats.arrays()
        arrays = {name: pick(theirs[name], mine[name]) for name in mine}
        return _Fit(
            self.splats.with_arrays(arrays),
            pick(other.log_background, self.log_background),
            pick(other.error, self.error),
        )

    def field(
        self,
        dtype: torch.dtype,
        c: float,
        background: bool,
        bounds: Bounds | None,
        capacity: int | None,
    ) -> SplatField:
        amplitude, last = self._in_range()
        if bounds is None:
            logs = torch.cat([amplitude, last[:, None]], 1)
            least, most = logs[torch.isfinite(logs)].clamp(min=-_RANGE).exp().aminmax()
            low, high = Bounds().amplitude
            bounds = replace(
                wide_enough(self.splats.mean),
                amplitude=(min(low, float(least) / 100), max(high, 100 * float(most))),
            )
        low, high = (math.log(x) for x in bounds.amplitude)
        alive = amplitude > low
        margin = 1e-3 * (high - low)
        inside = (low + margin, high - margin)
        return assemble(
            self.splats.kind,
            self.splats.mean.to(dtype),
            self.splats.scale.to(dtype),
            None if self.splats.factor is None else self.splats.factor.to(dtype),
            amplitude.masked_fill(~alive, 0.0).clamp(*inside).to(dtype),
            alive=alive,
            background=last.clamp(*inside).exp() if background else None,
            norm_factor=c,
            bounds=bounds,
            capacity=capacity,
        )

    def _in_range(self) -> tuple[Tensor, Tensor]:
        """The logarithms of all amplitudes; heads beyond e^+-600 are scaled to a largest of 1."""
        peak = torch.maximum(self.splats.log_amplitude.amax(1), self.log_background)
        shift = torch.where(peak.abs() > _RANGE, peak, 0.0)
        return self.splats.log_amplitude - shift[:, None], self.log_background - shift


def _fit(
    splats: Splats,
    background: bool,
    query: Tensor,
    key: Tensor,
    c: float,
    target: Tensor,
    log_normaliser: Tensor,
) -> _Fit:
    """Amplitudes by least squares. The Gram matrix over all pairs is a product of two small ones:

    sum_ij P_is Q_js P_ir Q_jr = (P^T P)_sr (Q^T Q)_sr
    """
    kappa = query.new_full((splats.heads,), c)
    flat = query.new_zeros(splats.heads) if background else None
    features = prepare(splats, flat, kappa)
    reading = features(query[None])[0] - log_normaliser[..., None]
    writing = features(key[None])[0]
    # Columns of length one keep the system well scaled and exponents small.
    length = [0.5 * torch.logsumexp(2 * logs, 1, keepdim=True) for logs in (reading, writing)]
    reading, writing = (reading - length[0]).exp(), (writing - length[1]).exp()
    gram = (reading.mT @ reading) * (writing.mT @ writing)
    cross = (reading * (target @ writing)).sum(1)
    weight = nonnegative_least_squares(gram, cross)
    error = ((gram @ weight[..., None])[..., 0] - 2 * cross).mul(weight).sum(-1)
    weight = torch.where(weight > _NOTHING * weight.amax(-1, keepdim=True), weight, 0.0)
    logs = weight.log() - (length[0] + length[1])[:, 0]
    count = splats.count
    return _Fit(
        replace(splats, log_amplitude=logs[:, :count]),
        logs[:, count] if background else torch.full_like(logs[:, 0], -torch.inf),
        error,
    )


def _shape(
    points: Tensor, clusters: Clusters, kind: Kind, rank: int, c: float, factor: float
) -> tuple[Tensor, Tensor | None]:
    if kind in ("scalar", "diagonal"):
        variance = cluster_variance(points, clusters)
        if kind == "scalar":
            variance = variance.mean(-1, keepdim=True).expand_as(variance)
        return shape_of_variance(factor * _best_variance(variance, c), kind), None
    spectrum, axes = torch.linalg.eigh(cluster_covariance(points, clusters))
    spectrum = factor * _best_variance(spectrum, c)
    return shape_of_covariance((axes * spectrum[..., None, :]) @ axes.mT, kind, rank)


def _best_variance(variance: Tensor, c: float) -> Tensor:
    """s^2 of the Gaussian whose square is nearest to the kernel among points of this variance."""
    return (1 + (1 + 4 * c * variance.clamp(min=0.0)).sqrt()) / (2 * c)


def _midpoints(
    query: Tensor, key: Tensor, target: Tensor, generator: torch.Generator | None
) -> Tensor:
    """[H, 2 N, D]: half way between each query and two keys drawn by their attention weights."""
    pairs = target.repeat(1, 2, 1)
    drawn = key.gather(1, draw(pairs, generator)[..., None].expand(-1, -1, key.shape[-1]))
    return 0.5 * (query.repeat(1, 2, 1) + drawn)


def _unweighted(kind: Kind, mean: Tensor, scale: Tensor, factor: Tensor | None) -> Splats:
    one = torch.zeros_like(mean[..., 0])
    alive = torch.ones_like(one, dtype=torch.bool)
    return Splats(kind=kind, mean=mean, scale=scale, factor=factor, log_amplitude=one, alive=alive)


def _sample(x: Tensor, number: int, generator: torch.Generator | None) -> Tensor:
    """Different points drawn at random, the same places in every head; all where they are few."""
    if x.shape[1] <= number:
        return x
    device = x.device if generator is None else generator.device
    order = torch.randperm(x.shape[1], generator=generator, device=device)[:number]
    return x[:, order.to(x.device)]
