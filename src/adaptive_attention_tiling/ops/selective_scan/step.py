"""One token: what generation calls."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu, softplus

from .arguments import check_step
from .widths import channels_used


def selective_step(
    x: Float[Tensor, "B I"],
    delta: Float[Tensor, "B I"],
    A: Float[Tensor, "I N"],
    B: Float[Tensor, "B N"],
    C: Float[Tensor, "B N"],
    D: Float[Tensor, " I"] | None = None,
    *,
    state: Float[Tensor, "B I N"],
    z: Float[Tensor, "B I"] | None = None,
    delta_bias: Float[Tensor, " I"] | None = None,
    delta_softplus: bool = False,
    resolution: float | None = None,
) -> tuple[Float[Tensor, "B I"], Float[Tensor, "B I N"]]:
    """(y, the state after one token) of all rows; `selective_scan` of T = 1 without its chunks.

    `resolution` is one for all rows. The state that came is not changed; it is float32 or wider.

    Raises:
        ArgumentError: a shape or a resolution that does not fit, by name.
    """
    check_step(x, delta, A, B, C, D, state, z, delta_bias, resolution)
    dtype = x.dtype
    x, delta, A, B, C = (t.to(state.dtype) for t in (x, delta, A, B, C))
    n = A.shape[1] if resolution is None else channels_used(resolution, A.shape[1])
    if delta_bias is not None:
        delta = delta + delta_bias
    if delta_softplus:
        delta = softplus(delta)
    decay = (delta[..., None] * A[:, :n]).exp()
    used = decay * state[..., :n] + (delta * x)[..., None] * B[:, None, :n]
    y = (used @ C[:, :n, None])[..., 0]
    if D is not None:
        y = y + D * x
    if z is not None:
        y = y * silu(z)
    y = y.to(dtype)
    if n == A.shape[1]:
        return y, used
    after = state.clone()
    after[..., :n] = used
    return y, after
