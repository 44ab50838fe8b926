"""A sphere with a neck under Ricci flow: its outlines, and the radius of the neck in time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.dynamics import RotationalFlow, Singularity
from ..axis import linear_axis
from ..picture import Picture, label, picture
from ..plot import Plot, Series

_WIDTH, _LEFT, _TOP, _INNER = 440.0, 62.0, 58.0, 354.0
_TOLD, _GAP, _PLOT = 30.0, 10.0, 170.0


def ricci_flow_picture(
    flow: RotationalFlow,
    *,
    times: Float[Tensor, " m"],
    singularity: Singularity | None = None,
    title: str = "Ricci flow of a dumbbell",
    note: str = "",
) -> Picture:
    """Outlines at some times, all of one scale, above the square of the neck's radius in time.

    An outline is that of the surface of revolution in space with the metric's lengths and radii,
    a point on it standing for a sphere of dimension n - 1.

    Args:
        flow: what is drawn.
        times: whose outlines are drawn, at the nearest state that was kept.
        singularity: that the flow runs into; its law 1 / |K| = (T - t) / C, the squared radius of
            a neck, is drawn dashed.
    """
    if times.dim() != 1 or not len(times) or not bool(times.isfinite().all()):
        raise ArgumentError("times", list(times.shape), "finite times [m], m >= 1", "pass a few")
    chosen = sorted({int((flow.times - time).abs().argmin()) for time in times.tolist()})
    outlines = [outline(flow.radii[n], float(flow.lengths[n])) for n in chosen]
    unit = (_INNER - _TOLD) / max(float(across[-1]) for across, _ in outlines)
    top, shapes = _TOP, []
    for number, (across, radii) in zip(chosen, outlines, strict=True):
        half = unit * float(radii.max())
        told = f"t = {float(flow.times[number]):.4f}"
        shapes.append(_shape(across, radii, unit, top + half, told))
        top += 2 * half + _GAP
    plot, lines = _neck_plot(flow, singularity, top + 14)
    body = "".join(shapes) + plot.axes(side=46) + lines
    return picture(body, title=title, note=note, width=_WIDTH, height=plot.bottom + 48)


def _neck_plot(
    flow: RotationalFlow, singularity: Singularity | None, top: float
) -> tuple[Plot, str]:
    square = neck_radius(flow.radii).square()
    points = list(zip(flow.times.tolist(), square.tolist(), strict=True))
    law: list[tuple[float, float]] = []
    if singularity is not None:
        start = max(0.0, singularity.time - singularity.rate * points[0][1])
        law = [(start, (singularity.time - start) / singularity.rate), (singularity.time, 0.0)]
    plot = Plot(
        x=linear_axis([x for x, _ in points + law], label="time t"),
        y=linear_axis(
            [0.0, *(y for _, y in points + law)], label="squared neck radius", intervals=4
        ),
        left=_LEFT, top=top, width=_INNER, height=_PLOT,
    )  # fmt: skip
    dashed = plot.thin_line(Series(name="(T − t) / C", points=law), style="free") if law else ""
    return plot, dashed + plot.line(0, Series(name="neck", points=points), marks=6)


def outline(
    radii: Float[Tensor, " k"], length: float
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Places along the axis and radii of a surface of revolution: dx^2 + dpsi^2 = ds^2.

    Where |dpsi| is more than ds, by rounding or because space has no such surface, x stands still.
    """
    width = length / (len(radii) - 1)
    steps = (width**2 - radii.diff().square()).clamp(min=0).sqrt()
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)]), radii


def neck_radius(radii: Float[Tensor, "*t k"]) -> Float[Tensor, "*t"]:
    """The least radius between the largest ones of both halves; of a shape without neck, the
    radius at the middle or more.
    """
    middle = radii.shape[-1] // 2
    first = radii[..., : middle + 1].argmax(-1, keepdim=True)
    second = middle + radii[..., middle:].argmax(-1, keepdim=True)
    place = torch.arange(radii.shape[-1], device=radii.device)
    between = (place >= first) & (place <= second)
    least: Tensor = torch.where(between, radii, torch.inf).amin(-1)
    return least


def _shape(across: Tensor, radii: Tensor, unit: float, middle: float, told: str) -> str:
    left = _LEFT + (_INNER + _TOLD - unit * float(across[-1])) / 2
    upper = [
        (left + unit * x, unit * r) for x, r in zip(across.tolist(), radii.tolist(), strict=True)
    ]
    places = [f"{x:.1f},{middle - r:.1f}" for x, r in upper]
    places += [f"{x:.1f},{middle + r:.1f}" for x, r in reversed(upper)]
    return (
        f'<polygon class="area" points="{" ".join(places)}"><title>{told}</title></polygon>'
        + label(16, middle + 4, told)
    )
