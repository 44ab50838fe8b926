"""The plan of one block of queries by compiled kernels (csrc/plan.cpp): all heights in one call."""

from __future__ import annotations

import torch
from torch import Tensor

from ...backends import native
from .control import Control
from .cut import UPPER_SHARE, Cut
from .layout import TileLayout
from .native_tree import compiled, packed
from .pyramid import Pyramid
from .risk import TAIL, risk_of
from .tiles import Summary


def planned(
    query: Tensor,
    lse: Tensor,
    pyramid: Pyramid,
    far: Tensor,
    control: Control,
    layout: TileLayout,
    worst: float,
) -> Cut:
    """What `descend` finds by tolerance for scouts [h, s]: from the `cover` of the far
    super-blocks on, `ByTolerance` over `scout_costs`.
    """
    nodes = pyramid.nodes
    risk = risk_of(nodes, control, layout)
    return Cut(
        *_plan(
            query,
            lse,
            nodes.count,
            nodes.key.detach(),
            risk.variance,
            risk.radius,
            risk.spread,
            pyramid.offspring,
            far,
            pyramid.sizes,
            [number for unit in layout.spans(len(far)) for number in unit],
            control.limit,
            worst,
        )
    )


def scout_costs(
    query: Tensor, lse: Tensor, nodes: Summary, control: Control, layout: TileLayout, worst: float
) -> Tensor:
    """The mean cost [h, M] over scouts [h, s] of M nodes, whose key heads the h heads share."""
    risk = risk_of(nodes, control, layout)
    mean: Tensor = _scout_costs(
        query, lse, nodes.count, nodes.key.detach(), risk.variance, risk.radius, risk.spread, worst
    )
    return mean


@native.operator("tiled_plan")
def _plan(
    query: Tensor,
    lse: Tensor,
    count: Tensor,
    key: Tensor,
    variance: Tensor | None,
    radius: Tensor | None,
    spread: Tensor | None,
    children: Tensor,
    far: Tensor,
    sizes: list[int],
    units: list[int],
    limit: float,
    worst: float,
) -> tuple[Tensor, Tensor, Tensor]:
    heads, scouts, width = query.shape
    nodes = sum(sizes)
    closed = torch.empty(heads, nodes, dtype=torch.bool)
    exact = torch.empty(heads, sizes[0], dtype=torch.bool)
    looked = query.new_empty(heads)
    compiled().call(
        "tiled_plan",
        query.dtype,
        query=packed(query),
        lse=packed(lse),
        count=packed(count),
        key=packed(key),
        variance=packed(variance),
        radius=packed(radius),
        spread=packed(spread),
        children=packed(children),
        far=packed(far),
        sizes=torch.tensor(sizes),
        spans=torch.tensor(units[0::2]),
        widths=torch.tensor(units[1::2]),
        closed=closed,
        exact=exact,
        looked=looked,
        heads=heads,
        key_heads=len(count),
        scouts=scouts,
        width=width,
        nodes=nodes,
        blocks=len(far),
        heights=len(sizes),
        group=children.shape[-1],
        limit=limit,
        worst=worst,
        upper_share=UPPER_SHARE,
        tail=TAIL,
        threads=torch.get_num_threads(),
    )
    return closed, exact, looked


@native.fake_of(_plan)
def _(
    query: Tensor,
    lse: Tensor,
    count: Tensor,
    key: Tensor,
    variance: Tensor | None,
    radius: Tensor | None,
    spread: Tensor | None,
    children: Tensor,
    far: Tensor,
    sizes: list[int],
    units: list[int],
    limit: float,
    worst: float,
) -> tuple[Tensor, Tensor, Tensor]:
    heads = len(query)
    return (
        far.new_empty(heads, sum(sizes)),
        far.new_empty(heads, sizes[0]),
        query.new_empty(heads),
    )


@native.operator("tiled_scout_costs")
def _scout_costs(
    query: Tensor,
    lse: Tensor,
    count: Tensor,
    key: Tensor,
    variance: Tensor | None,
    radius: Tensor | None,
    spread: Tensor | None,
    worst: float,
) -> Tensor:
    heads, scouts, width = query.shape
    cost = query.new_empty(heads, count.shape[1])
    compiled().call(
        "tiled_scout_costs",
        query.dtype,
        query=packed(query),
        lse=packed(lse),
        count=packed(count),
        key=packed(key),
        variance=packed(variance),
        radius=packed(radius),
        spread=packed(spread),
        cost=cost,
        heads=heads,
        key_heads=len(count),
        scouts=scouts,
        width=width,
        nodes=count.shape[1],
        worst=worst,
        tail=TAIL,
        threads=torch.get_num_threads(),
    )
    return cost


@native.fake_of(_scout_costs)
def _(
    query: Tensor,
    lse: Tensor,
    count: Tensor,
    key: Tensor,
    variance: Tensor | None,
    radius: Tensor | None,
    spread: Tensor | None,
    worst: float,
) -> Tensor:
    return query.new_empty(len(query), count.shape[1])
