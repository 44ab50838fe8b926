"""Theorem 3.5, "for any eps > 0 some tiling has |y_tiled - y_full| <= eps max rho".

As written it is true and says nothing: R = 1 everywhere is a tiling without any error. Of any
tiling that saves something it is false, for three reasons:

1. Units. rho is quadratic in the states, the error is not. States measured in another unit, with
   projections to match, are the same model with the same error and another rho (`unit_of_states`).
2. Length. The norm of the whole output grows with the number of tokens, max rho does not
   (`repeated_text`). It has to be each query's error.
3. Constants. eps has to know the sizes of queries and values.

What is true:

* Slow texts. With contiguous tiles of L tokens, states that move by at most sqrt(rho) a token,
  a = |q| k (L - 1) / 2 sqrt(rho) and b = v (L - 1) / 2 sqrt(rho), where k and v are the norms of
  the projections to keys and values, and V the largest value norm,

      |o - o_full| <= (e^a - 1) b + 2 V (e^a - 1 - a) = O(L^2 rho),

  from (1) in the README of tiled_attention: no logit in a tile is further than a from the mean,
  no value further than b (`drift`). For an error e, R = 1 / L of the order of sqrt(rho / e) is
  enough.
* Any text. For every tolerance `tiled_attention` finds a tiling, and certifies for every query
  that |o - o_full| <= tolerance max |v|; what it has to read for that depends on the text
  (`tolerance_check`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ...ops.tiled_attention import TileLayout, tiled_attention
from ...tiling import InformationDensityAnalyzer
from .planted import KINDS, Inputs

TOLERANCES = (0.3, 0.1, 0.03, 0.01)
TILES = (2, 4, 8, 16, 32)
SPEEDS = (0.0025, 0.005, 0.01, 0.02, 0.04)
UNITS = (1.0, 0.1, 0.01, 0.001)
LENGTHS = (2048, 4096, 8192)
_PERIOD = 256
# Tiles of key space would tell disguised keys apart.
_LAYOUTS = {"disguised keys": TileLayout(order="contiguous")}
# Near fields and sinks are exact; without them nearly every token is read through a tile.
_BARE = {"super_block": 128, "window": 0, "sinks": 0, "group": 1, "order": "contiguous"}


@dataclass(frozen=True, kw_only=True)
class ToleranceCheck:
    """Errors of one call, in units of the tolerance times the largest value norm in view.

    worst_ratio    of any query; at most 1 if certified
    within         share of the queries at or below 1
    fraction_read  far keys read exactly
    """

    kind: str
    tolerance: float
    certified: bool
    worst_ratio: float
    within: float
    fraction_read: float


@dataclass(frozen=True, kw_only=True)
class UnitOfStates:
    """One model at resolution 1/8, its states in units of `unit`: needed_eps = error / density."""

    unit: float
    error: float
    density: float
    needed_eps: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A text that moves at an even speed, read at resolution 1 / tile.

    error  largest of any query; `bound` is what the module's inequality allows
    """

    tile: int
    density: float
    error: float
    bound: float


@dataclass(frozen=True, kw_only=True)
class RepeatedText:
    """The same stretch again and again: norm of the whole error, largest of one query, max rho."""

    tokens: int
    whole_error: float
    query_error: float
    density: float


def tolerance_check(
    kind: str, tolerance: float, *, certified: bool, tokens: int = 2048, seed: int = 0
) -> ToleranceCheck:
    """Causal attention of `planted.KINDS[kind]` within a tolerance, against exact attention."""
    inputs = Inputs(*(x.double() for x in KINDS[kind](tokens, seed=seed)))
    out, report = tiled_attention(
        *inputs,
        is_causal=True,
        tolerance=tolerance,
        certified=certified,
        layout=_LAYOUTS.get(kind),
        return_report=True,
    )
    exact = scaled_dot_product_attention(*inputs, is_causal=True)
    largest = inputs.value.norm(dim=-1).cummax(-1).values
    ratio = (out - exact).norm(dim=-1) / (tolerance * largest)
    return ToleranceCheck(
        kind=kind,
        tolerance=tolerance,
        certified=certified,
        worst_ratio=float(ratio.max()),
        within=float((ratio <= 1).double().mean()),
        fraction_read=report.fraction_read,
    )


@dataclass(frozen=True)
class _Projections:
    """From states to queries, keys and values, [C, D] each."""

    query: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def drawn(cls, channels: int, width: int, seed: int) -> _Projections:
        generator = torch.Generator().manual_seed(seed)
        draw = (
            torch.randn(channels, width, dtype=torch.float64, generator=generator) for _ in range(3)
        )
        return cls(*(x / math.sqrt(channels) for x in draw))

    def of(self, states: Float[Tensor, "T C"]) -> Inputs:
        """As attention takes them, one sequence and one head."""
        return Inputs(*((states @ x)[None, None] for x in (self.query, self.key, self.value)))


def moving_states(
    tokens: int, speed: float, *, channels: int = 16, repeat: bool = False
) -> Float[Tensor, "T C"]:
    """States on a torus of circles of different frequency, each step of about length `speed`.

    With `repeat` they come back to where they were after every 256 tokens.
    """
    number = torch.arange(1, channels // 2 + 1, dtype=torch.float64)
    turn = speed * number / number.square().sum().sqrt()
    if repeat:
        turn = 2 * math.pi * number / _PERIOD
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] * turn
    return torch.cat([angle.cos(), angle.sin()], 1)


def max_density(states: Float[Tensor, "T C"]) -> float:
    """The largest rho of any token: its squared step."""
    return float(InformationDensityAnalyzer(window_size=1).compute_density(states).max())


def query_errors(inputs: Inputs, tile: int) -> Float[Tensor, " T"]:
    """|o - o_full| of every query when all far tiles of `tile` tokens are read through means."""
    layout = TileLayout(tile=tile, **_BARE)  # type: ignore[arg-type]
    out = tiled_attention(*inputs, is_causal=True, resolution=1 / tile, layout=layout)
    exact = scaled_dot_product_attention(*inputs, is_causal=True)
    errors: Tensor = torch.linalg.vector_norm(out - exact, dim=-1)
    return errors[0, 0]


def unit_of_states(unit: float, *, tokens: int = 1024, seed: int = 0) -> UnitOfStates:
    """A random walk, which a tile of 8 does not do justice, told in another unit."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(tokens, 16, dtype=torch.float64, generator=generator)
    states = unit * (0.2 * steps).cumsum(0)
    drawn = _Projections.drawn(16, 16, seed)
    projections = _Projections(drawn.query / unit, drawn.key / unit, drawn.value / unit)
    error = float(query_errors(projections.of(states), 8).max())
    density = max_density(states)
    return UnitOfStates(unit=unit, error=error, density=density, needed_eps=error / density)


def drift(tile: int, speed: float, *, tokens: int = 2048, seed: int = 0) -> Drift:
    """Contiguous tiles over a text that moves slowly."""
    states, projections = moving_states(tokens, speed), _Projections.drawn(16, 16, seed)
    inputs, density = projections.of(states), max_density(states)
    return Drift(
        tile=tile,
        density=density,
        error=float(query_errors(inputs, tile).max()),
        bound=_drift_bound(inputs, projections, tile, density),
    )


def _drift_bound(inputs: Inputs, projections: _Projections, tile: int, density: float) -> float:
    """(e^a - 1) b + 2 V (e^a - 1 - a); the docstring of the module says of what."""
    reach = (tile - 1) / 2 * math.sqrt(density)
    scale = inputs.query.shape[-1] ** -0.5
    query: float = scale * float(inputs.query.norm(dim=-1).max())
    key, value = (
        float(torch.linalg.matrix_norm(x, 2)) for x in (projections.key, projections.value)
    )
    a, b = query * key * reach, value * reach
    largest = float(inputs.value.norm(dim=-1).max())
    growth = math.expm1(a)
    return growth * b + 2 * largest * (growth - a)


def repeated_text(tokens: int, *, seed: int = 0) -> RepeatedText:
    """States that come round every 256 tokens, in tiles of 16."""
    states = moving_states(tokens, 0.0, repeat=True)
    errors = query_errors(_Projections.drawn(16, 16, seed).of(states), 16)
    return RepeatedText(
        tokens=tokens,
        whole_error=float(errors.norm()),
        query_error=float(errors.max()),
        density=max_density(states),
    )
