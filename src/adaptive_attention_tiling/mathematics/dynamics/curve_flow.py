"""Curve shortening of closed polygons in the plane, with corners that stay evenly spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError, CorrectnessError

_FEWEST_POINTS = 5
_BEND_SHARE = 0.1  # of 1 / kappa^2, in which the sharpest bend is gone
_MAX_STEPS = 100_000


@dataclass(frozen=True)
class CurveFlow:
    """A flow of closed curves.

    Args:
        times: of the states, [t].
        points: corners in order, [t, k, 2].
        singular: whether curvature reached the bound, before the time was over.
    """

    times: Float[Tensor, " t"]
    points: Float[Tensor, "t k 2"]
    singular: bool
    dimension = 1

    @property
    def lengths(self) -> Float[Tensor, " t"]:
        """L of each curve."""
        return curve_length(self.points)

    @property
    def areas(self) -> Float[Tensor, " t"]:
        """|A| inside each curve."""
        return curve_area(self.points)

    @property
    def isoperimetric_ratios(self) -> Float[Tensor, " t"]:
        """L^2 / (4 pi A), 1 for a circle and more for all else."""
        return self.lengths.square() / (4 * math.pi * self.areas)

    @property
    def volumes(self) -> Float[Tensor, " t"]:
        """The lengths, a curve's volumes of dimension 1."""
        return self.lengths

    @property
    def curvatures(self) -> Float[Tensor, " t"]:
        """The largest kappa^2 of each curve."""
        return curve_curvature(self.points).square().amax(-1)

    @property
    def places(self) -> Float[Tensor, "t 2"]:
        """The corner of largest |kappa|."""
        worst = curve_curvature(self.points).abs().argmax(-1)
        return self.points[torch.arange(len(worst)), worst]


def curve_length(points: Float[Tensor, "*b k 2"]) -> Float[Tensor, "*b"]:
    """The sum of the edges."""
    found: Tensor = (points.roll(-1, -2) - points).norm(dim=-1).sum(-1)
    return found


def curve_area(points: Float[Tensor, "*b k 2"]) -> Float[Tensor, "*b"]:
    """|A| = |sum x_j y_(j+1) - x_(j+1) y_j| / 2."""
    ahead = points.roll(-1, -2)
    cross: Tensor = points[..., 0] * ahead[..., 1] - ahead[..., 0] * points[..., 1]
    return cross.sum(-1).abs() / 2


def curve_curvature(points: Float[Tensor, "*b k 2"]) -> Float[Tensor, "*b k"]:
    """kappa at each corner, positive where a curve run counterclockwise turns left; errors h^2."""
    edges, spans = _edges(points)
    units = edges / spans[..., None]
    turn = units - units.roll(1, -2)
    masses = (spans + spans.roll(1, -1)) / 2
    found: Tensor = (turn * _normals(points)).sum(-1) / masses
    return found


def curve_shortening_step(points: Float[Tensor, "*b k 2"], step: float) -> Float[Tensor, "*b k 2"]:
    """The closed polygon a time later under X_t = kappa nu.

        nu . (X' - X) / step = kappa,    kappa nu = X'_ss,

    both in linear finite elements with lumped masses on the old polygon, nu across the chord from
    neighbour to neighbour. Motion along the curve is free, and goes slowly where edges become even.
    The length never grows, whatever the step; errors are step + h^2.

    Args:
        points: corners of a closed curve, in either order.
        step: > 0.

    Raises:
        ArgumentError: a step <= 0; fewer than 5 corners, two of them equal in a row, all in a line.

    Source: Barrett, Garcke and Nürnberg, A parametric finite element method for fourth order
    geometric evolution equations, J. Comput. Phys. 222 (2007), section 2; our nu has length 1 at
    corners as well, so that regular polygons have the curvature of their circles.
    """
    if not 0 < step < math.inf:
        raise ArgumentError("step", step, "a number > 0", "curves do not flow back")
    _check(points)
    _, spans = _edges(points)  # of corner j to j + 1
    normals = _normals(points)
    masses = (spans + spans.roll(1, -1)) / 2
    moving = normals[..., :, None] * normals[..., None, :] * (masses / step)[..., None, None]
    ahead = torch.diag_embed(1 / spans).roll(1, -1)
    stiffness = torch.diag_embed(1 / spans + 1 / spans.roll(1, -1)) - ahead - ahead.mT
    one = torch.eye(2, dtype=points.dtype, device=points.device)
    matrix = torch.einsum("...ij,ab->...iajb", stiffness, one)
    spread = torch.diag_embed(moving.movedim(-3, -1))  # [*b, 2, 2, k, k]
    matrix = (matrix + torch.einsum("...abij->...iajb", spread)).flatten(-2).flatten(-3, -2)
    right = (moving @ points[..., None])[..., 0].flatten(-2)
    found: Tensor = torch.linalg.solve(matrix, right)
    return found.reshape(points.shape)


def curve_shortening_flow(
    points: Float[Tensor, "k 2"],
    *,
    time: float = math.inf,
    largest_curvature: float = 1e4,
    share: float = 0.01,
    every: int = 1,
) -> CurveFlow:
    """The flow of an embedded closed curve for a time, or until it is nearly a point.

    Each step takes a share of the life that is left, A / (2 pi), and less while bends are sharp.
    Embedded curves turn convex, then round (Gage and Hamilton 1986; Grayson 1987).

    Args:
        points: corners in order.
        time: at most, less than A / (2 pi) unless infinite.
        largest_curvature: of kappa^2, where the flow ends.
        share: in (0, 0.5].
        every: how many steps lie between states that are kept; the last one always is.

    Raises:
        ArgumentError: no closed curve, or one that crosses itself; a time beyond its life; options
            that make no sense.
    """
    _check(points)
    life = float(curve_area(points.detach())) / (2 * math.pi)
    _check_options(points, time, largest_curvature, share, every, life)
    now, kept, state = 0.0, [], points
    for number in range(_MAX_STEPS):
        bound = float(curve_curvature(state.detach()).square().max())
        singular = not bound < largest_curvature
        if number % every == 0 or singular or now >= time:
            kept.append((now, state))
        if singular or now >= time:
            break
        size = min(share * float(curve_area(state.detach())) / (2 * math.pi), time - now)
        size = min(size, _BEND_SHARE / bound)
        state = curve_shortening_step(state, size)
        now = time if size == time - now else now + size
    else:
        raise CorrectnessError(f"{_MAX_STEPS} steps end at time {now:.6g}")
    times, curves = zip(*kept, strict=True)
    return CurveFlow(points.new_tensor(times), torch.stack(curves), singular)


def _edges(points: Tensor) -> tuple[Tensor, Tensor]:
    edges = points.roll(-1, -2) - points
    return edges, edges.norm(dim=-1)


def _normals(points: Tensor) -> Tensor:
    """Unit vectors, the chord between the neighbours turned left; 0 where there is no chord."""
    chord = points.roll(-1, -2) - points.roll(1, -2)
    size = chord.norm(dim=-1)
    found = torch.stack([-chord[..., 1], chord[..., 0]], -1)
    return found / torch.where(size == 0, 1, size)[..., None]


def _crosses_itself(points: Tensor) -> bool:
    """Whether two edges cross, each with its ends on both sides of the other."""
    edges, _ = _edges(points)
    away = points - points[:, None]  # of corner j from corner i, [i, j, 2]
    side = edges[:, None, 0] * away[..., 1] - edges[:, None, 1] * away[..., 0]
    parted = side * side.roll(-1, 1) < 0
    return bool((parted & parted.mT).any())


def _check(points: Tensor) -> None:
    shape = points.dim() >= 2 and points.shape[-1] == 2 and points.shape[-2] >= _FEWEST_POINTS
    if not shape or not points.is_floating_point():
        raise ArgumentError(
            "points", f"{points.dtype} {list(points.shape)}",
            f"floating [*b, k, 2], k >= {_FEWEST_POINTS}", "pass more corners",
        )  # fmt: skip
    detached = points.detach()
    if not bool(detached.isfinite().all()):
        raise ArgumentError("points", "NaN or infinity", "finite numbers", "leave such corners out")
    _, spans = _edges(detached)
    rounding = torch.finfo(points.dtype).eps
    if not bool((spans > 10 * rounding * detached.abs().amax((-1, -2))[..., None]).all()):
        raise ArgumentError("points", "a corner twice in a row", "edges > 0", "leave one out")
    if not bool((curve_area(detached) > 10 * rounding * spans.sum(-1).square()).all()):
        raise ArgumentError("points", "no area inside", "a simple closed curve", "pass a loop")


def _check_options(
    points: Tensor, time: float, bound: float, share: float, every: int, life: float
) -> None:
    if points.dim() != 2:
        raise ArgumentError("points", list(points.shape), "one curve", "flow each on its own")
    if _crosses_itself(points.detach()):
        raise ArgumentError("points", "edges that cross", "a simple closed curve", "part its loops")
    if not time > 0 or life <= time < math.inf:
        raise ArgumentError(
            "time", time, f"0 < t < A / (2 pi) = {life:.6g}, when the curve is gone", "stop earlier"
        )
    if not 0 < bound < math.inf:
        raise ArgumentError("largest_curvature", bound, "a number > 0", "pass 1e4")
    if not 0 < share <= 0.5:
        raise ArgumentError("share", share, "in (0, 0.5]", "pass share=0.01")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ArgumentError("every", every, "an integer >= 1", "pass every=1")
