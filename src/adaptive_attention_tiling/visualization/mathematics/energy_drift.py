"""How energies of orbits drift under different integrators."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..axis import logarithmic_axis
from ..picture import Picture, picture
from ..plot import Plot, Series, plot_legend

_LEFT, _TOP, _WIDTH, _HEIGHT = 62.0, 62.0, 354.0, 230.0
_ROUNDING = 1e-16


def energy_drift_picture(
    times: Float[Tensor, " t"],
    energies: Mapping[str, Float[Tensor, " t"]],
    *,
    period: float,
    title: str = "Energy error of integrators",
    note: str = "",
) -> Picture:
    """max |H / H(0) - 1| of each period against its number, both on logarithms, a line a method.

    A drift that is proportional to time has slope 1, an error that stays is level. Errors below
    1e-16 are drawn there.

    Args:
        times: evenly spaced, from 0, over two periods at least.
        energies: H at these times by the name of the integrator, of at most 6; H(0) is not 0.
        period: of the orbit, in the unit of the times.
    """
    series = [
        Series(name=name, points=list(enumerate(largest_errors(times, row, period).tolist(), 1)))
        for name, row in energies.items()
    ]
    legend, high = plot_legend(
        [one.name for one in series], x=_LEFT, y=_TOP + _HEIGHT + 58, width=_WIDTH
    )
    points = [(x, max(y, _ROUNDING)) for one in series for x, y in one.points]
    plot = Plot(
        x=logarithmic_axis([x for x, _ in points], label="period"),
        y=logarithmic_axis(
            [y for _, y in points], label="largest relative energy error in the period"
        ),
        left=_LEFT, top=_TOP, width=_WIDTH, height=_HEIGHT,
    )  # fmt: skip
    lines = "".join(
        plot.line(
            number,
            Series(name=one.name, points=[(x, max(y, _ROUNDING)) for x, y in one.points]),
            marks=4,
        )
        for number, one in enumerate(series)
    )
    return picture(
        plot.axes(side=46) + lines + legend,
        title=title,
        note=note,
        width=_LEFT + _WIDTH + 24,
        height=_TOP + _HEIGHT + 52 + high + 8,
    )


def largest_errors(
    times: Float[Tensor, " t"], energies: Float[Tensor, " t"], period: float
) -> Float[Tensor, " p"]:
    """max |H / H(0) - 1| of the times 0 <= t <= T, T < t <= 2 T and so on, for two or more T."""
    if times.dim() != 1 or energies.shape != times.shape:
        raise ArgumentError(
            "energies", list(energies.shape), f"{list(times.shape)} as times", "pass one a time"
        )
    if not bool(energies.isfinite().all()) or float(energies[0]) == 0:
        raise ArgumentError("energies", "NaN, infinity or H(0) = 0", "finite numbers", "add 1 to H")
    whole = int(float(times[-1]) / period + 1e-6) if period > 0 else 0
    if whole < 2:
        raise ArgumentError(
            "period", period, f"a number > 0, at most {float(times[-1]) / 2:.4g}", "integrate on"
        )
    number = (times / period - 1e-9).floor().clamp(min=0).long()
    inside = number < whole
    error = (energies.detach() / energies[0].detach() - 1).abs()[inside]
    largest: Tensor = torch.zeros(whole, dtype=error.dtype).scatter_reduce(
        0, number[inside], error, "amax"
    )
    return largest
