"""What every attention layer of a model is given while it reads a text once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import UnsupportedError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..variant import Circumstances

# Arguments of an attention function that change its weights beside masks.
_CHANGES = frozenset(
    {"block_indices", "cu_seq_lens_q", "indices", "position_bias", "s_aux", "sinks", "softcap"}
)


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """One call of attention on one text.

    number     of the call, from 0: a layer that is used again counts again
    query      [H, T, D], key [G, T, D] and value [G, T, E], rotated if the model rotates them
    scale      of the logits
    is_causal  whether a query sees keys up to itself only, or all of them
    """

    number: int
    query: Float[Tensor, "H T D"]
    key: Float[Tensor, "G T D"]
    value: Float[Tensor, "G T E"]
    scale: float
    is_causal: bool


def show_layers(
    model: PreTrainedModel, ids: Int[Tensor, "1 T"], see: Callable[[LayerCall], None]
) -> None:
    """Let `model` read `ids` and show each call of attention to `see`, one layer after the other.

    Raises:
        UnsupportedError: attention other than softmax of scaled dot products over all keys or all
            keys before: sliding windows shorter than the text, position biases, soft caps; a model
            that cannot attend by SDPA.
        CorrectnessError: queries, keys or values that are not finite.
    """
    # Not above: processes that look at heads import this room, and transformers takes seconds.
    from ..exactness import check_finite
    from ..variant import Circumstances, observed

    tokens, count, told = ids.shape[1], 0, Circumstances(None, True, ())

    def see_circumstances(layer: int, circumstances: Circumstances) -> None:
        nonlocal told
        told = circumstances

    def see_tensors(layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
        nonlocal count
        check_finite(layer, query=query, key=key, value=value)
        _check_plain(model, layer, told, query, key, tokens)
        causal = _is_causal(model, layer, told, tokens)
        see(
            LayerCall(
                number=count,
                query=query[0],
                key=key[0],
                value=value[0],
                scale=scale,
                is_causal=causal,
            )
        )
        count += 1

    try:
        with torch.inference_mode(), observed(model, see_tensors, see_circumstances):
            model.base_model(input_ids=ids, **_without_cache(model))
    except ValueError as error:
        if "does not support an attention implementation" not in str(error):
            raise
        raise UnsupportedError(
            f"model: {type(model).__name__} cannot attend by SDPA, so its weights are more than a "
            "softmax of dot products. Fix: inspect a model such as Llama, GPT-2 or BERT."
        ) from error


def _without_cache(model: PreTrainedModel) -> dict[str, bool]:
    return {"use_cache": False} if hasattr(model.config, "use_cache") else {}


def _check_plain(
    model: PreTrainedModel, layer: int, told: Circumstances, query: Tensor, key: Tensor, tokens: int
) -> None:
    name = f"layer {layer} of {type(model).__name__}"
    changes = sorted(_CHANGES.intersection(told.others))
    if changes:
        raise UnsupportedError(
            f"{name}: attends with {', '.join(changes)}, which the figures would ignore. "
            "Fix: inspect a model without."
        )
    if query.shape[:1] != (1,) or query.shape[2] != tokens or key.shape[2] != tokens:
        raise UnsupportedError(
            f"{name}: got {query.shape[2]} queries and {key.shape[2]} keys for {tokens} tokens, "
            "as cross-attention or a prefix has them. Fix: inspect a decoder or an encoder alone."
        )


def _is_causal(model: PreTrainedModel, layer: int, told: Circumstances, tokens: int) -> bool:
    if told.mask is None:
        return told.is_causal
    mask = told.mask if told.mask.dtype == torch.bool else told.mask == 0
    whole = torch.ones(tokens, tokens, dtype=torch.bool, device=mask.device)
    for visible, causal in ((whole.tril(), True), (whole, False)):
        if bool((mask == visible).all()):
            return causal
    window = getattr(model.config, "sliding_window", None)
    fix = (
        f"inspect at most {window} tokens" if isinstance(window, int) else "inspect a shorter text"
    )
    raise UnsupportedError(
        f"layer {layer} of {type(model).__name__}: its mask is neither causal nor bidirectional "
        f"over {tokens} tokens, as sliding windows are not. Fix: {fix}, or a model without."
    )
