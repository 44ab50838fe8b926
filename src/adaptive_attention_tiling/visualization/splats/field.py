"""Where the splats of a head lie among its tokens."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...splats import SplatField
from ..picture import Picture, label, picture
from ..shades import per_cent
from .points import one_head, points_of_head

_SIDE, _LEFT, _TOP = 440.0, 40.0, 56.0
_MOST_TOKENS = 2000


def field_picture(field: SplatField, points: Tensor, *, head: int = 0) -> Picture:
    """The tokens and the 1-sigma ellipses of one head in the plane where tokens vary most.

    An ellipse is the shadow of its splat on the plane of the first two principal directions of
    the points; the more opaque, the larger the amplitude. Both axes have the same unit. Empty
    slots are not drawn; of more than 2,000 tokens, 2,000 at even steps are.

    Args:
        points: what the splats see, [H, N, D] or [B, H, T, D].
        head: the one that is shown.
    """
    tokens = points_of_head(field, "points", points, head)
    middle, plane, shares = principal_plane(tokens)
    splats = one_head(field.splats(), head)
    alive = splats.alive[0]
    means = (splats.mean[0] - middle) @ plane
    radii, angles = ellipses(plane.mT @ splats.covariance[0] @ plane)
    logs = splats.log_amplitude[0]
    strongest = logs[alive].max() if bool(alive.any()) else logs.new_zeros(())
    strength = (logs - strongest).exp()

    places = (tokens - middle) @ plane
    centre, reach = _view(torch.cat([places, means[alive]]))
    unit = _SIDE / (2 * reach)
    step = max(1, math.ceil(len(places) / _MOST_TOKENS))
    dots = "".join(
        f'<circle class="token" cx="{x:.5g}" cy="{y:.5g}" r="{1.7 / unit:.4g}"/>'
        for x, y in places[::step].tolist()
    )
    shapes = "".join(
        f'<ellipse class="splat" cx="{x:.8g}" cy="{y:.8g}" rx="{rx:.8g}" ry="{ry:.8g}" '
        f'transform="rotate({angle:.8g} {x:.8g} {y:.8g})" fill-opacity="{0.04 + 0.26 * s:.3f}" '
        f'stroke-opacity="{0.25 + 0.75 * s:.3f}"><title>splat {slot}: amplitude '
        f"{math.exp(log):.3g}</title></ellipse>"
        f'<circle class="centre" cx="{x:.5g}" cy="{y:.5g}" r="{2.2 / unit:.4g}"/>'
        for slot, (x, y), (rx, ry), angle, s, log in zip(
            torch.arange(len(logs))[alive.cpu()].tolist(),
            means[alive].tolist(),
            radii[alive].tolist(),
            angles[alive].tolist(),
            strength[alive].tolist(),
            logs[alive].tolist(),
            strict=True,
        )
    )
    x, y = centre.tolist()
    to_page = (
        f"matrix({unit:.8g} 0 0 {-unit:.8g} {_LEFT + _SIDE / 2 - unit * x:.8g} "
        f"{_TOP + _SIDE / 2 + unit * y:.8g})"
    )
    square = f'x="{_LEFT:g}" y="{_TOP:g}" width="{_SIDE:g}" height="{_SIDE:g}"'
    name = f"field-{head}"
    body = (
        f'<clipPath id="{name}"><rect {square}/></clipPath><g clip-path="url(#{name})">'
        f'<g transform="{to_page}">{dots}{shapes}</g></g><rect class="frame" {square}/>'
        + label(_LEFT + _SIDE / 2, _TOP + _SIDE + 20, _axis("first", shares[0]), anchor="middle")
        + label(26, _TOP + _SIDE / 2, _axis("second", shares[1]), anchor="middle", turned=True)
    )
    shown = f", {len(places[::step]):,} shown" if step > 1 else ""
    return picture(
        body,
        title=f"Splats of head {head}",
        note=f"{int(alive.sum())} splats (1 sigma) over {len(tokens):,} tokens{shown}",
        width=_LEFT + _SIDE + 20,
        height=_TOP + _SIDE + 34,
    )


def principal_plane(
    points: Float[Tensor, "N D"],
) -> tuple[Float[Tensor, " D"], Float[Tensor, "D 2"], list[float]]:
    """The mean of points, their first two principal directions and shares of the variance.

    The largest entry of a direction is positive. In one dimension the second one is zero.
    """
    middle = points.mean(0)
    spectrum, axes = torch.linalg.eigh((points - middle).mT @ (points - middle))
    plane, spectrum = axes.flip(-1)[:, :2], spectrum.flip(-1)[:2].clamp(min=0.0)
    largest = plane.gather(0, plane.abs().argmax(0, keepdim=True))
    plane = plane * torch.where(largest < 0, -1.0, 1.0)
    total = (points - middle).square().sum().clamp(min=1e-300)
    if plane.shape[1] == 1:
        plane = torch.cat([plane, torch.zeros_like(plane)], 1)
        spectrum = torch.cat([spectrum, torch.zeros_like(spectrum)])
    return middle, plane, (spectrum / total).tolist()


def ellipses(
    covariance: Float[Tensor, "K 2 2"],
) -> tuple[Float[Tensor, "K 2"], Float[Tensor, " K"]]:
    """Half axes, the longer one first, and its angle in degrees from the first coordinate."""
    spectrum, axes = torch.linalg.eigh(covariance)
    longest = axes[..., 1]
    return (
        spectrum.flip(-1).clamp(min=0.0).sqrt(),
        torch.rad2deg(torch.atan2(longest[..., 1], longest[..., 0])),
    )


def _view(places: Float[Tensor, "N 2"]) -> tuple[Tensor, float]:
    """The middle of the smallest square that holds all places, and half its side."""
    low, high = places.amin(0), places.amax(0)
    return (low + high) / 2, 0.6 * float((high - low).max()) or 1.0


def _axis(which: str, share: float) -> str:
    return f"{which} principal direction, {per_cent(share)} of the variance"
