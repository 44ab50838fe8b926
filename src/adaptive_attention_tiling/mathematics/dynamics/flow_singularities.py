"""When and where a recorded flow becomes singular, and flows on other scales of size and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError

_TAIL = 4.0  # the fit begins where curvature was at this share of the last
_FEWEST = 4
_MISFIT = 0.05
_LARGEST_RATE = 1.0


class FlowRecord(Protocol):
    """What a flow keeps of its states, whatever they are."""

    @property
    def dimension(self) -> int:
        """n of the space that flows."""

    @property
    def times(self) -> Float[Tensor, " t"]:
        """Of the states, rising."""

    @property
    def curvatures(self) -> Float[Tensor, " t"]:
        """The largest |K| of each state, an inverse square of a length."""

    @property
    def volumes(self) -> Float[Tensor, " t"]:
        """n-dimensional volume."""

    @property
    def places(self) -> Tensor:
        """Where |K| is largest, [t, *p] in the coordinates of the record."""


class _Rescalable(FlowRecord, Protocol):
    def rescaled(
        self: Record, factors: Float[Tensor, " t"], times: Float[Tensor, " t"]
    ) -> Record: ...


Record = TypeVar("Record", bound=_Rescalable)


@dataclass(frozen=True)
class Singularity:
    """The end of a flow, as its record foretells it.

    Args:
        time: T, at which curvature is infinite.
        rate: C of |K| = C / (T - t): 1 / (2 (n - 1)) of a round S^n under Ricci flow, 1 / (2 n)
            under mean curvature flow, and n - 1 for n in a neck.
        kind: "point" if all of the space shrinks with its curvature, "neck" if nearly all of its
            volume stays, "collapse" if it shrinks in some directions only.
        place: where |K| was largest at last, in the coordinates of the record.
    """

    time: float
    rate: float
    kind: str
    place: Tensor


def flow_singularities(flow: FlowRecord, threshold: float) -> list[Singularity]:
    """The singularity that a record runs into, or none.

    From |K| = C / (T - t), the law of a singularity of type I, 1 / |K| is a line in t. It is fitted
    to the states of the last fourfold growth and crosses 0 at T. Nothing is told if |K| ends below
    `threshold` or is not finite, grew less than twofold or within fewer than four states, leaves
    the line by more than 5 % of its mean, or has |K| (T - t) > 1, as where it grows exponentially
    or stands still. Of random walks up to 1 in 200 passes.

    Args:
        flow: a record with `times`, `curvatures`, `volumes`, `places` and `dimension`.
        threshold: of |K|, > 0. A record of a unit sphere up to |K| = 20 gives T to 2e-4; one of a
            neck, whose law has logarithms, to 1 % at 300 and to 0.1 % at 6000.

    Raises:
        ArgumentError: a threshold <= 0; a record without states, with times that fall or a
            volume that is no finite number > 0.

    Source: Hamilton, The formation of singularities in the Ricci flow (1995), section 16.
    """
    if not 0 < threshold < math.inf:
        raise ArgumentError("threshold", threshold, "a number > 0", "pass threshold=100.0")
    sizes, t = flow.curvatures.detach().double(), flow.times.detach().double()
    volumes = flow.volumes.detach().double()
    _check_record(t, sizes, volumes)
    last = float(sizes[-1])
    if not last >= threshold:
        return []
    before = (last / _TAIL > sizes).nonzero()
    start = int(before[-1]) + 1 if len(before) else 0
    # Times of single precision may be equal near the end.
    few = len(sizes) - start < _FEWEST or t[-1] == t[start]
    if few or last < 2 * float(sizes[start]):
        return []
    line, misfit = _line(t[start:], 1 / sizes[start:])
    end = -line[0] / line[1] if line[1] < 0 else math.inf
    if misfit > _MISFIT or not 0 < last * (end - float(t[-1])) <= _LARGEST_RATE:
        return []
    lost = -2 * float((volumes[-1] / volumes[start]).log() / (sizes[-1] / sizes[start]).log())
    kind = "neck" if lost < 0.5 else "point" if lost > flow.dimension - 0.5 else "collapse"
    return [Singularity(end, last * (end - float(t[-1])), kind, flow.places[-1])]


def normalized_flow(flow: Record, normalization: str = "ricci") -> Record:
    """The same Ricci flow seen at another scale: metrics psi(t) g(t) at times int psi dt.

    Args:
        normalization: "ricci" keeps the volume, psi = (V(0) / V(t))^(2/n), and solves Hamilton's
            normalised equation dg/dt = -2 Ric + (2/n) r g, r the mean scalar curvature; "curvature"
            keeps the largest |K| at 1, which is how singularities are looked at; "none" changes
            nothing.

    Raises:
        ArgumentError: no such normalisation; a state without volume or curvature.

    Source: Hamilton, J. Diff. Geom. 17 (1982), section 3.
    """
    if normalization == "none":
        return flow
    if normalization == "ricci":
        psi = (flow.volumes[0] / flow.volumes) ** (2 / flow.dimension)
    elif normalization == "curvature":
        psi = flow.curvatures
    else:
        raise ArgumentError(
            "normalization", repr(normalization), "'ricci', 'curvature' or 'none'", "use 'ricci'"
        )
    if not bool((psi > 0).all()) or not bool(psi.isfinite().all()):
        raise ArgumentError(
            "flow", "a state without volume or curvature", "positive ones", "end it earlier"
        )
    # 1 / psi as a line between states: exact for spaces that only change in size.
    low, change = 1 / psi[:-1], (1 / psi).diff()
    small = change.abs() < 1e-6 * low
    safe = torch.where(small, low, change)
    means = torch.where(small, 1 / (low + change / 2), (safe / low).log1p() / safe)
    clock = torch.cat([psi.new_zeros(1), (flow.times.diff() * means).cumsum(0)])
    return flow.rescaled(psi, flow.times[0] + clock)


def _check_record(t: Tensor, sizes: Tensor, volumes: Tensor) -> None:
    if len(t) == 0 or not len(t) == len(sizes) == len(volumes):
        raise ArgumentError(
            "flow", f"{len(t)} times, {len(sizes)} curvatures, {len(volumes)} volumes",
            "one of each a state", "pass a record of a flow",
        )  # fmt: skip
    if not bool((t.diff() >= 0).all()):
        raise ArgumentError("flow", "times that fall", "t_0 <= t_1 <= ...", "sort its states")
    if not bool(((volumes > 0) & volumes.isfinite()).all()):
        raise ArgumentError(
            "flow", "a state without volume", "finite numbers > 0", "end it earlier"
        )


def _line(t: Tensor, y: Tensor) -> tuple[tuple[float, float], float]:
    """(a, b) of y = a + b t by least squares, and the misfit over the mean of y."""
    moved = t - t[-1]
    basis = torch.stack([torch.ones_like(moved), moved / moved.abs().max()], 1)
    found = torch.linalg.lstsq(basis, y[:, None]).solution[:, 0]
    misfit = float((basis @ found - y).square().mean().sqrt() / y.mean())
    slope = float(found[1] / moved.abs().max())
    return (float(found[0]) - slope * float(t[-1]), slope), misfit
