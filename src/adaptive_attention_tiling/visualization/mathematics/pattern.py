"""A pattern in the plane, and the wave numbers it is made of."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ..axis import Axis, linear_axis, number_text
from ..picture import Picture, label, picture
from ..plot import Plot, Series
from ..shaded_grid import shade_key, shaded_grid
from ..shades import Shades

_WIDTH, _SIDE, _LEFT, _TOP = 440.0, 340.0, 62.0, 62.0
_SPECTRUM_WIDTH, _SPECTRUM_HEIGHT = 354.0, 150.0


def pattern_picture(
    field: Float[Tensor, "y x"],
    wavenumbers: Float[Tensor, " k"],
    power: Float[Tensor, " k"],
    *,
    lengths: tuple[float, float],
    unstable: tuple[float, float],
    theory: float,
    most: float | None = None,
    name: str = "u",
    title: str = "A pattern from noise",
    note: str = "",
) -> Picture:
    """The field in nine shades, and below the power of its wave numbers with what theory says.

    Args:
        field: row 0 on top.
        wavenumbers, power: rising, and how much of the variance has them, in any unit; the
            largest power is drawn as 1.
        lengths: of the box's sides, down and across.
        unstable: the wave numbers between which perturbations grow, shaded.
        theory: the wave number that is drawn dashed.
        most: the last wave number that is drawn; all if None.
        name: of what the field holds.
    """
    _check(field, wavenumbers, power, lengths)
    shown = wavenumbers <= (float(wavenumbers[-1]) if most is None else most)
    if not float(power[shown].sum()) > 0:
        raise ArgumentError("most", most, "a number above some power", "leave it out")
    shares = (power / power[shown].max()).clamp(min=0)
    points = list(zip(wavenumbers[shown].tolist(), shares[shown].tolist(), strict=True))
    series = Series(name="measured", points=points)
    tall = _SIDE * lengths[0] / lengths[1]
    left = _LEFT + (_SPECTRUM_WIDTH - _SIDE) / 2
    foot = _TOP + tall
    plot = Plot(
        x=linear_axis([0.0, *unstable, *(x for x, _ in points)], label="wave number k"),
        y=Axis(
            low=0.0, high=1.0, ticks=[(n / 2, f"{n / 2:g}") for n in range(3)], label="power"
        ),
        left=_LEFT, top=foot + 72, width=_SPECTRUM_WIDTH, height=_SPECTRUM_HEIGHT,
    )  # fmt: skip
    shades = Shades(float(field.min()), float(field.max()), logarithmic=False)
    across, down = number_text(lengths[1]), number_text(lengths[0])
    body = (
        shaded_grid(field, shades, x=left, y=_TOP, width=_SIDE, height=tall)
        + shade_key(shades, x=left, y=foot + 12, width=170, text=lambda u: f"{u:.2f}")
        + label(left + 180, foot + 21, name)
        + label(left + _SIDE, foot + 21, f"box of {down} by {across}", anchor="end")
        + plot.upright_band(*unstable, name="unstable wave numbers")
        + plot.axes()
        + plot.upright_mark(theory)
        + plot.line(0, series)
        + label(plot.across(theory), plot.top - 7, "theory", anchor="middle")
    )
    return picture(body, title=title, note=note, width=_WIDTH, height=plot.bottom + 50)


def _check(field: Tensor, wavenumbers: Tensor, power: Tensor, lengths: tuple[float, float]) -> None:
    if (
        field.dim() != 2
        or not bool(field.isfinite().all())
        or float(field.min() - field.max()) == 0
    ):
        raise ArgumentError(
            "field", f"shape {list(field.shape)}", "finite numbers [y, x] that differ", "pass u"
        )
    if wavenumbers.dim() != 1 or power.shape != wavenumbers.shape or not len(power):
        raise ArgumentError(
            "power", list(power.shape), f"{list(wavenumbers.shape)}, [k]", "pass one a wave number"
        )
    if not bool((power > 0).any()) or not bool(power.isfinite().all()):
        raise ArgumentError("power", "none > 0, or NaN", "finite numbers", "pass |u_k|^2")
    if not min(lengths) > 0:
        raise ArgumentError("lengths", lengths, "two numbers > 0", "pass the sides of the box")
