"""Whole texts, super-block by super-block."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..linear_attention.scan import chunk_scan
from .blocks import BlockReader, Tokens
from .pattern_flow import PatternFlow


def read_causally(
    reader: BlockReader, tokens: Tokens, sums: Tensor | None, *, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """What every query reads [B, H, L, E + 1], and the sums after the last full tile if `keep`."""
    whole = (tokens.length - 1) // reader.super_block * reader.super_block
    parts = []
    if whole:
        if sums is None:
            sums = no_sums(reader, tokens)
        part, sums = _scan(reader, tokens.cut(0, whole), sums)
        parts.append(part)
    last = tokens.cut(whole, tokens.length)
    parts.append(reader.read(last, sums))
    out = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
    if not keep:
        return out, None
    added = reader.absorb(last)
    return out, added if sums is None else sums + added


def read_both_sides(reader: BlockReader, tokens: Tokens) -> Tensor:
    """What every query reads of all tokens [B, H, L, E + 1], without an order."""
    starts = range(0, tokens.length, reader.super_block)
    blocks = [tokens.cut(start, start + reader.super_block) for start in starts]
    if len(blocks) == 1:
        return reader.read(tokens, None)
    own = [reader.absorb(block) for block in blocks]
    # Sums over all others, from both ends: nothing is taken off again, so that nothing cancels.
    others: list[Tensor | None] = [None] * len(own)
    for order in (range(len(own)), reversed(range(len(own)))):
        running: Tensor | None = None
        for n in order:
            others[n] = _added(others[n], running)
            running = _added(running, own[n])
    return torch.cat([reader.read(b, s) for b, s in zip(blocks, others, strict=True)], 2)


def no_sums(reader: BlockReader, tokens: Tokens) -> Tensor:
    """Sums over no tokens [B, G, S, F, E + 1]."""
    routes = 1 if tokens.reads is None else tokens.reads.shape[-1]
    batch, heads, _, width = tokens.value.shape
    return tokens.value.new_zeros(batch, heads, routes, reader.kernel.features, width)


def _scan(reader: BlockReader, tokens: Tokens, sums: Tensor) -> tuple[Tensor, Tensor]:
    """Whole super-blocks; the backward pass reads each again instead of keeping its pairs."""
    present = [t is not None for t in tokens]
    inputs = tuple(t for t in tokens if t is not None)
    flow = reader.flow
    parameters = () if flow is None else (flow.rates, flow.width)

    def step(
        parameters: tuple[Tensor, ...], carry: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        left = iter(inputs)
        block = Tokens._make(next(left) if here else None for here in present)
        with_leaves = _with_parameters(reader, parameters)
        (before,) = carry
        return (with_leaves.read(block, before),), (before + with_leaves.absorb(block),)

    (out,), (sums,) = chunk_scan(step, parameters, (sums,), inputs, chunk=reader.super_block)
    return out, sums


def _with_parameters(reader: BlockReader, parameters: tuple[Tensor, ...]) -> BlockReader:
    if reader.flow is None:
        return reader
    rates, width = parameters
    flow = PatternFlow(rates=rates, width=width, radius=reader.flow.radius)
    return replace(reader, flow=flow)


def _added(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second
