"""The selective scan: checked arguments, rows that end early, and the way to compute it."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import silu, softplus

from ...errors import UnsupportedError
from ..linear_attention.ragged import Ragged, from_boundaries, from_padding
from .arguments import Scan, check_initial_state, check_scan
from .reference import reference_selective_scan
from .scan import scan
from .state import ScanState, fresh_state, state_after
from .widths import channels_used


def selective_scan(
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
    initial_state: Float[Tensor, "B I N"] | ScanState | None = None,
    padding: Bool[Tensor, "B T"] | None = None,
    cu_seqlens: Int[Tensor, " n"] | None = None,
    return_state: bool = False,
    rollback_limit: int = 0,
    implementation: str | None = None,
) -> Tensor | tuple[Tensor, ScanState]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t,  y_t = (C_t . h_t + D x_t) silu(z_t).

    Every inner channel i has N numbers of state, with rates A_in. With a resolution R_t in (0, 1],
    token t decays, writes and reads the first ceil(R_t N) of them and leaves the others as they
    are; the work follows. Runs of one resolution should be 8 tokens or longer: shorter ones cost
    as much as the widest among them.

    Args:
        x: what is written. delta: the step, or what `delta_bias` and softplus make it of.
        A: rates, negative where the state fades. B, C: where to write, and where to read.
        D: share of x in the output. z: its gate. Either is left out if None.
        delta_bias: added to delta. delta_softplus: then softplus is taken.
        resolution: R, for each token or one for all; 1 if None. It has no gradient.
        initial_state: h before the first token, or a state that was returned; zero if None.
        padding: True for tokens, False for padding, which may stand anywhere; outputs there are 0.
        cu_seqlens: sequences packed one after another in a batch of one: 0, their ends, T. States
            then have a row for each.
        return_state: also return the state after the last token of each row (or sequence).
        rollback_limit: how many tokens `ScanState.rollback` may take back.
        implementation: "reference" (a loop), "chunked", "native" (compiled ahead of time, on the
            CPU), or None to choose; `explain_selective_scan` tells the choice.

    Returns:
        [B, T, I], or (that, state). Half precision is computed, and its state kept, in float32.

    Raises:
        ArgumentError: shapes, dtypes or settings that do not fit, each by name.
        UnsupportedError: what the reference cannot do; "native" where it cannot run; gradients of
            gradients of all but the reference.

    Source: Gu and Dao 2023 (arXiv 2312.00752), equations 2 and 4, algorithm 2, with their
    simplified B; the nesting of channels is ours.
    """
    given = Scan(
        x=x,
        delta=delta,
        A=A,
        B=B,
        C=C,
        D=D,
        z=z,
        delta_bias=delta_bias,
        resolution=resolution,
        padding=padding,
        cu_seqlens=cu_seqlens,
        rollback_limit=rollback_limit,
        implementation=implementation,
    )
    check_scan(given)
    if implementation == "reference":
        return _by_reference(given, delta_softplus, initial_state, return_state)
    return _scanned(given, delta_softplus, initial_state, return_state)


def _by_reference(
    given: Scan,
    delta_softplus: bool,
    initial_state: Tensor | ScanState | None,
    return_state: bool,
) -> Tensor | tuple[Tensor, ScanState]:
    if given.cu_seqlens is not None or given.rollback_limit:
        raise UnsupportedError(
            "implementation: the reference reads whole rows and takes nothing back. Fix: call it "
            "sequence by sequence."
        )
    x, padding = given.x, given.padding
    before = _state_before(initial_state, given, x)
    y, channels = reference_selective_scan(
        x,
        given.delta,
        given.A,
        given.B,
        given.C,
        given.D,
        z=given.z,
        delta_bias=given.delta_bias,
        delta_softplus=delta_softplus,
        resolution=given.resolution,
        initial_state=before.channels,
        padding=padding,
    )
    read = torch.full_like(before.length, x.shape[1]) if padding is None else padding.sum(1)
    return (y, ScanState(channels, length=before.length + read)) if return_state else y


def _scanned(
    given: Scan,
    delta_softplus: bool,
    initial_state: Tensor | ScanState | None,
    return_state: bool,
) -> Tensor | tuple[Tensor, ScanState]:
    dtype = given.x.dtype
    given = given.promoted()
    x, delta, A = given.x, given.delta, given.A
    if given.delta_bias is not None:
        delta = delta + given.delta_bias
    if delta_softplus:
        delta = softplus(delta)
    rows = _ragged(given)
    tokens, read, lengths = _as_rows(rows, (x, delta, given.B, given.C), _widths(given))
    before = _state_before(initial_state, given, tokens[0])
    x_rows, delta, write, widths = tokens
    how = given.implementation
    start = before.current(A, implementation=how)
    y, channels = scan(x_rows, delta, A, write, read, start, widths=widths, implementation=how)
    assert y is not None
    if rows is not None:
        y = rows.back(y[:, None])[:, 0]
    if given.D is not None:
        y = torch.addcmul(y, given.D, x)
    if given.z is not None:
        y = y * silu(given.z)
    if given.padding is not None:
        y = y.masked_fill(~given.padding[..., None], 0.0)
    y = y.to(dtype)
    if not return_state:
        return y
    return y, state_after(before, channels, tokens, lengths, A, implementation=how)


def _widths(given: Scan) -> Tensor | None:
    """[B, T], or None where every token uses all channels."""
    if given.resolution is None:
        return None
    channels = given.A.shape[1]
    used = torch.as_tensor(channels_used(given.resolution, channels), device=given.x.device)
    return None if bool((used == channels).all()) else used.expand(given.x.shape[:2])


def _ragged(given: Scan) -> Ragged | None:
    if given.cu_seqlens is not None:
        return from_boundaries(given.cu_seqlens, given.x.shape[1])
    return None if given.padding is None else from_padding(given.padding)


def _as_rows(
    rows: Ragged | None, tensors: tuple[Tensor, Tensor, Tensor, Tensor], widths: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor | None], Tensor, Tensor]:
    """(x, delta, B, widths), C, and how many tokens each row has.

    Past its end x and delta are 0, which leaves the state as it is.
    """
    x, delta, B, C = tensors
    if rows is None:
        lengths = torch.full((x.shape[0],), x.shape[1], device=x.device)
        return (x, delta, B, widths), C, lengths
    x, delta, B, C = (rows.rows(t[:, None])[:, 0] for t in tensors)
    x, delta = (t.masked_fill(~rows.live[..., None], 0.0) for t in (x, delta))
    if widths is not None:
        widths = rows.rows(widths[:, None, :, None])[:, 0, :, 0]
    return (x, delta, B, widths), C, rows.lengths


def _state_before(initial: Tensor | ScanState | None, given: Scan, x: Tensor) -> ScanState:
    shape = (x.shape[0], *given.A.shape)
    if initial is None:
        return fresh_state(x.new_zeros(shape), rollback_limit=given.rollback_limit)
    if isinstance(initial, ScanState):
        check_initial_state(initial.channels, shape, given, initial.rollback_limit)
        return initial
    check_initial_state(initial, shape, given, given.rollback_limit)
    return fresh_state(initial.to(x), rollback_limit=given.rollback_limit)
