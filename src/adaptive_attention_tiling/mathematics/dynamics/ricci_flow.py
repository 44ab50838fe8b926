"""Ricci flow of rotationally symmetric spheres, to a point or to the pinch of a neck.

The metric is ds^2 + psi(s)^2 g on S^n, g round of radius 1 on S^(n - 1), s from pole to pole. With
sectional curvatures K_0 = -psi_ss / psi along s and K_1 = (1 - psi_s^2) / psi^2 across,

    dpsi/dt = psi_ss - (n - 2) (1 - psi_s^2) / psi,    d(ds)/dt = -(n - 1) K_0 ds.

Source: Angenent and Knopf, An example of neckpinching for Ricci flow on S^(n+1), Math. Res. Lett.
11 (2004), equations 8 to 11; their n is our n - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

_DIFFUSION_SHARE = 0.4  # of h^2; rk4 with fourth-order differences is stable to 0.52
_REACTION_SHARE = 0.05  # of 1 / max |K|
_MAX_STEPS = 200_000


@dataclass(frozen=True)
class RotationalFlow:
    """A flow and where it ended.

    Args:
        times: t of each state kept, [t].
        radii: psi at equal distances from pole to pole, both of which are 0, [t, k].
        lengths: from pole to pole, [t].
        curvatures: the largest |K_0| or |K_1|, [t].
        singular: whether curvature reached the bound, before the time was over.
        dimension: n of S^n.
    """

    times: Float[Tensor, " t"]
    radii: Float[Tensor, "t k"]
    lengths: Float[Tensor, " t"]
    curvatures: Float[Tensor, " t"]
    singular: bool
    dimension: int

    @property
    def volumes(self) -> Float[Tensor, " t"]:
        """|S^(n-1)| int psi^(n-1) ds, [t], with errors h^4 for n = 2 and 3."""
        width = self.lengths / (self.radii.shape[-1] - 1)
        total = (self.radii ** (self.dimension - 1)).sum(-1) * width
        if self.dimension == 2:
            # Euler and Maclaurin: psi leaves the poles with slopes 1 and -1.
            return 2 * math.pi * (total + width.square() / 6)
        return 4 * math.pi * total

    @property
    def places(self) -> Float[Tensor, "t 1"]:
        """Distances from the first pole to where |K| is largest, [t, 1]."""
        along, across = rotational_curvatures(self.radii, self.lengths)
        place = torch.maximum(along.abs(), across.abs()).argmax(-1)
        return (place * self.lengths / (self.radii.shape[-1] - 1))[:, None]

    def rescaled(self, factors: Float[Tensor, " t"], times: Float[Tensor, " t"]) -> RotationalFlow:
        """Each metric times a number, at other times."""
        root = factors.sqrt()
        return RotationalFlow(
            times, root[:, None] * self.radii, root * self.lengths, self.curvatures / factors,
            self.singular, self.dimension,
        )  # fmt: skip


def rotational_curvatures(
    radii: Float[Tensor, "*b k"], length: Float[Tensor, "*b"]
) -> tuple[Float[Tensor, "*b k"], Float[Tensor, "*b k"]]:
    """K_0 and K_1 at each point, with errors h^2 near the poles and h^4 elsewhere."""
    slope, bend = _derivatives(radii, length)
    inside = radii[..., 1:-1]
    along = _with_poles(-bend / inside)
    across = _with_poles((1 - slope.square()) / inside.square())
    return along, across


def rotational_ricci_flow(
    radii: Float[Tensor, " k"],
    length: float,
    *,
    dimension: int = 3,
    time: float = math.inf,
    largest_curvature: float = 1e3,
    every: int = 10,
) -> RotationalFlow:
    """The flow of a metric on S^n for a time, or until it is singular.

    Points stay at equal distances h: those of fixed x would crowd or thin out. Steps of rk4 follow
    h^2 and 1 / |K|; a neck much shorter than h is not seen.

    Args:
        radii: psi at k >= 9 equal distances, with 0 at both ends and psi_s = 1, -1 there.
        length: from pole to pole.
        dimension: n, 2 or 3; from 4 on these differences lose the roundness of a sphere.
        time: at most.
        largest_curvature: what counts as singular; a neck of radius r has K_1 = 1 / r^2.
        every: how many steps lie between states that are kept.

    Raises:
        ArgumentError: no such profile; a time or bound that makes no sense.
    """
    _check(radii, length, dimension, time, largest_curvature)
    psi, span, now = radii.detach().clone(), radii.new_tensor(length), 0.0
    kept: list[tuple[float, Tensor, Tensor, float]] = []
    for number in range(_MAX_STEPS):
        bound = max(float(K.abs().max()) for K in rotational_curvatures(psi, span))
        singular = not bound < largest_curvature
        if number % every == 0 or singular or now >= time:
            kept.append((now, psi, span, bound))
        if singular or now >= time:
            break
        width = float(span) / (len(psi) - 1)
        size = min(_DIFFUSION_SHARE * width**2, _REACTION_SHARE / bound, time - now)
        psi, span = _rk4(psi, span, size, dimension)
        psi = _with_caps(psi, span)
        now = time if size == time - now else now + size
    else:
        raise CorrectnessError(f"{_MAX_STEPS} steps end at time {now:.6g}")
    times, profiles, spans, bounds = zip(*kept, strict=True)
    return RotationalFlow(
        radii.new_tensor(times), torch.stack(profiles), torch.stack(spans),
        radii.new_tensor(bounds), singular, dimension,
    )  # fmt: skip


def _rk4(psi: Tensor, span: Tensor, size: float, dimension: int) -> tuple[Tensor, Tensor]:
    a = _rate(psi, span, dimension)
    b = _rate(psi + size / 2 * a[0], span + size / 2 * a[1], dimension)
    c = _rate(psi + size / 2 * b[0], span + size / 2 * b[1], dimension)
    d = _rate(psi + size * c[0], span + size * c[1], dimension)
    return (
        psi + size / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0]),
        span + size / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1]),
    )


def _with_caps(psi: Tensor, span: Tensor) -> Tensor:
    """The points next to the poles from psi = s + c s^3 + d s^5 through the two beyond.

    Nothing in the equation brings a slope at the pole back to 1 once rounding took it away.
    """
    h = span / (len(psi) - 1)
    found = psi.clone()
    for one, two, three in ((1, 2, 3), (-2, -3, -4)):
        second, third = (psi[two] - 2 * h) / 8, (psi[three] - 3 * h) / 27
        fifth = (third - second) / 5
        found[one] = h + second - 3 * fifth
    return found


def _rate(psi: Tensor, span: Tensor, dimension: int) -> tuple[Tensor, Tensor]:
    """dpsi/dt at a fixed share of the length, and dL/dt."""
    slope, bend = _derivatives(psi, span)
    inside = psi[1:-1]
    along = _with_poles(-bend / inside)
    flowing = bend - (dimension - 2) * (1 - slope.square()) / inside
    width = span / (len(psi) - 1)
    # d/dt of the distance of each point from the first pole, by the trapezoidal rule.
    halves = -(dimension - 1) * width * (along[1:] + along[:-1]) / 2
    moved = halves.cumsum(0)
    share = torch.arange(1, len(psi) - 1, dtype=psi.dtype, device=psi.device) / (len(psi) - 1)
    drift = moved[:-1] - share * moved[-1]
    return torch.nn.functional.pad(flowing - slope * drift, (1, 1)), moved[-1]


def _derivatives(radii: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """psi_s and psi_ss inside; psi is odd about each pole."""
    k = radii.shape[-1]
    width = (length / (k - 1))[..., None]
    wide = torch.cat([-radii[..., 1:2], radii, -radii[..., -2:-1]], -1)
    far_left, left, here = wide[..., : k - 2], wide[..., 1 : k - 1], wide[..., 2:k]
    right, far_right = wide[..., 3 : k + 1], wide[..., 4 : k + 2]
    slope = (far_left - far_right + 8 * (right - left)) / (12 * width)
    bend = (16 * (left + right) - far_left - far_right - 30 * here) / (12 * width.square())
    return slope, bend


def _with_poles(values: Tensor) -> Tensor:
    """An even function's values at the poles, from a + b s^2 through the two next to each."""
    first = (4 * values[..., :1] - values[..., 1:2]) / 3
    last = (4 * values[..., -1:] - values[..., -2:-1]) / 3
    return torch.cat([first, values, last], -1)


def _check(radii: Tensor, length: float, dimension: int, time: float, bound: float) -> None:
    if radii.dim() != 1 or len(radii) < 9 or not bool((radii[1:-1] > 0).all()):
        raise ArgumentError("radii", list(radii.shape), "[k], k >= 9, > 0 inside", "pass a profile")
    if not 0 < length < math.inf:
        raise ArgumentError("length", length, "a number > 0", "pass pi for the unit sphere")
    width = length / (len(radii) - 1)
    ends = torch.stack([radii[1], radii[-2]]) / width
    if bool((radii[[0, -1]] != 0).any()) or bool(((ends - 1).abs() > 0.2).any()):
        raise ArgumentError(
            "radii", f"slopes {[round(x, 3) for x in ends.tolist()]} at the poles",
            "0 there with slopes of 1", "round the caps, or take more points",
        )  # fmt: skip
    if isinstance(dimension, bool) or dimension not in (2, 3):
        raise ArgumentError("dimension", dimension, "2 or 3", "pass n of S^n")
    if not time > 0:
        raise ArgumentError("time", time, "a number > 0", "pass time=0.1")
    if not 0 < bound < math.inf:
        raise ArgumentError("largest_curvature", bound, "a number > 0", "pass 1e3")
