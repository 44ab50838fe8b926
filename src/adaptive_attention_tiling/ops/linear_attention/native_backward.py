"""Gradients of reading natively, as operators of torch; registered with those of `native`.

The equations stand in csrc/memory_scan_backward.cpp. For its backward pass a call keeps its
arguments, its results and the sums before every `kept_tokens` tokens; features are evaluated again.
Shapes as in `native`; sums have no levels, and the origin of features is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...backends import native
from ...errors import UnsupportedError
from .native import KINDS, feature_fields, memory_absorb, memory_read, memory_scan, readable

_CHUNK = 64
# Arguments whose gradients a backward pass can give, beside those of the features.
_OF_SCAN = ("query", "key", "value", "gate", "decay", "values", "mass")
_OF_READ = ("query", "values", "mass")


def kept_tokens(features: int) -> int:
    """How many tokens apart sums are kept: more for larger sums, which then stay few beside them.

    A multiple of the 64 tokens of a chunk, as the kernel asks. With 65 features of width 64 the
    sums kept are 6 % of the gradients of query, key and value and the output.
    """
    return min(2048, max(256, -(-4 * features // _CHUNK) * _CHUNK))


@native.operator("memory_scan_backward")
def memory_scan_backward(
    query: Tensor | None,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    every: int,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Gradients of `memory_scan`, or without a query of `memory_absorb`.

    Args:
        results: out, lse, and the values and masses kept, where there is a query.
        grads: of out, lse, and the last values and mass; None for zeros.
        wanted: whether those of each of query, key, value, gate, decay, values and mass, and of the
            features are.

    Returns:
        The gradients of these in their order (of features: offset, weights, square), empty where
        they are not wanted.
    """
    arguments = (query, key, value, gate, decay, values, mass)
    fresh = _fresh(arguments, wanted)
    of_rows = _of_rows(parameters, kind, key.shape[0], wanted=wanted[-1])
    out, lse, kept_values, kept_mass = results if results else (None,) * 4
    out_grad, lse_grad, values_grad, mass_grad = (_readable(grad) for grad in grads)
    named = dict(zip(_OF_SCAN, (_readable(t) for t in arguments), strict=True))
    _call(
        "memory_scan_backward",
        values,
        query=named["query"],
        key=named["key"],
        value=named["value"],
        gate=gate,
        decay=decay,
        initial_values=named["values"],
        initial_mass=named["mass"],
        out=out,
        lse=lse,
        kept_values=kept_values.flatten(0, 1) if every and kept_values is not None else None,
        kept_mass=kept_mass.flatten(0, 1) if every and kept_mass is not None else None,
        out_grad=out_grad,
        lse_grad=lse_grad,
        after_values_grad=values_grad,
        after_mass_grad=mass_grad,
        **_grad_fields(_OF_SCAN, fresh, of_rows),
        group=0 if query is None else query.shape[1] // values.shape[1],
        tokens=key.shape[2],
        every=every,
        **feature_fields(kind, parameters, constant, background, width=key.shape[3]),
    )
    return [*_shown(fresh), *_summed(of_rows, parameters, kind)]


@native.fake_of(memory_scan_backward)
def _(
    query: Tensor | None,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    every: int,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    fresh = _fresh((query, key, value, gate, decay, values, mass), wanted)
    return [*_shown(fresh), *_like_features(parameters, kind, values, wanted=wanted[-1])]


@native.operator("memory_read_backward")
def memory_read_backward(
    query: Tensor,
    values: Tensor,
    mass: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    """Gradients of `memory_read`, of query, values, mass and the features, as above."""
    fresh = _fresh((query, values, mass), wanted)
    of_rows = _of_rows(parameters, kind, query.shape[0], wanted=wanted[-1])
    out, lse = results
    out_grad, lse_grad = (_readable(grad) for grad in grads)
    query, values, mass = (readable(t) for t in (query, values, mass))
    _call(
        "memory_read_backward",
        values,
        query=query,
        values=values,
        mass=mass,
        out=out,
        lse=lse,
        out_grad=out_grad,
        lse_grad=lse_grad,
        **_grad_fields(_OF_READ, fresh, of_rows),
        group=query.shape[1] // values.shape[1],
        tokens=query.shape[2],
        **feature_fields(kind, parameters, constant, background, width=query.shape[3]),
    )
    return [*_shown(fresh), *_summed(of_rows, parameters, kind)]


@native.fake_of(memory_read_backward)
def _(
    query: Tensor,
    values: Tensor,
    mass: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor]:
    fresh = _fresh((query, values, mass), wanted)
    return [*_shown(fresh), *_like_features(parameters, kind, values, wanted=wanted[-1])]


def _call(name: str, sums: Tensor, **fields: Tensor | float | int | None) -> None:
    """Run a kernel; the shape of `sums` [B, H, F, E] tells it most sizes."""
    library = native.choice().library
    assert library is not None
    library.call(
        name,
        sums.dtype,
        batch=sums.shape[0],
        heads=sums.shape[1],
        features=sums.shape[2],
        value_width=sums.shape[3],
        threads=torch.get_num_threads(),
        **fields,
    )


def _readable(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else readable(tensor)


def _fresh(arguments: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Room for the gradients that are wanted; always contiguous."""
    return [
        t.new_empty(t.shape) if t is not None and want else None
        for t, want in zip(arguments, wanted, strict=False)
    ]


def _shown(gradients: Sequence[Tensor | None]) -> list[Tensor]:
    return [torch.empty(0) if t is None else t for t in gradients]


def _of_rows(
    parameters: Sequence[Tensor], kind: str, batch: int, *, wanted: bool
) -> tuple[Tensor, Tensor] | None:
    """Gradients of offset and weights (and square, as their last column) for each row apart."""
    if not (wanted and parameters):
        return None
    named = dict(zip(KINDS[kind], parameters, strict=True))
    offset, weights = named["offset"], named["weights"]
    columns = weights.shape[-1] + ("square" in named)
    return (
        offset.new_empty(batch, *offset.shape),
        weights.new_empty(batch, *weights.shape[:-1], columns),
    )


def _grad_fields(
    names: Sequence[str], fresh: Sequence[Tensor | None], of_rows: tuple[Tensor, Tensor] | None
) -> dict[str, Tensor | None]:
    fields = {f"{name}_grad": t for name, t in zip(names, fresh, strict=True)}
    if of_rows is not None:
        fields["offset_grad"], fields["weights_grad"] = of_rows
    return fields


def _summed(
    of_rows: tuple[Tensor, Tensor] | None, parameters: Sequence[Tensor], kind: str
) -> list[Tensor]:
    if of_rows is None:
        return []
    offset, weights = (part.sum(0) for part in of_rows)
    if "square" not in KINDS[kind]:
        return [offset, weights]
    return [offset, weights[..., :-1].contiguous(), weights[..., -1:].contiguous()]


def _like_features(
    parameters: Sequence[Tensor], kind: str, values: Tensor, *, wanted: bool
) -> list[Tensor]:
    if not (wanted and parameters):
        return []
    named = dict(zip(KINDS[kind], parameters, strict=True))
    learned = (named[name] for name in ("offset", "weights", "square") if name in named)
    return [t.new_empty(t.shape) for t in learned]


def _check(parameters: Sequence[Tensor], kind: str, *, logarithms: bool) -> None:
    if logarithms:
        raise UnsupportedError(
            "implementation: sums in log space are not differentiable natively. Fix: pass "
            'implementation="chunked".'
        )
    named = dict(zip(KINDS[kind], parameters, strict=True))
    if "norm_factor" in named and named["norm_factor"].numel():
        raise UnsupportedError(
            "norm_factor: unbounded features are not differentiable natively. Fix: pass "
            'implementation="chunked".'
        )


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
    parameters, ctx.kind, ctx.constant, ctx.background, logarithms = features
    _check(parameters, ctx.kind, logarithms=logarithms)
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
    learned = iter(found[count:])
    of_features = [
        next(learned, None) if name in ("offset", "weights", "square") else None
        for name in KINDS[ctx.kind]
    ]
    return of_arguments, of_features


def _setup_scan(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    query, key, value, gate, decay, values, mass, _, *features, ctx.every = inputs
    out, lse, _, _, _, *kept = output
    arguments = (query, key, value, gate, decay, values, mass)
    _keep(ctx, "memory_scan", arguments, tuple(features), (out, lse, *kept))


def _backward_of_scan(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    arguments, parameters, results = _kept(ctx)
    wanted = _wanted(ctx, range(7), 8)
    found = memory_scan_backward(
        *arguments,
        parameters,
        ctx.kind,
        ctx.constant,
        ctx.background,
        ctx.every,
        results,
        list(grads[:4]),
        wanted,
    )
    of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments, None, of_features, None, None, None, None, None)


def _setup_absorb(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    key, value, gate, decay, values, mass, _, *features = inputs
    arguments = (key, value, gate, decay, values, mass)
    _keep(ctx, "memory_absorb", arguments, tuple(features), ())


def _backward_of_absorb(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    arguments, parameters, _ = _kept(ctx)
    wanted = [False, *_wanted(ctx, range(6), 7)]
    found = memory_scan_backward(
        None,
        *arguments,
        parameters,
        ctx.kind,
        ctx.constant,
        ctx.background,
        0,
        [],
        [None, None, *grads[:2]],
        wanted,
    )
    of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments[1:], None, of_features, None, None, None, None)


def _setup_read(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    query, values, mass, _, *features = inputs
    _keep(ctx, "memory_read", (query, values, mass), tuple(features), output)


def _backward_of_read(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
    arguments, parameters, results = _kept(ctx)
    wanted = _wanted(ctx, range(3), 4)
    found = memory_read_backward(
        *arguments,
        parameters,
        ctx.kind,
        ctx.constant,
        ctx.background,
        results,
        list(grads),
        wanted,
    )
    of_arguments, of_features = _placed(ctx, found, wanted)
    return (*of_arguments, None, of_features, None, None, None, None)


torch.library.register_autograd(memory_scan, _backward_of_scan, setup_context=_setup_scan)
torch.library.register_autograd(memory_absorb, _backward_of_absorb, setup_context=_setup_absorb)
torch.library.register_autograd(memory_read, _backward_of_read, setup_context=_setup_read)
