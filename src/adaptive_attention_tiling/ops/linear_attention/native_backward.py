"""Gradients of reading plain sums natively, as operators of torch.

The equations stand in csrc/memory_scan_backward.cpp. Shapes as in `native`; the origin of features
and norm_factor are constants. `native_log_backward` has the gradients of sums in log space.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...backends import native
from .native import KINDS, feature_fields, readable

# Arguments whose gradients a backward pass can give, beside those of the features.
_OF_SCAN = ("query", "key", "value", "gate", "decay", "values", "mass")
_OF_READ = ("query", "values", "mass")


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
    fresh = room_for(arguments, wanted)
    of_rows = room_for_features(parameters, kind, key.shape[0], wanted=wanted[-1])
    out, lse, kept_values, kept_mass = results if results else (None,) * 4
    out_grad, lse_grad, values_grad, mass_grad = (readable_or_none(grad) for grad in grads)
    named = dict(zip(_OF_SCAN, (readable_or_none(t) for t in arguments), strict=True))
    run_kernel(
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
        **grad_fields(_OF_SCAN, fresh, of_rows),
        group=0 if query is None else query.shape[1] // values.shape[1],
        tokens=key.shape[2],
        every=every,
        **feature_fields(kind, parameters, constant, background, width=key.shape[3]),
    )
    return [*shown(fresh), *sum_of_rows(of_rows, parameters, kind)]


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
    fresh = room_for((query, key, value, gate, decay, values, mass), wanted)
    return [*shown(fresh), *like_features(parameters, kind, values, wanted=wanted[-1])]


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
    fresh = room_for((query, values, mass), wanted)
    of_rows = room_for_features(parameters, kind, query.shape[0], wanted=wanted[-1])
    out, lse = results
    out_grad, lse_grad = (readable_or_none(grad) for grad in grads)
    query, values, mass = (readable(t) for t in (query, values, mass))
    run_kernel(
        "memory_read_backward",
        values,
        query=query,
        values=values,
        mass=mass,
        out=out,
        lse=lse,
        out_grad=out_grad,
        lse_grad=lse_grad,
        **grad_fields(_OF_READ, fresh, of_rows),
        group=query.shape[1] // values.shape[1],
        tokens=query.shape[2],
        **feature_fields(kind, parameters, constant, background, width=query.shape[3]),
    )
    return [*shown(fresh), *sum_of_rows(of_rows, parameters, kind)]


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
    fresh = room_for((query, values, mass), wanted)
    return [*shown(fresh), *like_features(parameters, kind, values, wanted=wanted[-1])]


def run_kernel(name: str, sums: Tensor, **fields: Tensor | float | int | None) -> None:
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


def readable_or_none(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else readable(tensor)


def room_for(arguments: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Room for the gradients that are wanted; always contiguous."""
    return [
        t.new_empty(t.shape) if t is not None and want else None
        for t, want in zip(arguments, wanted, strict=False)
    ]


def shown(gradients: Sequence[Tensor | None]) -> list[Tensor]:
    return [torch.empty(0) if t is None else t for t in gradients]


def room_for_features(
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


def grad_fields(
    names: Sequence[str], fresh: Sequence[Tensor | None], of_rows: tuple[Tensor, Tensor] | None
) -> dict[str, Tensor | None]:
    fields = {f"{name}_grad": t for name, t in zip(names, fresh, strict=True)}
    if of_rows is not None:
        fields["offset_grad"], fields["weights_grad"] = of_rows
    return fields


def sum_of_rows(
    of_rows: tuple[Tensor, Tensor] | None, parameters: Sequence[Tensor], kind: str
) -> list[Tensor]:
    if of_rows is None:
        return []
    offset, weights = (part.sum(0) for part in of_rows)
    if "square" not in KINDS[kind]:
        return [offset, weights]
    return [offset, weights[..., :-1].contiguous(), weights[..., -1:].contiguous()]


def like_features(
    parameters: Sequence[Tensor], kind: str, values: Tensor, *, wanted: bool
) -> list[Tensor]:
    if not (wanted and parameters):
        return []
    named = dict(zip(KINDS[kind], parameters, strict=True))
    learned = (named[name] for name in ("offset", "weights", "square") if name in named)
    return [t.new_empty(t.shape) for t in learned]
