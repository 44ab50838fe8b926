"""What quality costs, and what adapting the resolution achieves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import ArgumentError
from .part import checked


def compute_to_efficiency_ratio(
    ifq: Float[Tensor, "*b"],
    compute: Float[Tensor, "*b"],
    memory: Float[Tensor, "*b"],
    resolution: Float[Tensor, "*b"],
) -> Float[Tensor, "*b"]:
    """CER = IFQ / (C M R): quality a unit of cost. Higher is better, whatever the name says.

    Source: chapter 3.4.1.

    Args:
        ifq: in [0, 1]; see `information_flow_quality`.
        compute, memory: > 0, as shares of what full attention takes.
        resolution: in (0, 1].
    """
    ifq = checked("ifq", ifq, "")
    if bool((ifq > 1).any()):
        raise ArgumentError("ifq", f"{ifq.max().item():.3g}", "0 to 1", "pass QualityReport.ifq")
    for name, cost in {"compute": compute, "memory": memory, "resolution": resolution}.items():
        cost = checked(name, cost, "")
        most = 1 if name == "resolution" else torch.inf
        if not bool(((cost > 0) & (cost <= most)).all()):
            raise ArgumentError(
                name,
                f"entries from {cost.min().item():.3g} to {cost.max().item():.3g}",
                "in (0, 1]" if name == "resolution" else "> 0",
                "divide by what full attention takes",
            )
    return ifq / (compute * memory * resolution)


def adaptation_efficiency(
    resolution_changes: Float[Tensor, "*b T"], load_imbalance: Float[Tensor, "*b T"]
) -> Float[Tensor, "*b"]:
    """AE = 1/T sum_t dR_t (1 - sigmoid(L_t)).

    Changes keep their sign, so that a rise and a fall of equal imbalance cancel. L_t >= 0 makes
    the factor at most 1/2, which a perfectly even load attains: |AE| <= mean |dR_t| / 2.

    Source: chapter 3.4.2; L_t is not defined there, see `load_imbalance`.
    """
    changes = checked("resolution_changes", resolution_changes, "T", signed=True)
    imbalance = checked("load_imbalance", load_imbalance, "T")
    if changes.shape != imbalance.shape:
        raise ArgumentError(
            "load_imbalance",
            f"shape {list(imbalance.shape)}",
            f"{list(changes.shape)} as resolution_changes has",
            "pass one figure a step",
        )
    return (changes * torch.sigmoid(-imbalance)).mean(-1)


def load_imbalance(loads: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """L = max_i load_i / mean_i load_i - 1, from 0 (even) to n - 1 (one tile does everything).

    With tiles worked on side by side, 1 + L is the time taken over the time needed. 0 without any
    load.

    Args:
        loads: compute of each tile >= 0, such as resolution times tokens.
    """
    loads = checked("loads", loads, "n")
    unit = loads.detach().amax(-1, keepdim=True)
    loads = loads / torch.where(unit > 0, unit, 1)
    mean = loads.mean(-1)
    # A mean may round to just above the maximum.
    excess = (loads.amax(-1) / torch.where(mean > 0, mean, 1) - 1).clamp(min=0)
    return torch.where(mean > 0, excess, 0)
