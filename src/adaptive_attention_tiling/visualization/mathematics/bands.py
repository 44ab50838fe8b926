"""Bands along a path of wavevectors, with gaps, free particles and a density of states."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..axis import Axis, linear_axis
from ..picture import Picture, label, picture
from ..plot import Plot, Series

_LEFT, _TOP, _WIDTH, _HEIGHT = 62.0, 62.0, 354.0, 270.0
_DENSITY, _BETWEEN = 84.0, 18.0


def band_picture(
    distance: Float[Tensor, " k"],
    energies: Float[Tensor, "k n"],
    corners: Sequence[tuple[float, str]],
    *,
    density: tuple[Float[Tensor, " g"], Float[Tensor, " g"]] | None = None,
    free: Float[Tensor, "k m"] | None = None,
    gaps: Sequence[tuple[float, float]] = (),
    most: float | None = None,
    energy_label: str = "energy",
    title: str = "Bands",
    note: str = "",
) -> Picture:
    """A line for each band against the length of the path, with a named line at each corner.

    Args:
        distance: along the path, rising.
        energies: a column for each band.
        corners: (distance, name), from one end of the path to the other.
        density: (energies, states per energy), drawn beside with the energies in common.
        free: energies of a comparison, dashed, as far as the axis reaches.
        gaps: (lower, upper) energies between which there is no state, shaded.
        most: where the axis of energies ends; above all of them if None.
        energy_label: what the energies are, with their unit.
    """
    _check(distance, energies, corners)
    wide = _WIDTH - (_DENSITY + _BETWEEN) * (density is not None)
    shown = [energy for energy in energies.flatten().tolist() if most is None or energy < most]
    if not shown:
        raise ArgumentError("most", most, "a number above some energies", "leave it out")
    plot = Plot(
        x=Axis(low=float(distance[0]), high=float(distance[-1]), ticks=list(corners)),
        y=linear_axis(shown if most is None else [*shown, most], label=energy_label),
        left=_LEFT, top=_TOP, width=wide, height=_HEIGHT,
    )  # fmt: skip
    body = [plot.level_band(*gap, name=_gap_text(gap), style="gap") for gap in gaps]
    body.append(plot.axes(side=46))
    if free is not None:
        body += [_curve(plot, distance, row, "free particle", "free") for row in free.unbind(-1)]
    for number, column in enumerate(energies.unbind(-1), 1):
        body.append(_curve(plot, distance, column, f"band {number}", "curve"))
    if density is not None:
        body.append(_beside(plot, *density))
    return picture(
        "".join(body),
        title=title,
        note=note,
        width=_LEFT + _WIDTH + 24,
        height=_TOP + _HEIGHT + (44 if density is not None else 28),
    )


def _gap_text(gap: tuple[float, float]) -> str:
    return f"gap from {gap[0]:.4g} to {gap[1]:.4g}"


def _curve(plot: Plot, distance: Tensor, column: Tensor, name: str, style: str) -> str:
    """The stretches of a band that lie on the axis of energies, cut where they leave it."""
    low, high = plot.y.low, plot.y.high
    points = list(zip(distance.tolist(), column.tolist(), strict=True))
    runs: list[list[tuple[float, float]]] = [[]]
    for (x, energy), (next_x, following) in pairwise([*points, points[-1]]):
        inside = low <= energy <= high
        if inside:
            runs[-1].append((x, energy))
        if inside != (low <= following <= high):
            border = high if max(energy, following) > high else low
            share = (border - energy) / (following - energy)
            runs[-1].append((x + share * (next_x - x), border))
            if inside:
                runs.append([])
    return "".join(
        plot.thin_line(Series(name=name, points=run), style=style) for run in runs if len(run) > 1
    )


def _beside(bands: Plot, energies: Tensor, density: Tensor) -> str:
    """The density of states across, over the bands' own energies."""
    inside = (energies >= bands.y.low) & (energies <= bands.y.high)
    fits = energies.dim() == 1 and density.shape == energies.shape
    if not fits or not bool((density >= 0).all()) or not float(density[inside].sum()) > 0:
        raise ArgumentError(
            "density", f"shape {list(density.shape)}",
            f"numbers >= 0 {list(energies.shape)}, some between {bands.y.low:g} and "
            f"{bands.y.high:g}", "pass g(E) of the bands' energies",
        )  # fmt: skip
    known, states = energies[inside].tolist(), density[inside].tolist()
    plot = Plot(
        x=Axis(low=0.0, high=1.05 * max(states)),
        y=Axis(low=bands.y.low, high=bands.y.high, ticks=[(n, "") for n, _ in bands.y.ticks]),
        left=bands.right + _BETWEEN, top=bands.top, width=_DENSITY, height=bands.height,
    )  # fmt: skip
    places = [f"{plot.across(g):.1f},{plot.up(e):.1f}" for e, g in zip(known, states, strict=True)]
    ends = f"{plot.left:.1f},{plot.up(known[-1]):.1f} {plot.left:.1f},{plot.up(known[0]):.1f}"
    return (
        plot.axes()
        + f'<polygon class="area" points="{" ".join(places)} {ends}">'
        + "<title>density of states</title></polygon>"
        + label(plot.left + _DENSITY / 2, plot.bottom + 16, "density", anchor="middle")
        + label(plot.left + _DENSITY / 2, plot.bottom + 31, "of states", anchor="middle")
    )


def _check(distance: Tensor, energies: Tensor, corners: Sequence[tuple[float, str]]) -> None:
    if distance.dim() != 1 or len(distance) < 2 or not bool((distance.diff() >= 0).all()):
        raise ArgumentError(
            "distance", list(distance.shape), "rising numbers [k], k >= 2", "sum the steps"
        )
    fits = energies.dim() == 2 and len(energies) == len(distance) and energies.shape[1] > 0
    if not fits or not bool(energies.isfinite().all()):
        raise ArgumentError(
            "energies", f"shape {list(energies.shape)}", f"finite numbers [{len(distance)}, n]",
            "pass a column a band",
        )  # fmt: skip
    ends = float(distance[0]), float(distance[-1])
    if not all(ends[0] - 1e-9 <= place <= ends[1] + 1e-9 for place, _ in corners):
        raise ArgumentError("corners", list(corners), f"{ends[0]:g} to {ends[1]:g}", "see distance")
