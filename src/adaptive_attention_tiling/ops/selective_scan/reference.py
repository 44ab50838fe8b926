"""The scan as its definition says, token by token; everything else is compared with it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import silu, softplus

from .widths import channels_used


def reference_selective_scan(
    x: Float[Tensor, "B T I"],
    delta: Float[Tensor, "B T I"],
    A: Float[Tensor, "I N"],
    B: Float[Tensor, "B T N"],
    C: Float[Tensor, "B T N"],
    D: Float[Tensor, " I"] | None = None,
    *,
    z: Float[Tensor, "B T I"] | None = None,
    delta_bias: Float[Tensor, " I"] | None = None,
    delta_softplus: bool = False,
    resolution: Float[Tensor, "B T"] | float | None = None,
    initial_state: Float[Tensor, "B I N"] | None = None,
    padding: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T I"], Float[Tensor, "B I N"]]:
    """(y, the state after the last token); arguments as `selective_scan` has them.

    h_t[:n] = exp(delta_t A[:n]) h_{t-1}[:n] + delta_t B_t[:n] x_t, h_t[n:] = h_{t-1}[n:],
    y_t = (C_t[:n] . h_t[:n] + D x_t) silu(z_t), n = ceil(R_t N). At padding h stays, y is 0.
    Source: Gu and Dao 2023 (arXiv 2312.00752), equations 2 and 4 with their simplified B.
    """
    channels = torch.arange(A.shape[1], device=x.device)
    h = initial_state
    if h is None:
        h = x.new_zeros(x.shape[0], *A.shape)
    outputs = []
    for t in range(x.shape[1]):
        step = delta[:, t] if delta_bias is None else delta[:, t] + delta_bias
        step = (softplus(step) if delta_softplus else step)[..., None]  # [B, I, 1]
        used = torch.ones_like(h, dtype=torch.bool)
        if resolution is not None:
            now = resolution[:, t] if isinstance(resolution, Tensor) else resolution
            width = torch.as_tensor(channels_used(now, len(channels)), device=x.device)
            used = used & (channels < width.view(-1, 1, 1))
        written = used if padding is None else used & padding[:, t, None, None]
        after = (step * A).exp() * h + step * x[:, t, :, None] * B[:, t, None]
        h = torch.where(written, after, h)
        y = (h * C[:, t, None]).masked_fill(~used, 0.0).sum(-1)
        if D is not None:
            y = y + D * x[:, t]
        if z is not None:
            y = y * silu(z[:, t])
        outputs.append(y if padding is None else y.masked_fill(~padding[:, t, None], 0.0))
    return torch.stack(outputs, 1), h
