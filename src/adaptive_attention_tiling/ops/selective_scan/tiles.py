"""What a tile of tokens does to a state that is carried over it, without knowing that state."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from .arguments import check_tiles
from .scan import scan
from .widths import channels_used


def tile_contributions(
    x: Float[Tensor, "*b L I"],
    delta: Float[Tensor, "*b L I"],
    A: Float[Tensor, "I N"],
    B: Float[Tensor, "*b L N"],
    *,
    resolution: float = 1.0,
) -> tuple[Float[Tensor, "*b I n"], Float[Tensor, "*b I n"]]:
    """(log decay, contribution) of tiles of equal length and resolution, all at once.

    Carrying a state over a tile is h[:n] <- exp(log decay) h[:n] + contribution, n = ceil(R N);
    log decay = A sum_t delta_t, contribution = the state of the scan that starts from zero.
    `delta` is the step itself, bias and softplus done. Every tile is read on its own, so tokens of
    different tiles are not in each other's way: a scan of L steps, not of all T.

    Raises:
        ArgumentError: a shape or a resolution that does not fit, by name.
    """
    check_tiles(x, delta, A, B, resolution)
    n = channels_used(resolution, A.shape[1])
    log_decay = delta.sum(-2)[..., None] * A[:, :n]
    tiles = x.shape[:-2]
    flat = [t.reshape(-1, *t.shape[-2:]) for t in (x, delta, B[..., :n])]
    start = x.new_zeros(len(flat[0]), len(A), n)
    _, end = scan(flat[0], flat[1], A[:, :n], flat[2], None, start)
    return log_decay, end.view(*tiles, len(A), n)
