"""Which gradients the operators of `native` have; importing this registers them.

For its backward pass a call keeps its arguments and its results, plain sums also the sums before
every `kept_tokens` tokens; features are evaluated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import UnsupportedError
from .native import KINDS, memory_absorb, memory_read, memory_scan
from .native_backward import memory_read_backward, memory_scan_backward
from .native_log_backward import memory_log_backward

_CHUNK = 64


def kept_tokens(features: int) -> int:
    """How many tokens apart sums are kept: more for larger sums, which then stay few beside them.

    A multiple of the 64 tokens of a chunk, as the kernel asks. With 65 features of width 64 the
    sums kept are 6 % of the gradients of query, key and value and the output.
    """
    return min(2048, max(256, -(-4 * features // _CHUNK) * _CHUNK))


def _refuse_second(name: str) -> None:
    if torch.is_grad_enabled():
        raise UnsupportedError(
            f"create_graph: {name} is not twice differentiable. Fix: pass "
            'implementation="parallel".'
        )


def _keep(
    ctx: Any,
    name: str,
    arguments: Sequence[Tensor | None],
    features: tuple[Sequence[Tensor], str, int, float, bool],
    results: Sequence[Tensor],
) -> None:
    parameters, ctx.kind, ctx.constant, ctx.background, ctx.logarithms = features
    ctx.name, ctx.counts = name, (len(arguments), len(parameters))
    ctx.save_for_backward(*arguments, *parameters, *results)
    ctx.set_materialize_grads(False)


def _kept(ctx: Any) -> tuple[list[Tensor | None], list[Tensor], list[Tensor]]:
    _refuse_second(ctx.name)
    first, second = ctx.counts[0], sum(ctx.counts)
    saved = ctx.saved_tensors
    return list(saved[:first]), list(saved[first:second]), list(saved[second:])


def _wanted(ctx: Any, places: Sequence[int], parameters: int) -> list[bool]:
    needed = ctx.needs_input_grad
    of_features = needed[parameters]
    # Of an empty list torch tells no more than that nothing is needed.
    wants_features = any(of_features) if isinstance(of_features, list | tuple) else of_features
    return [*(bool(needed[n]) for n in places), bool(wants_features)]


def _placed(ctx: Any, found: list[Tensor], wanted: list[bool]) -> tuple[list[Any], list[Any]]:
    """Gradients of arguments, None where none are wanted, and of the list of parameters."""
    count = len(wanted) - 1
    of_arguments = [g if want else None for g, want in zip(found[:count], wanted[:-1], strict=True)]
    if not ctx.logarithms:
        of_arguments.append(None)  # of levels, which plain sums have none of
    learned = iter(found[count:])
    of_features = [
        next(learned, None) if name in ("offset", "weights", "square") else None
        for name in KINDS[ctx.kind]
    ]
    return of_arguments, of_features


def _setup_scan(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *arguments, parameters, kind, constant, background, logarithms, ctx.every = inputs
    out, lse, _, _, _, *kept = output
    features = (parameters, kind, constant, background, logarithms)
    _keep(ctx, "memory_scan", arguments, features, (out, lse, *kept))


def _backward_of_scan(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    arguments, parameters, results = _kept(ctx)
    features = (parameters, ctx.kind, ctx.constant, ctx.background)
    wanted = _wanted(ctx, range(8), 8)
    of_sums = list(grads[:4])
    if ctx.logarithms:
        found = memory_log_backward(*arguments, *features, results[:2], of_sums, wanted)
    else:
        del wanted[7]
        found = memory_scan_backward(*arguments[:7], *features, ctx.every, results, of_sums, wanted)
    of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments, of_features, None, None, None, None, None)


def _setup_absorb(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *arguments, parameters, kind, constant, background, logarithms = inputs
    features = (parameters, kind, constant, background, logarithms)
    _keep(ctx, "memory_absorb", arguments, features, ())


def _backward_of_absorb(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    arguments, parameters, _ = _kept(ctx)
    features = (parameters, ctx.kind, ctx.constant, ctx.background)
    wanted = [False, *_wanted(ctx, range(7), 7)]
    of_sums = [None, None, *grads[:2]]
    if ctx.logarithms:
        found = memory_log_backward(None, *arguments, *features, [], of_sums, wanted)
    else:
        del wanted[7]
        found = memory_scan_backward(None, *arguments[:6], *features, 0, [], of_sums, wanted)
    of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments[1:], of_features, None, None, None, None)


def _setup_read(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *arguments, parameters, kind, constant, background, logarithms = inputs
    features = (parameters, kind, constant, background, logarithms)
    _keep(ctx, "memory_read", arguments, features, output)


def _backward_of_read(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    (query, *sums), parameters, results = _kept(ctx)
    features = (parameters, ctx.kind, ctx.constant, ctx.background)
    wanted = _wanted(ctx, range(4), 4)
    if ctx.logarithms:
        of_query, *of_sums = wanted
        wanted = [of_query, False, False, False, False, *of_sums]
        found = memory_log_backward(
            query, None, None, None, None, *sums, *features, results, [*grads, None, None], wanted
        )
        of_arguments, of_features = _placed(ctx, found, wanted)
        of_arguments = [of_arguments[0], *of_arguments[5:]]
    else:
        del wanted[3]
        found = memory_read_backward(query, *sums[:2], *features, results, list(grads), wanted)
        of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments, of_features, None, None, None, None)


torch.library.register_autograd(memory_scan, _backward_of_scan, setup_context=_setup_scan)
torch.library.register_autograd(memory_absorb, _backward_of_absorb, setup_context=_setup_absorb)
torch.library.register_autograd(memory_read, _backward_of_read, setup_context=_setup_read)
