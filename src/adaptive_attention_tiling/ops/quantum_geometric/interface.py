"""The public call: checks its arguments, brings rows into tiles, and goes on from a state."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import ArgumentError
from ..arguments import check_padding_mask
from ..fidelity_attention import FidelityKernel
from ..fidelity_attention.interface import BACKGROUND, check_background
from ..linear_attention.ragged import from_padding
from .arguments import check_parts, check_state, check_tiles
from .blocks import BlockReader, Tokens
from .pattern_flow import PatternFlow
from .reading import read_both_sides, read_causally
from .rows import Heads, RouteShares, given_heads, live_slots, whole_tiles
from .state import QuantumGeometricState


def quantum_geometric_attention(
    query: Float[Tensor, "B H T m"],
    key: Float[Tensor, "B G T m"],
    value: Float[Tensor, "B G T E"],
    *,
    tile_size: int,
    is_causal: bool = False,
    gate: Float[Tensor, "B G T"] | None = None,
    points: Float[Tensor, "B G T n"] | None = None,
    flow: PatternFlow | None = None,
    routes: RouteShares | None = None,
    key_padding_mask: Bool[Tensor, "B T"] | None = None,
    initial_state: QuantumGeometricState | None = None,
    return_state: bool = False,
    background: float = BACKGROUND,
    near: float = 1.0,
) -> tuple[Float[Tensor, "B H T E"], QuantumGeometricState | None]:
    """Fidelity attention tile by tile, whose own-tile patterns flow: linear in length.

        o_i = sum_j W_ij v_j / sum_j W_ij
        W_ij = near [flow of P^t]_ij                      j in i's own tile t
        W_ij = P_ij sum_s g_s(i) a_s(t_j)                 j in another tile
        P_ij = (|<psi(q_i)|psi(k_j)>|^2 + background) exp(gate_j)

    with psi(x) = x / |x|. Tiles are `tile_size` tokens each, padding not counted. If causal, a
    token sees itself, those before it in its tile, and the tiles before. Without a flow and routes
    W = P: `fidelity_attention` with its gate.

    Args:
        query, key: amplitudes of states, of any norm; H is a multiple of G. Half precision is
            computed in float32.
        gate: logarithm of a factor on each key's weight.
        points: tangents of keys at the origin; needed with a flow.
        flow: of own-tile patterns; see `flow_patterns`. None is the identity.
        routes: between tiles; None lets every tile weigh alike.
        key_padding_mask: True for tokens, False for padding, which may stand anywhere; outputs
            there are 0.
        initial_state: of an earlier causal call with the same settings; it is not changed.
        near: factor on the weights of the own tile against all others.

    Returns:
        The output in the value's dtype, and the state after the last tokens or None.

    Raises:
        ArgumentError: shapes or settings that do not fit, by name.

    Source: the specification's plan for quantum geometric attention; sums over keys as in linear
    attention (Katharopoulos et al. 2020, arXiv 2006.16236), the flow as in `flow_patterns`.
    """
    check_tiles(query, key, value, tile_size, near)
    check_parts(query, key, gate, points, flow, routes)
    check_padding_mask(key_padding_mask, key)
    check_background(background)
    reader = BlockReader(
        kernel=FidelityKernel(key.shape[-1], False, float(background)),
        tile_size=tile_size,
        is_causal=is_causal,
        near=near,
        flow=flow,
    )
    fresh = given_heads(query, key, value, gate, None if flow is None else points, routes)
    if not is_causal:
        if initial_state is not None or return_state:
            raise ArgumentError(
                "is_causal", "False together with a state", "True where there is one",
                "pass the whole text at once",
            )  # fmt: skip
        return _without_order(reader, fresh, key_padding_mask).to(value.dtype), None
    out, state = _in_order(reader, fresh, key_padding_mask, initial_state, keep=return_state)
    return out.to(value.dtype), state


def _without_order(reader: BlockReader, heads: Heads, mask: Tensor | None) -> Tensor:
    rows = None if mask is None else from_padding(mask)
    length = heads.key.shape[2]
    if rows is not None:
        heads = heads.mapped(rows)
    live = live_slots(heads, rows)
    read = read_both_sides(reader, whole_tiles(reader, heads, live, everywhere=True))
    out = _mean(read[:, :, : heads.key.shape[2]])
    return out[:, :, :length] if rows is None else rows.back(out)


def _in_order(
    reader: BlockReader,
    heads: Heads,
    mask: Tensor | None,
    state: QuantumGeometricState | None,
    *,
    keep: bool,
) -> tuple[Tensor, QuantumGeometricState | None]:
    batch, _, fresh, _ = heads.key.shape
    rows, before = None, 0
    if state is not None:
        routes = 1 if heads.reads is None else heads.reads.shape[-1]
        sums = batch, heads.key.shape[1], routes, reader.kernel.features, heads.value.shape[-1] + 1
        check_state(state, heads.value, sums, reader.tile_size)
        before = state.tile_size
        new = heads.key.new_ones(batch, fresh, dtype=torch.bool) if mask is None else mask
        heads, mask = heads.behind(state), torch.cat([state.occupied(), new], 1)
    if mask is not None:
        rows = from_padding(mask)
    if rows is not None:
        heads = heads.mapped(rows)
    live = live_slots(heads, rows)
    tokens = whole_tiles(reader, heads, live, everywhere=False)
    if keep:
        tokens = tokens._replace(full=_full(reader, live, tokens))
    past = None if state is None else state.sums
    read, following = read_causally(reader, tokens, past, keep=keep)
    out = _mean(read[:, :, : heads.key.shape[2]])
    out = out if rows is None else rows.back(out)
    after = _state_after(reader, heads, live, state, following) if keep else None
    return out[:, :, before:], after


def _full(reader: BlockReader, live: Tensor, tokens: Tokens) -> Tensor:
    """1 for the tokens of tiles that are full [B, 1, L, 1]."""
    tile = torch.arange(tokens.length, device=live.device) // reader.tile_size
    full = tile < (live.sum(-1) // reader.tile_size)[:, None]
    return full[:, None, :, None].to(tokens.value)


def _state_after(
    reader: BlockReader,
    heads: Heads,
    live: Tensor,
    state: QuantumGeometricState | None,
    sums: Tensor | None,
) -> QuantumGeometricState:
    """The sums, and the tokens behind the last full tile, at the front of an open one."""
    assert sums is not None
    size = reader.tile_size
    held = live.sum(-1)
    slots = torch.arange(size, device=live.device)
    index = (held // size * size)[:, None] + slots  # [B, b]
    kept = (index < held[:, None])[:, None, :, None]
    index = index.clamp(max=live.shape[1] - 1)[:, None, :, None]

    def open_tile(tensor: Tensor) -> Tensor:
        where = index.expand(-1, tensor.shape[1], -1, tensor.shape[3])
        return torch.where(kept, tensor.gather(2, where), 0.0)

    before = 0 if state is None else state.length // size * size
    return QuantumGeometricState(
        length=held + before,
        sums=sums,
        key=open_tile(heads.key),
        value=open_tile(heads.value),
        gate=open_tile(heads.gate),
        points=None if heads.points is None else open_tile(heads.points),
        writes=None if heads.writes is None else open_tile(heads.writes),
    )


def _mean(read: Tensor) -> Tensor:
    """Weighted means of values; 0 where nothing weighs."""
    mass = read[..., -1:]
    nothing = mass <= torch.finfo(mass.dtype).tiny
    return torch.where(nothing, 0.0, read[..., :-1] / torch.where(nothing, 1.0, mass))
