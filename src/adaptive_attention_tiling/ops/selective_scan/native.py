"""The scan by kernels that were compiled ahead of time (csrc/selective_scan.cpp)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError

# Tokens between two states that are kept for the backward pass: AAT_SCAN_CHUNK of the header.
_CHUNK = 32


def native_scan(
    x: Float[Tensor, "B T I"],
    delta: Float[Tensor, "B T I"],
    A: Float[Tensor, "I N"],
    write: Float[Tensor, "B T N"],
    read: Float[Tensor, "B T N"] | None,
    start: Float[Tensor, "B I N"],
    *,
    widths: Int[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T I"] | None, Float[Tensor, "B I N"]]:
    """What `chunked_scan` computes; each token works on its own width, however short the runs.

    Memory for the backward pass: the inputs, and a state for each 32 tokens. Not twice
    differentiable.
    """
    tensors = [x, delta, A, write, start] + ([] if read is None else [read])
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    y, end, _ = selective_scan_op(x, delta, A, write, read, start, widths, keep)
    return None if read is None else y, end


@native.operator("selective_scan")
def selective_scan_op(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor | None,
    start: Tensor,
    widths: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, the last state, the states kept [B, chunks, N, I]); y is empty without `read`."""
    y, end, kept = _outputs(x, delta, A, write, read, start, widths, keep)
    _call(
        "selective_scan",
        (x, A),
        x=x,
        delta=delta,
        A=A,
        B=write,
        C=read,
        start=start,
        widths=widths,
        y=None if read is None else y,
        end=end,
        kept=kept if keep else None,
    )
    return y, end, kept


@native.fake_of(selective_scan_op)
def _outputs(
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor | None,
    start: Tensor,
    widths: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, tokens, inner = x.shape
    shape = (batch, (tokens + _CHUNK - 1) // _CHUNK, A.shape[1], inner)
    y = x.new_empty(x.shape if read is not None else 0)
    return y, start.new_empty(start.shape), x.new_empty(shape if keep else 0)


@native.operator("selective_scan_backward")
def selective_scan_backward_op(
    y_grad: Tensor | None,
    end_grad: Tensor,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor | None,
    widths: Tensor | None,
    kept: Tensor,
) -> list[Tensor]:
    """Gradients of x, delta, A, write, the first state and, if there is one, `read`."""
    grads: list[Tensor] = _gradients(y_grad, end_grad, x, delta, A, write, read, widths, kept)
    outer = None if read is None else y_grad
    _call(
        "selective_scan_backward",
        (x, A),
        x=x,
        delta=delta,
        A=A,
        B=write,
        C=None if outer is None else read,
        widths=widths,
        kept=kept,
        y_grad=outer,
        end_grad=end_grad,
        x_grad=grads[0],
        delta_grad=grads[1],
        A_grad=grads[2],
        B_grad=grads[3],
        start_grad=grads[4],
        C_grad=None if outer is None else grads[5],
    )
    if read is not None and outer is None:
        grads[5].zero_()
    return grads


@native.fake_of(selective_scan_backward_op)
def _gradients(
    y_grad: Tensor | None,
    end_grad: Tensor,
    x: Tensor,
    delta: Tensor,
    A: Tensor,
    write: Tensor,
    read: Tensor | None,
    widths: Tensor | None,
    kept: Tensor,
) -> list[Tensor]:
    leaves = (x, delta, A, write, end_grad) + (() if read is None else (read,))
    return [leaf.new_empty(leaf.shape) for leaf in leaves]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, delta, A, write, read, start, widths, keep = inputs
    ctx.set_materialize_grads(False)
    ctx.shape, ctx.kept = start.shape, keep
    ctx.save_for_backward(x, delta, A, write, read, widths, output[2])


def _differentiate(
    ctx: Any, y_grad: Tensor | None, end_grad: Tensor | None, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            "create_graph: the native scan is not twice differentiable. Fix: pass "
            'implementation="reference".'
        )
    if not ctx.kept:
        raise UnsupportedError(
            "keep: the scan kept no states, which its gradient needs. Fix: call with keep=True."
        )
    x, delta, A, write, read, widths, kept = ctx.saved_tensors
    if end_grad is None:
        end_grad = x.new_zeros(ctx.shape)
    grads = selective_scan_backward_op(y_grad, end_grad, x, delta, A, write, read, widths, kept)
    of_read = None if read is None else grads[5]
    return *grads[:4], of_read, grads[4], None, None


torch.library.register_autograd(selective_scan_op, _differentiate, setup_context=_save)


def _call(name: str, sized: tuple[Tensor, Tensor], **tensors: Tensor | None) -> None:
    """Run a kernel on x [B, T, I] and A [I, N]."""
    x, A = sized
    library = native.choice().library
    if library is None:
        raise UnsupportedError(
            f"{name}: {native.choice().reason}. Fix: leave the choice to `selective_scan`."
        )
    # Copies are held until the kernel is done.
    read = {key: None if t is None else _in_rows(t) for key, t in tensors.items()}
    batch, tokens, inner = x.shape
    library.call(
        name,
        x.dtype,
        **read,
        batch=batch,
        tokens=tokens,
        inner=inner,
        channels=A.shape[1],
        threads=torch.get_num_threads(),
    )


def _in_rows(tensor: Tensor) -> Tensor:
    """With contiguous rows; outputs, which are contiguous, as they are."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] <= 1 else tensor.contiguous()
