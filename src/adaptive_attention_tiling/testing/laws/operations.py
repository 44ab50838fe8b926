"""The kinds of operations on quantum states that laws accept, and random states to try them on."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex
from torch import Tensor

from ...errors import ArgumentError
from ...mathematics.quantum import Channel

Operation = Channel | Tensor | Callable[[Tensor], Tensor]


def single_operations(
    operation: Operation | list[Operation], dimensions: tuple[int, ...], factor: int
) -> list[Callable[[Tensor], Tensor]]:
    """The members of a family, each from rho [d, d] to [d, d], or the one operation.

    A channel of the whole space's size acts on all of it, one of a factor's size on that factor.

    Raises:
        ArgumentError: another kind, an empty list, another size, Kraus operators that lose trace.
    """
    if isinstance(operation, list | tuple):
        found = [step for one in operation for step in single_operations(one, dimensions, factor)]
        if not found:
            raise ArgumentError("operation", "none", "one or more", "pass an operation")
        return found
    if isinstance(operation, Tensor):
        operation = Channel(operation.detach().to(operation.dtype.to_complex()))
    if not isinstance(operation, Channel):
        if not callable(operation):
            raise ArgumentError(
                "operation", type(operation).__name__,
                "a Channel, Kraus operators [k, d, d], a function of rho, or a list of these",
                "pass one of these",
            )  # fmt: skip
        return [operation]
    operators = operation.operators.detach()
    if operators.dim() > 3:
        members = [Channel(one) for one in operators]
        return [step for one in members for step in single_operations(one, dimensions, factor)]
    size, channel = operators.shape[-1], operation
    if size == math.prod(dimensions):
        return [channel]
    if size != dimensions[factor]:
        raise ArgumentError(
            "operation", f"of dimension {size}",
            f"{dimensions[factor]}, of factor {factor}, or {math.prod(dimensions)}",
            "pass QuantumValidation(dimensions=..., factor=...)",
        )  # fmt: skip
    return [lambda rho: channel.on_factor(rho, dimensions, factor)]


def product_states(dimensions: tuple[int, ...], count: int, seed: int) -> Complex[Tensor, "p d d"]:
    """Random pure states, each of factors that know nothing of each other."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.ones(count, 1, dtype=torch.complex128)
    for size in dimensions:
        parts = torch.randn(count, size, dtype=torch.complex128, generator=generator)
        parts = parts / parts.norm(dim=-1, keepdim=True)
        states = (states[:, :, None] * parts[:, None, :]).flatten(1)
    return states[:, :, None] * states[:, None, :].conj()


def entangled_states(
    dimensions: tuple[int, ...], count: int, seed: int
) -> Complex[Tensor, "p d d"]:
    """Random pure states of the whole, on which maps show that are not completely positive."""
    whole = (math.prod(dimensions),)
    return product_states(whole, count, seed)
