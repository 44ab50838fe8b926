"""Attention with a memory of fixed size in compiled kernels, as operators of torch.

The equations, and why no digit depends on how tokens are cut into pieces, stand in
csrc/memory_scan.cpp. Shapes: query [B, H R, T, D], key [B, H, T, D], value [B, H, T, E], gate
[B, H, T, 1], decay [B, H, T, 1 or F], sums as in `MemorySums`; `parameters` belong to the kind of
features, see `KINDS`. With `logarithms` features are kept as logarithms and sums have levels,
otherwise levels are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...backends import native
from ...errors import ArgumentError

# What features are computed from; csrc/feature_map.h has the equations.
KINDS: dict[str, tuple[str, ...]] = {
    "given": (),
    "diagonal": ("origin", "norm_factor", "offset", "weights"),
    "scalar": ("origin", "norm_factor", "offset", "weights", "square"),
    "fidelity": (),
    "complex_fidelity": (),
}


@native.operator("memory_scan")
def memory_scan(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
    every: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Read a key, answer the queries of its time, and so on.

    Returns:
        out [B, H R, T, E] and lse [B, H R, T]; the sums after the last key; and, if `every` > 0,
        values [B, H, N, F, E] and mass [B, H, N, F] before tokens 0, every, 2 every ...
    """
    out, lse = _answers(query, value)
    after = _like_sums(values, mass, level)
    kept = _kept(values, mass, key.shape[2], every)
    _call(
        (query, key, value, gate, decay),
        (values, mass, level),
        (kind, parameters, constant, background, logarithms),
        out=out,
        lse=lse,
        values=after[0],
        mass=after[1],
        level=after[2] if logarithms else None,
        kept_values=kept[0].flatten(0, 1) if every else None,
        kept_mass=kept[1].flatten(0, 1) if every else None,
        every=every,
    )
    return out, lse, *_with_level(after, logarithms), *kept


@native.fake_of(memory_scan)
def _(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
    every: int,
) -> tuple[Tensor, ...]:
    kept = _kept(values, mass, key.shape[2], every)
    return *_answers(query, value), *_like_sums(values, mass, level), *kept


@native.operator("memory_absorb")
def memory_absorb(
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The sums after all keys were read; to the bit those of `memory_scan`."""
    after = _like_sums(values, mass, level)
    _call(
        (None, key, value, gate, decay),
        (values, mass, level),
        (kind, parameters, constant, background, logarithms),
        values=after[0],
        mass=after[1],
        level=after[2] if logarithms else None,
    )
    return _with_level(after, logarithms)


@native.fake_of(memory_absorb)
def _(
    key: Tensor,
    value: Tensor,
    gate: Tensor | None,
    decay: Tensor | None,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _like_sums(values, mass, level)


@native.operator("memory_read")
def memory_read(
    query: Tensor,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
) -> tuple[Tensor, Tensor]:
    """out [B, H R, T, E] and lse [B, H R, T]: all queries answered from the same sums."""
    out, lse = _answers(query, values)
    _call(
        (query, None, None, None, None),
        (values, mass, level),
        (kind, parameters, constant, background, logarithms),
        out=out,
        lse=lse,
    )
    return out, lse


@native.fake_of(memory_read)
def _(
    query: Tensor,
    values: Tensor,
    mass: Tensor,
    level: Tensor,
    parameters: Sequence[Tensor],
    kind: str,
    constant: int,
    background: float,
    logarithms: bool,
) -> tuple[Tensor, Tensor]:
    return _answers(query, values)


def feature_fields(
    kind: str, parameters: Sequence[Tensor], constant: int, background: float, *, width: int
) -> dict[str, Tensor | int | float | None]:
    """The fields of a call that describe its features (csrc/feature_map.h)."""
    named = dict(zip(KINDS[kind], parameters, strict=True))
    norm_factor = named.pop("norm_factor", None)
    return {
        "kind": list(KINDS).index(kind),
        "width": width,
        "constant": constant,
        "background": background,
        "norm_factor": norm_factor if norm_factor is not None and norm_factor.numel() else None,
        **{name: readable(tensor) for name, tensor in named.items()},
    }


def readable(tensor: Tensor) -> Tensor:
    """The tensor itself where its last axis is contiguous, else a copy."""
    return tensor if tensor.shape[-1] <= 1 or tensor.stride(-1) == 1 else tensor.contiguous()


def _call(
    tokens: tuple[Tensor | None, ...],
    sums: tuple[Tensor, Tensor, Tensor],
    features: tuple[str, Sequence[Tensor], int, float, bool],
    **rest: Tensor | int | None,
) -> None:
    query, key, value, gate, decay = (None if t is None else readable(t) for t in tokens)
    values, mass, level = (readable(t) for t in sums)
    kind, parameters, constant, background, logarithms = features
    _check_dtypes((query, key, value, gate, decay, mass, level, *parameters), values.dtype)
    given = query if key is None else key
    assert given is not None
    heads = values.shape[1]
    library = native.choice().library
    assert library is not None
    library.call(
        "memory_scan",
        values.dtype,
        query=query,
        key=key,
        value=value,
        gate=gate,
        decay=decay,
        initial_values=values,
        initial_mass=mass,
        initial_level=level,
        batch=values.shape[0],
        heads=heads,
        group=0 if query is None else query.shape[1] // heads,
        tokens=given.shape[2],
        value_width=values.shape[3],
        features=values.shape[2],
        decays=0 if decay is None else decay.shape[3],
        logarithms=int(logarithms),
        threads=torch.get_num_threads(),
        **feature_fields(kind, parameters, constant, background, width=given.shape[3]),
        **rest,
    )


def _check_dtypes(tensors: Sequence[Tensor | None], dtype: torch.dtype) -> None:
    for tensor in tensors:
        if tensor is not None and tensor.dtype != dtype:
            raise ArgumentError(
                "dtype",
                f"a tensor of {tensor.dtype} beside sums of {dtype}",
                "tokens, field and state of one dtype",
                f"make all of them {dtype}",
            )


def _answers(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    shape = query.shape[:3]
    return value.new_empty(*shape, value.shape[3]), value.new_empty(shape)


def _like_sums(values: Tensor, mass: Tensor, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return values.new_empty(values.shape), mass.new_empty(mass.shape), level.new_empty(level.shape)


def _with_level(
    sums: tuple[Tensor, Tensor, Tensor], logarithms: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return sums if logarithms else (*sums[:2], sums[2].zero_())


def _kept(values: Tensor, mass: Tensor, tokens: int, every: int) -> tuple[Tensor, Tensor]:
    batch, heads, features, width = values.shape
    count = -(-tokens // every) if every else 0
    shape = batch, heads, count, features
    return values.new_empty(*shape, width), mass.new_empty(shape)
