"""The scan chunk by chunk: factors of a whole chunk at once, then one operation a token."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import UnsupportedError
from .widths import Piece, pieces

# Numbers that a chunk's factors may hold, so that they stay in the cache; and tokens of a chunk.
_NUMBERS = 2**18
_SHORTEST, _LONGEST = 8, 64


def chunked_scan(
    x: Float[Tensor, "B T I"],
    delta: Float[Tensor, "B T I"],
    A: Float[Tensor, "I N"],
    write: Float[Tensor, "B T N"],
    read: Float[Tensor, "B T N"] | None,
    start: Float[Tensor, "B I N"],
    *,
    widths: Int[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T I"] | None, Float[Tensor, "B I N"]]:
    """y_t = C_t . h_t for every token, None if `read` (C) is, and the state after the last one.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t in the first `widths` channels, B being `write`.
    Memory for the backward pass: the inputs and a state for each chunk; what happens inside a
    chunk is computed again. Not twice differentiable.
    """
    batch, inner, channels = start.shape

    def chunk(width: int) -> int:
        return min(_LONGEST, max(_SHORTEST, _NUMBERS // (batch * inner * width)))

    plan = pieces(widths, channels, x.shape[1], chunk)
    tensors = [x, delta, A, write, start] + ([] if read is None else [read])
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        y, end = _Scan.apply(plan, x, delta, A, write, read, start)  # type: ignore[no-untyped-call]
    else:
        inputs = _Inputs(x, delta, A.T.contiguous(), write, read)
        y, end, _ = _forward(plan, inputs, _channels_first(start), keep=False)
        end = end.transpose(1, 2).contiguous()
    return y, end


class _Inputs(NamedTuple):
    """x, delta [B, T, I]; A [N, I]; write, read [B, T, N]."""

    x: Tensor
    delta: Tensor
    A: Tensor
    write: Tensor
    read: Tensor | None


class _Inside(NamedTuple):
    """A piece from within, time first: per token [L, B, I] or [L, B, n], per channel [.., n, I]."""

    x: Tensor
    delta: Tensor
    write: Tensor
    decay: Tensor
    states: Tensor


def _channels_first(state: Tensor) -> Tensor:
    # The inner width is the long axis; last in memory, it keeps operations on few channels fast.
    # Always a copy, because it is written to.
    return state.transpose(1, 2).clone(memory_format=torch.contiguous_format)


def _inside(piece: Piece, inputs: _Inputs, before: Tensor) -> _Inside:
    x, delta = piece.cut(inputs.x), piece.cut(inputs.delta)
    write = piece.channels(inputs.write)
    decay = delta[:, :, None] * inputs.A[: piece.width]
    if piece.live is not None:
        decay.mul_(piece.live[..., None])
    decay.exp_()
    states = (delta * x)[:, :, None] * write[..., None]
    for factor, state in zip(decay.unbind(), states.unbind(), strict=True):
        before = state.addcmul_(factor, before)
    return _Inside(x, delta, write, decay, states)


def _forward(
    plan: list[Piece], inputs: _Inputs, state: Tensor, *, keep: bool
) -> tuple[Tensor | None, Tensor, list[Tensor]]:
    kept: list[Tensor] = []
    y = None if inputs.read is None else torch.empty_like(inputs.x)
    for piece in plan:
        before = piece.carried(state).clone()
        if keep:
            kept.append(before)
        states = _inside(piece, inputs, before).states
        piece.carry(state, states[-1])
        if y is not None and inputs.read is not None:
            piece.put(y, (states * piece.channels(inputs.read)[..., None]).sum(2))
    return y, state, kept


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: list[Piece],
        x: Tensor,
        delta: Tensor,
        A: Tensor,
        write: Tensor,
        read: Tensor | None,
        start: Tensor,
    ) -> tuple[Tensor | None, Tensor]:
        inputs = _Inputs(x, delta, A.T.contiguous(), write, read)
        y, end, kept = _forward(plan, inputs, _channels_first(start), keep=True)
        ctx.plan = plan
        ctx.save_for_backward(*inputs, *kept)
        return y, end.transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, y_grad: Tensor | None, end_grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "create_graph: the scan in chunks is not twice differentiable. Fix: pass "
                'implementation="reference".'
            )
        saved = ctx.saved_tensors  # under checkpointing they can be asked for once only
        inputs, kept = _Inputs(*saved[:5]), saved[5:]
        x, delta, A, write = (torch.zeros_like(t) for t in inputs[:4])
        read = None if inputs.read is None else torch.zeros_like(inputs.read)
        grads = _Inputs(x, delta, A, write, read)
        state_grad = _channels_first(end_grad)
        for piece, before in zip(reversed(ctx.plan), reversed(kept), strict=True):
            out = None if y_grad is None or inputs.read is None else piece.cut(y_grad)
            after = piece.carried(state_grad)
            piece.carry(state_grad, _backward(piece, inputs, before, out, after, grads))
        return None, x, delta, A.T, write, read, state_grad.transpose(1, 2)


def _backward(
    piece: Piece,
    inputs: _Inputs,
    before: Tensor,
    y_grad: Tensor | None,
    after_grad: Tensor,
    grads: _Inputs,
) -> Tensor:
    """Adds to `grads` what the piece contributes; returns the gradient of the state before it."""
    x, delta, write, decay, states = _inside(piece, inputs, before)
    if y_grad is None or inputs.read is None:
        grad = torch.zeros_like(states)  # of the state after each token
    else:
        grad = piece.channels(inputs.read)[..., None] * y_grad[:, :, None]
        assert grads.read is not None
        piece.put_channels(grads.read, torch.matmul(states, y_grad[..., None])[..., 0])
    grad[-1] += after_grad
    steps = list(zip(grad.unbind(), decay.unbind(), strict=True))
    for (later, factor), (earlier, _) in pairwise(reversed(steps)):
        earlier.addcmul_(factor, later)
    before_grad = decay[0] * grad[0]
    piece.put_channels(grads.write, torch.matmul(grad, (delta * x)[..., None])[..., 0])
    written = torch.matmul(write[:, :, None], grad)[:, :, 0]  # of delta x
    piece.put(grads.x, written * delta)
    # From here on `decay` holds the gradient of its own logarithm delta A.
    decay[0] *= before
    decay[1:] *= states[:-1]
    decay *= grad
    if piece.live is not None:
        decay *= piece.live[..., None]
    A = inputs.A[: piece.width]
    piece.put(grads.delta, torch.addcmul((decay * A).sum(2), written, x))
    grads.A[: piece.width] += decay.mul_(delta[:, :, None]).sum((0, 1))
    return before_grad
