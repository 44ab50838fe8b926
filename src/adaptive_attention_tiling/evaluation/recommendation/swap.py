"""A model whose heads read as recommended, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from ...errors import ArgumentError, UnsupportedError
from ...models.hf import attention_layers, tiled_mask
from ...models.hf.attention import refuse_unknown
from ...models.hf.mask import read_mask
from ...optional import require
from ..variant import implementation_of
from .fitted_head import FittedHead
from .recommendation import Recommendation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SWAPPED = "aat_swapped_heads"
# For each layer and head, fitted heads by the names of their options.
Fitted = Sequence[Sequence[Mapping[str, FittedHead]]]


@contextmanager
def swapped(
    model: PreTrainedModel, recommendation: Recommendation, fitted: Fitted
) -> Iterator[None]:
    """Within the context, every head of `model` reads by the option recommended for it.

    Meant for measuring what a recommendation does to the loss: heads are read with dense rows, or
    by `tiled_attention` itself, so it is slower than exact attention. There are no gradients.

    Args:
        model: a Hugging Face model in eval mode, causal or bidirectional; whole texts without
            padding and without a cache.
        fitted: [L][H] of {name of an option: the head fitted to it}; exact may be left out.

    Raises:
        ArgumentError: another number of layers or heads; a head that is not fitted.
        UnsupportedError: padding, a cache, dropout and whatever else would be ignored, when the
            model is run.
    """
    transformers = require("transformers", "hf", "evaluation")
    layers = attention_layers(model)
    heads = _chosen(recommendation, fitted)
    if len(layers) != len(heads):
        raise ArgumentError(
            "recommendation",
            f"{len(heads)} layers",
            f"{len(layers)}, as {type(model).__name__} has",
            "recommend for this model",
        )
    transformers.AttentionInterface.register(_SWAPPED, _forward)
    transformers.AttentionMaskInterface.register(_SWAPPED, tiled_mask)
    with ExitStack() as stack:
        for number, (layer, own) in enumerate(zip(layers, heads, strict=True)):
            setattr(layer, _SWAPPED, _Layer(number, own))
            stack.callback(delattr, layer, _SWAPPED)
        stack.enter_context(implementation_of(model, _SWAPPED))
        yield


@dataclass(frozen=True)
class _Layer:
    """Fitted heads of one layer; None for those that stay exact."""

    number: int
    heads: tuple[FittedHead | None, ...]


def _chosen(recommendation: Recommendation, fitted: Fitted) -> list[tuple[FittedHead | None, ...]]:
    shapes = [len(row) for row in recommendation.choices], [len(row) for row in fitted]
    if shapes[0] != shapes[1]:
        raise ArgumentError(
            "fitted", f"rows of {shapes[1]}", f"rows of {shapes[0]}", "fit every head"
        )
    return [
        tuple(_head(recommendation, fitted, layer, head) for head in range(count))
        for layer, count in enumerate(shapes[0])
    ]


def _head(
    recommendation: Recommendation, fitted: Fitted, layer: int, head: int
) -> FittedHead | None:
    option, own = recommendation.option(layer, head), fitted[layer][head]
    if option.kind == "exact":
        return None
    if option.name not in own or own[option.name].option != option:
        raise ArgumentError(
            f"fitted[{layer}][{head}]",
            f"{sorted(own)}",
            f"a head fitted to {option.name!r} among them",
            "use fit_option",
        )
    return own[option.name]


def _forward(
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
    refuse_unknown(module, dropout, kwargs)
    causal, valid = read_mask(module, attention_mask, is_causal, key.shape[2])
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: _Layer = getattr(module, _SWAPPED)
    _check(layer, query, key, valid)
    shared = query.shape[1] // key.shape[1]
    out = query.new_empty(*query.shape[:3], value.shape[-1])
    exact = [h for h, head in enumerate(layer.heads) if head is None]
    with torch.no_grad():
        if exact:
            groups = [h // shared for h in exact]
            out[:, exact] = scaled_dot_product_attention(
                query[:, exact], key[:, groups], value[:, groups], is_causal=causal, scale=scale
            )
        for number, head in enumerate(layer.heads):
            if head is None:
                continue
            _check_head(layer, number, head, causal, scale)
            group = number // shared
            for row in range(len(query)):
                out[row, number] = head.read(query[row, number], key[row, group], value[row, group])
    return out.transpose(1, 2).contiguous(), None


def _check(layer: _Layer, query: Tensor, key: Tensor, valid: Tensor | None) -> None:
    if query.shape[1] != len(layer.heads):
        raise ArgumentError(
            "recommendation",
            f"{len(layer.heads)} heads in layer {layer.number}",
            f"{query.shape[1]}, as the model has",
            "recommend for this model",
        )
    if query.shape[2] != key.shape[2]:
        raise UnsupportedError(
            f"past_key_values: got {query.shape[2]} queries for {key.shape[2]} keys; swapped heads "
            "read whole texts. Fix: pass use_cache=False and all tokens."
        )
    if valid is not None:
        raise UnsupportedError(
            "attention_mask: got padding; swapped heads read whole texts. "
            "Fix: pass texts of one length, or one by one."
        )


def _check_head(layer: _Layer, number: int, head: FittedHead, causal: bool, scale: float) -> None:
    if head.is_causal != causal or abs(head.scale - scale) > 1e-6 * scale:
        raise ArgumentError(
            f"fitted[{layer.number}][{number}]",
            f"is_causal={head.is_causal}, scale={head.scale:.6g}",
            f"is_causal={causal}, scale={scale:.6g}, as the layer attends",
            "fit it with those",
        )
