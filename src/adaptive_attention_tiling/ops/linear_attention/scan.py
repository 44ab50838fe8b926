"""A function applied chunk by chunk along time, whose backward pass computes chunks again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UnsupportedError

Tensors = tuple[Tensor, ...]
Step = Callable[[Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]


def chunk_scan(
    step: Step, parameters: Tensors, carry: Tensors, inputs: Tensors, *, chunk: int
) -> tuple[Tensors, Tensors]:
    """outputs, carry = step(parameters, carry, inputs), over chunks of the inputs in turn.

    Inputs and outputs have time as their last axis but one; outputs are joined along it. Memory
    for the backward pass: the inputs, and the carry at every boundary between chunks; what a step
    computes inside is computed again. Not twice differentiable.
    """
    if inputs[0].shape[-2] <= chunk:
        return step(parameters, carry, inputs)
    tensors = (*parameters, *carry, *inputs)
    needs_graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if needs_graph and not torch.compiler.is_compiling():  # compilers choose what they keep
        sizes = (len(parameters), len(carry))
        results = _Scan.apply(step, chunk, sizes, *tensors)  # type: ignore[no-untyped-call]
        split = len(results) - len(carry)
        return results[:split], results[split:]
    outputs, carry, _ = _forward(step, parameters, carry, inputs, chunk)
    return outputs, carry


def _forward(
    step: Step,
    parameters: Tensors,
    carry: Tensors,
    inputs: Tensors,
    chunk: int,
    *,
    keep: bool = False,
) -> tuple[Tensors, Tensors, list[Tensors]]:
    length = inputs[0].shape[-2]
    joined: Tensors = ()
    kept: list[Tensors] = []
    for start in range(0, length, chunk):
        if keep:
            kept.append(carry)
        pieces, carry = step(parameters, carry, _slices(inputs, start, chunk))
        if not joined:
            joined = tuple(p.new_empty(*p.shape[:-2], length, p.shape[-1]) for p in pieces)
        for whole, piece in zip(joined, pieces, strict=True):
            whole[..., start : start + chunk, :] = piece
    return joined, carry, kept


def _slices(tensors: Sequence[Tensor], start: int, chunk: int) -> Tensors:
    return tuple(tensor[..., start : start + chunk, :] for tensor in tensors)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: Step, chunk: int, sizes: tuple[int, int], *tensors: Tensor
    ) -> Tensors:
        parameters, carry, inputs = _parts(tensors, sizes)
        outputs, final, kept = _forward(step, parameters, carry, inputs, chunk, keep=True)
        ctx.step, ctx.chunk, ctx.sizes = step, chunk, sizes
        ctx.outputs = len(outputs)
        ctx.save_for_backward(*tensors, *(t for boundary in kept[1:] for t in boundary))
        # A carry that comes back unchanged must not be the tensor that came in.
        return (*outputs, *(t.view_as(t) for t in final))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "create_graph: reading in chunks is not twice differentiable. Fix: pass "
                'implementation="parallel".'
            )
        saved = ctx.saved_tensors
        count = len(ctx.needs_input_grad) - 3
        tensors, boundaries = saved[:count], saved[count:]
        parameters, carry, inputs = _parts(tensors, ctx.sizes)
        needed = _parts(ctx.needs_input_grad[3:], ctx.sizes)
        out_grads, carry_grads = grads[: ctx.outputs], grads[ctx.outputs :]
        chunks = -(-inputs[0].shape[-2] // ctx.chunk)
        width = len(carry)
        kept = [carry, *(boundaries[n * width : (n + 1) * width] for n in range(chunks - 1))]
        parameter_grads: list[Tensor | None] = [None] * len(parameters)
        input_grads = [
            torch.empty_like(t) if need else None for t, need in zip(inputs, needed[2], strict=True)
        ]
        for number in reversed(range(len(kept))):
            start = number * ctx.chunk
            carried = needed[1] if number == 0 else tuple(t.is_floating_point() for t in carry)
            with torch.enable_grad():
                leaves = (
                    _leaves(parameters, needed[0]),
                    _leaves(kept[number], carried),
                    _leaves(_slices(inputs, start, ctx.chunk), needed[2]),
                )
                outputs, final = ctx.step(*leaves)
            found = _gradients(
                (*outputs, *final),
                (*_slices(out_grads, start, ctx.chunk), *carry_grads),
                [leaf for part in leaves for leaf in part],
            )
            of_parameters, carry_grads, of_inputs = _parts(found, ctx.sizes)
            for n, grad in enumerate(of_parameters):
                total = parameter_grads[n]
                if total is None:
                    parameter_grads[n] = grad
                elif grad is not None:
                    total += grad
            for whole, grad in zip(input_grads, of_inputs, strict=True):
                if whole is not None:
                    whole[..., start : start + ctx.chunk, :] = 0.0 if grad is None else grad
        return (None, None, None, *parameter_grads, *carry_grads, *input_grads)


def _parts(values: Sequence[Any], sizes: tuple[int, int]) -> tuple[Any, Any, Any]:
    first, second = sizes[0], sizes[0] + sizes[1]
    return tuple(values[:first]), tuple(values[first:second]), tuple(values[second:])


def _leaves(tensors: Tensors, needed: Sequence[bool]) -> Tensors:
    return tuple(t.detach().requires_grad_(need) for t, need in zip(tensors, needed, strict=True))


def _gradients(
    results: Tensors, grads: Sequence[Tensor | None], leaves: list[Tensor]
) -> list[Tensor | None]:
    """Gradients of sum(results . grads); None where a leaf has no part in it."""
    pairs = [
        (r, g) for r, g in zip(results, grads, strict=True) if r.requires_grad and g is not None
    ]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if not pairs or not wanted:
        return [None] * len(leaves)
    outputs, outer = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, outer, allow_unused=True))
    return [next(found) if leaf.requires_grad else None for leaf in leaves]
