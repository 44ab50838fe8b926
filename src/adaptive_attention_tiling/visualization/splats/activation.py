"""Which splats act at which tokens."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from ...splats import SplatField
from ..picture import Picture, label, picture
from ..shaded_grid import shade_key, shaded_grid
from ..shades import Shades
from .points import log_features_of_head, points_of_head

_LEFT, _TOP, _WIDTH = 52.0, 56.0, 640.0
_MOST_ROWS, _MOST_COLUMNS = 96, 320
_SHADES = Shades(low=0.01, high=1.0)


def activation_picture(field: SplatField, points: Tensor, *, head: int = 0) -> Picture:
    """A heat map of splats (rows, in the order of their slots) over tokens (columns, in time).

    A cell is the splat's responsibility phi_s(x) / sum_r phi_r(x) for the token; the background
    comes last. Beyond 96 splats the most active are shown; beyond 320 tokens a column is the mean
    of several.

    Args:
        points: one sequence, [H, T, D] or [1, H, T, D].
        head: the one that is shown.
    """
    tokens = points_of_head(field, "points", points, head, in_order=True)
    if not field.has_background and not bool(field.alive[head].any()):
        raise ArgumentError("field", "a head of empty slots", "one splat at least", "add splats")
    shares, names = responsibilities(field, tokens, head)
    known = len(names)
    if known > _MOST_ROWS:
        kept = shares.mean(1).topk(_MOST_ROWS).indices.sort().values
        shares, names = shares[kept], [names[row] for row in kept.tolist()]
    together = math.ceil(shares.shape[1] / _MOST_COLUMNS)
    if together > 1:
        shares = torch.stack([part.mean(1) for part in shares.split(together, 1)], 1)
    height = min(560.0, max(60.0, 14.0 * len(names)))
    every = math.ceil(len(names) * 13 / height)
    rows = "".join(
        label(_LEFT - 6, _TOP + (row + 0.5) * height / len(names) + 4, names[row], anchor="end")
        for row in range(0, len(names), every)
    )
    foot = _TOP + height
    body = (
        shaded_grid(shares, _SHADES, x=_LEFT, y=_TOP, width=_WIDTH, height=height)
        + rows
        + label(_LEFT, foot + 18, "token 0")
        + label(_LEFT + _WIDTH, foot + 18, f"token {len(tokens) - 1:,}", anchor="end")
        + shade_key(_SHADES, x=_LEFT, y=foot + 34, width=220)
    )
    less = f"the {len(names)} most active of {known}" if len(names) < known else f"all {known}"
    grouped = f"; a column is the mean of {together} tokens" if together > 1 else ""
    return picture(
        body,
        title=f"Activation of splats, head {head}",
        note=f"Share of each token that falls to a splat: {less} features{grouped}",
        width=_LEFT + _WIDTH + 20,
        height=foot + 70,
    )


def responsibilities(
    field: SplatField, tokens: Float[Tensor, "T D"], head: int
) -> tuple[Float[Tensor, "F T"], list[str]]:
    """Shares of all living splats and of the background, which sum to 1, and their names."""
    logs = log_features_of_head(field, tokens, head)
    alive = field.alive[head].cpu()
    slots = torch.arange(field.count)[alive].tolist()
    names = [str(slot) for slot in slots]
    if field.has_background:
        slots, names = [*slots, field.count], [*names, "rest"]
    # A token that no feature reaches would divide zero by zero.
    shares = torch.softmax(logs[:, slots].clamp(min=-1e30), -1)
    return shares.mT, names
