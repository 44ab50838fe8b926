"""The attention function that transformers calls for "adaptive_tiled"."""

from __future__ import annotations

import functools
import logging

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ...errors import UnsupportedError
from ...ops.tiled_attention import TiledAttentionReport, TiledState, tiled_attention
from ...ops.tiled_attention.control import check_finite
from .mask import read_mask
from .settings import report_wanted, settings_of

STATE = "aat_state"
"""Attribute by which the keys that a `TiledCache` returns carry the state they belong to."""

_log = logging.getLogger(__name__)

# What models pass along that has been applied already or concerns what they return.
_BOOKKEEPING = frozenset(
    {
        "cache_position",
        "logits_to_keep",
        "num_items_in_batch",
        "output_hidden_states",
        "output_router_logits",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "use_cache",
    }
)


def tiled_attention_forward(
    module: nn.Module,
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G S D"],
    value: Float[Tensor, "B G S E"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **kwargs: object,
) -> tuple[Float[Tensor, "B T H E"], None]:
    """`tiled_attention` with the settings of `module`, or a step of the `TiledCache` in use.

    With another cache, queries that continue a sequence attend exactly.

    Raises UnsupportedError for any argument that would otherwise be silently ignored.
    """
    refuse_unknown(module, dropout, kwargs)
    causal, valid = read_mask(module, attention_mask, is_causal, key.shape[2])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    state = getattr(key, STATE, None)
    if state is not None:
        if not causal:
            raise UnsupportedError(
                f"TiledCache: {type(module).__name__} is not causal. Fix: use DynamicCache there."
            )
        out = _continued(state, query, valid, scale)
    elif causal and query.shape[2] != key.shape[2]:
        _log_exact_steps()
        out = _exact_continued(query, key, value, valid, scale)
    else:
        out = _whole(module, query, key, value, causal, valid, scale)
    return out.transpose(1, 2).contiguous(), None


def _whole(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    valid: Bool[Tensor, "B S"] | None,
    scale: float,
) -> Tensor:
    settings, keep = settings_of(module), report_wanted(module)
    result: Tensor | tuple[Tensor, TiledAttentionReport] = tiled_attention(  # type: ignore[call-overload]
        query,
        key,
        value,
        is_causal=causal,
        scale=scale,
        enable_gqa=True,
        key_padding_mask=valid,
        tolerance=settings.tolerance,
        budget=settings.budget,
        certified=settings.certified,
        layout=settings.layout,
        return_report=keep is not None,
    )
    if isinstance(result, Tensor):
        return result
    out, report = result
    if keep is not None:
        keep(report)
    return out


def _continued(
    state: TiledState, query: Tensor, valid: Bool[Tensor, "B S"] | None, scale: float
) -> Tensor:
    """Answer the queries of the tokens that the cache has just taken in."""
    first = state.length - query.shape[2]
    if state.answered != first:
        raise UnsupportedError(
            f"TiledCache: queries start at token {first}, but those up to {state.answered} only "
            "were read by tiled attention. Fix: do not change attn_implementation while a cache "
            "is in use."
        )
    if valid is None:
        valid = query.new_ones(query.shape[0], state.length, dtype=torch.bool)
    state.see(valid)
    if state.control.certified:
        check_finite(query=query)
    work = query.to(torch.promote_types(query.dtype, torch.float32)) * scale
    if first == 0:
        state.prebuild(work)
    return state.answer(work).to(query.dtype)


def _exact_continued(
    query: Tensor, key: Tensor, value: Tensor, valid: Bool[Tensor, "B S"] | None, scale: float
) -> Tensor:
    """Exact causal attention of the last T of S tokens."""
    queries, keys = query.shape[2], key.shape[2]
    mask = None if valid is None else valid[:, None, None]
    if queries > 1:
        seen = torch.ones(queries, keys, dtype=torch.bool, device=key.device)
        seen = seen.tril(keys - queries)
        mask = seen[None, None] if mask is None else mask & seen
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scale, enable_gqa=True
    )
    return out if mask is None else torch.where(mask.any(-1)[..., None], out, 0.0)


@functools.cache
def _log_exact_steps() -> None:
    _log.info(
        "queries that continue an ordinary cache attend exactly; pass "
        "past_key_values=TiledCache(model) to read far tokens by tiles there as well"
    )


def refuse_unknown(module: nn.Module, dropout: float, kwargs: dict[str, object]) -> None:
    """Raise an UnsupportedError for dropout and arguments that would otherwise be ignored."""
    if dropout:
        raise UnsupportedError(
            f"dropout: {type(module).__name__} asks for {dropout}; tiled attention has none. "
            "Fix: call model.eval(), or set the attention dropout of the config to 0."
        )
    if kwargs.get("output_attentions"):
        raise UnsupportedError(
            "output_attentions: got True; tiled attention never forms the weights. "
            "Fix: use attn_implementation='eager' to look at them."
        )
    unknown = sorted(
        name
        for name, value in kwargs.items()
        if value is not None and name not in _BOOKKEEPING and name != "output_attentions"
    )
    if unknown:
        raise UnsupportedError(
            f"{', '.join(unknown)}: passed by {type(module).__name__}, which tiled attention "
            "would have to ignore. Fix: use attn_implementation='sdpa' or 'eager' for this model."
        )
