"""Attention through a cut: means and second order of closed nodes, every token of open tiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .bounds import Order, guarded, log_misread, logit_spread
from .cut import Finished, KeyCut, log_weight


@dataclass(frozen=True)
class TreeRead:
    """output [n, T, E]; lse [n, T], the log of the normaliser as read.

    error [n, T] bounds |output - exact output| / max_j |v_j|. It is at most that of the cut in the
    same order, as it knows how long the output is.
    """

    output: Tensor
    lse: Tensor
    error: Tensor


@dataclass(frozen=True)
class Rows:
    """R rows: which query reads each (an index into n T), its logit [R] and its value [R, E]."""

    reader: Tensor
    logit: Tensor
    value: Tensor


def read_cut(
    finished: Finished, query: Float[Tensor, "n T D"], cut: KeyCut, order: Order
) -> TreeRead:
    """Softmax over all rows of the cut."""
    nodes, bare, misread = _node_rows(finished, query, cut, order)
    tokens = _token_rows(finished, query, cut)
    reader, logit, value = (
        torch.cat([getattr(nodes, name), getattr(tokens, name)]) for name in vars(nodes)
    )
    lse = _log_sums(reader, logit, query.shape[0] * query.shape[1])
    weight = (logit - lse[reader]).exp()
    output = value.new_zeros(len(lse), value.shape[-1])
    output = output.index_add(0, reader, weight[:, None] * value)
    # Bounds take the exact normaliser to be no less than that of the mean keys alone.
    least = _log_sums(reader, torch.cat([bare, tokens.logit.detach()]), len(lse))
    mass = torch.zeros_like(least).index_add(0, nodes.reader, (misread - least[nodes.reader]).exp())
    largest = torch.linalg.vector_norm(finished.values, dim=-1).detach()
    unit = largest.masked_fill(~finished.valid, 0).amax((1, 2))[:, None]
    shape = query.shape[:2]
    length = torch.linalg.vector_norm(output.detach(), dim=-1).view(shape)
    reach = 1 + length / unit.clamp_min(torch.finfo(unit.dtype).tiny)
    error = reach * mass.view(shape).clamp_max(1)
    return TreeRead(output.view(*shape, -1), lse.view(shape), error)


def _node_rows(
    finished: Finished, query: Tensor, cut: KeyCut, order: Order
) -> tuple[Rows, Tensor, Tensor]:
    """The rows of closed nodes; their first-order logits and log p eps Z, without gradient."""
    head, row, node = cut.closed.nonzero(as_tuple=True)
    q, moments = query[head, row], finished.nodes.picked(head, node)
    bare, spread = log_weight(moments, q), logit_spread(moments, q)
    logit, value = bare, moments.value
    if order == 2:
        estimate = guarded(spread)
        logit = bare + estimate.growth
        value = value + estimate.tilt[:, None] * moments.tilt(q)
    misread = bare.detach() + log_misread(spread, order)
    return Rows(head * query.shape[1] + row, logit, value), bare.detach(), misread


def _token_rows(finished: Finished, query: Tensor, cut: KeyCut) -> Rows:
    read = cut.exact[..., None] & finished.valid[:, None]
    head, row, tile, slot = read.nonzero(as_tuple=True)
    logit = (finished.keys[head, tile, slot] * query[head, row]).sum(-1)
    return Rows(head * query.shape[1] + row, logit, finished.values[head, tile, slot])


def _log_sums(reader: Tensor, logit: Tensor, readers: int) -> Tensor:
    """log sum exp of each reader's logits [readers]; -inf for those with none."""
    top = logit.new_full((readers,), -torch.inf)
    top = top.scatter_reduce(0, reader, logit.detach(), "amax")
    total = logit.new_zeros(readers).index_add(0, reader, (logit - top[reader]).exp())
    return torch.where(total > 0, top + total.clamp_min(torch.finfo(total.dtype).tiny).log(), top)
