"""How far tokens lie from the splat that explains them best."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...splats import SplatField
from ...splats.coverage import squared_distances, typical_radius
from ..picture import Picture, label, picture
from ..shades import per_cent
from .points import one_head, points_of_head

_LEFT, _TOP, _WIDTH, _HEIGHT = 52.0, 60.0, 460.0, 220.0
_BARS = 32


def coverage_picture(
    field: SplatField, points: Tensor, *, head: int = 0, radius: float | None = None
) -> Picture:
    """A histogram of the Mahalanobis distances of tokens to their nearest splat.

    The title says what share lies within `radius`; bars beyond it have another colour. Tokens
    farther than the axis reaches are counted in the last bar.

    Args:
        points: [H, N, D] or [B, H, T, D].
        head: the one that is shown.
        radius: in deviations; None for the one that holds 95 % of a Gaussian of this width.
    """
    tokens = points_of_head(field, "points", points, head)
    if radius is None:
        radius = typical_radius(field.width)
    if not 0 < radius < float("inf"):
        raise ArgumentError("radius", radius, "a finite number > 0", "leave it out")
    splats = one_head(field.splats(), head)
    nearest = squared_distances(splats, tokens[None])[0].amin(-1).sqrt()
    share = float((nearest <= radius).double().mean())
    counts, end = histogram(nearest, radius)
    tallest = max(int(counts.max()), 1)
    step, foot = _WIDTH / _BARS, _TOP + _HEIGHT
    bars = "".join(
        f'<rect class="{"near" if (n + 1) * end / _BARS <= radius * (1 + 1e-9) else "far"}" '
        f'x="{_LEFT + n * step + 0.5:.2f}" y="{foot - _HEIGHT * count / tallest:.2f}" '
        f'width="{step - 1:.2f}" height="{_HEIGHT * count / tallest:.2f}"><title>'
        f"{n * end / _BARS:.2f} to {(n + 1) * end / _BARS:.2f}: {count}</title></rect>"
        for n, count in enumerate(counts.tolist())
    )
    mark = _LEFT + _WIDTH * radius / end
    ticks = "".join(
        label(_LEFT + _WIDTH * part / 4, foot + 16, f"{end * part / 4:.3g}", anchor="middle")
        for part in range(4)
    )
    body = (
        bars
        + f'<path class="frame" d="M{_LEFT:g} {foot:g}H{_LEFT + _WIDTH:g}"/>'
        + f'<path class="mark" d="M{mark:.1f} {_TOP - 4:g}V{foot:g}"/>'
        + ticks
        + label(_LEFT + _WIDTH, foot + 16, f"{end:.3g} or more", anchor="end")
        + label(_LEFT - 6, _TOP + 10, f"{tallest:,}", anchor="end")
        + label(_LEFT - 6, foot, "0", anchor="end")
        + label(_LEFT + _WIDTH / 2, foot + 36, "deviations from the nearest splat", anchor="middle")
    )
    return picture(
        body,
        title=f"Coverage, head {head}: {per_cent(share)} of {len(tokens):,} tokens",
        note=f"lie within {radius:.3g} deviations (dashed) of one of {int(splats.alive.sum())} "
        "splats",
        width=_LEFT + _WIDTH + 24,
        height=foot + 50,
    )


def histogram(distance: Tensor, radius: float) -> tuple[Tensor, float]:
    """Counts in 32 equal bars from 0 to the end of the axis, with `radius` between two of them.

    The axis ends at 4/3 to 8 radii, where 99 % of the distances are passed.
    """
    far = float(torch.where(distance.isfinite(), distance, 8 * radius).quantile(0.99)) / radius
    inside = next((bars for bars in (24, 16, 8) if far <= _BARS / bars), 4)
    end = radius * _BARS / inside
    # Rounding up at once puts a distance just at the radius inside, as "within" has it.
    bar = (distance / end * _BARS - 1e-9).ceil().clamp(1, _BARS).long() - 1
    return torch.bincount(bar, minlength=_BARS), end
