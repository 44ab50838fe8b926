"""Attention over ranges of keys in compiled kernels, as operators of torch.

csrc/softmax_block.h has the equations, csrc/softmax_ranges_backward.cpp those of the gradients.
Shapes: query [B, H R, T, D], key [B, H, S, D], value [B, H, S, E], bias [B, H, S], out
[B, H R, T, E], lse [B, H R, T]; query i sees keys i + lower <= j < i + upper, None for no limit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError

_NO_LIMIT = 1 << 62


def native_ranges(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> str | None:
    """Why the kernels cannot take these tensors; None if they can."""
    given = [t for t in (query, key, value, bias) if t is not None]
    if any(t.device.type != "cpu" for t in given):
        return "kernels read tensors on the CPU only"
    if query.dtype not in (torch.float32, torch.float64) or any(
        t.dtype != query.dtype for t in given
    ):
        return "kernels read float32 or float64, one for all tensors"
    chosen = native.choice()
    return None if chosen.library is not None else chosen.reason


@native.operator("softmax_ranges")
def softmax_ranges(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    scale: float,
    lower: int | None,
    upper: int | None,
) -> tuple[Tensor, Tensor]:
    """out and lse; zeros and -inf for a query that sees nothing."""
    out, lse = _answers(query, value)
    _call(
        "softmax_forward",
        (query, key, value, bias),
        (scale, lower, upper),
        out=out,
        lse=lse,
    )
    return out, lse


@native.fake_of(softmax_ranges)
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    scale: float,
    lower: int | None,
    upper: int | None,
) -> tuple[Tensor, Tensor]:
    return _answers(query, value)


@native.operator("softmax_ranges_backward")
def softmax_ranges_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor,
    d_out: Tensor,
    d_lse: Tensor,
    scale: float,
    lower: int | None,
    upper: int | None,
    of_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and, if `of_bias`, of bias (else an empty tensor)."""
    found = _gradients(query, key, value, of_bias)
    _call(
        "softmax_backward",
        (query, key, value, bias),
        (scale, lower, upper),
        out=_readable(out),
        lse=_readable(lse),
        d_out=_readable(d_out),
        d_lse=_readable(d_lse),
        d_query=found[0],
        d_key=found[1],
        d_value=found[2],
        d_bias=found[3] if of_bias else None,
    )
    return found


@native.fake_of(softmax_ranges_backward)
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor,
    d_out: Tensor,
    d_lse: Tensor,
    scale: float,
    lower: int | None,
    upper: int | None,
    of_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _gradients(query, key, value, of_bias)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bias, *ctx.rule = inputs
    ctx.save_for_backward(query, key, value, bias, *output)


def _backward(ctx: Any, d_out: Tensor, d_lse: Tensor) -> tuple[Any, ...]:
    of_bias = ctx.needs_input_grad[3]
    *found, d_bias = softmax_ranges_backward(*ctx.saved_tensors, d_out, d_lse, *ctx.rule, of_bias)
    return *found, d_bias if of_bias else None, None, None, None


def _refuse(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
    raise UnsupportedError(
        "create_graph: the compiled kernels of softmax attention are not twice differentiable. "
        "Fix: turn them off with the environment variable AAT_NATIVE=off."
    )


torch.library.register_autograd(softmax_ranges, _backward, setup_context=_save)
torch.library.register_autograd(softmax_ranges_backward, _refuse)


def _call(
    name: str,
    tensors: tuple[Tensor, Tensor, Tensor, Tensor | None],
    rule: tuple[float, int | None, int | None],
    **rest: Tensor | None,
) -> None:
    query, key, value = (_readable(t) for t in tensors[:3])
    bias = None if tensors[3] is None else _readable(tensors[3])
    scale, lower, upper = rule
    library = native.choice().library
    assert library is not None
    library.call(
        name,
        query.dtype,
        query=query,
        key=key,
        value=value,
        bias=bias,
        batch=key.shape[0],
        heads=key.shape[1],
        group=query.shape[1] // max(1, key.shape[1]),
        queries=query.shape[2],
        keys=key.shape[2],
        width=key.shape[3],
        value_width=value.shape[3],
        lower=-_NO_LIMIT if lower is None else lower,
        upper=_NO_LIMIT if upper is None else upper,
        scale=scale,
        threads=torch.get_num_threads(),
        **rest,
    )


def _readable(tensor: Tensor) -> Tensor:
    """The tensor itself where its last axis is contiguous, else a copy."""
    return tensor if tensor.shape[-1] <= 1 or tensor.stride(-1) == 1 else tensor.contiguous()


def _answers(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    shape = query.shape[:3]
    return value.new_empty(*shape, value.shape[3]), value.new_empty(shape)


def _gradients(
    query: Tensor, key: Tensor, value: Tensor, of_bias: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    whole = (t.new_empty(t.shape) for t in (query, key, value))
    return *whole, key.new_empty(key.shape[:3] if of_bias else (0,))  # type: ignore[return-value]
