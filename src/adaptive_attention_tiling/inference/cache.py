"""A key/value cache whose finished super-blocks carry their tiles."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ArgumentError, UnsupportedError
from ..ops.tiled_attention import TiledAttentionConfig, TiledState
from ..ops.tiled_attention.control import check_finite
from ..optional import require

require("transformers", "hf", "TiledCache")

from transformers.cache_utils import Cache, CacheLayerMixin  # noqa: E402

from ..models.hf import STATE, attention_layers, settings_of  # noqa: E402


class TiledCache(Cache):
    """Cache for `model.generate(..., past_key_values=TiledCache(model))`.

    A step reads its near field, the summaries of all tiles and the tokens of those tiles that the
    current plan opens. Prefill in one call or in pieces, then step: the tiles are the same.

    Args:
        settings: a model, whose layers' settings are taken as they are now; or settings for all
            layers; defaults if None. They hold for this cache whatever the model is told later.

    Under another attn_implementation it is an ordinary cache. Beam search, cropping (assisted
    generation) and choosing sequences out of a batch are refused.
    """

    def __init__(self, settings: nn.Module | TiledAttentionConfig | None = None) -> None:
        if settings is None:
            settings = TiledAttentionConfig()
        if isinstance(settings, nn.Module):
            super().__init__(layers=_layers_for(settings))
        elif isinstance(settings, TiledAttentionConfig):
            super().__init__(layer_class_to_replicate=partial(TiledLayer, settings))  # type: ignore[arg-type]
        else:
            raise ArgumentError(
                "settings",
                repr(settings),
                "a model or a TiledAttentionConfig",
                "pass TiledCache(model)",
            )


class TiledLayer(CacheLayerMixin):
    """One layer's part of a `TiledCache`."""

    is_sliding = False
    is_croppable = False

    def __init__(self, settings: TiledAttentionConfig) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.settings = settings
        self.state = TiledState(settings.layout, settings.control())

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Take over dtype and device; room is made by the first tokens."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens; return the keys and values of all, the keys with a reference to the state.

        Which of the tokens are padding is not known here; the attention function tells the state.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self.settings.certified:
            check_finite(key=key_states, value=value_states)
        self.state.append(key_states, value_states)
        self.keys, self.values = self.state.key, self.state.value
        setattr(self.keys, STATE, self.state)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Number of keys after `query_length` more tokens, and the position of the first."""
        return self.state.length + query_length, 0

    def get_seq_length(self) -> int:
        """Number of tokens so far."""
        return self.state.length

    def get_max_length(self) -> int:
        """-1: it grows without limit."""
        return -1

    def get_max_cache_shape(self) -> int:
        """What transformers before 5.20 calls `get_max_length`."""
        return -1

    def reset(self) -> None:
        """Forget all tokens."""
        self.state = TiledState(self.settings.layout, self.settings.control())
        self.keys = self.values = None
        self.is_initialized = False

    def crop(self, tokens_to_remove: int) -> None:
        """Refused unless it removes nothing: tiles and plans have been made of the tokens."""
        if tokens_to_remove:
            raise _refusal("crop", "use DynamicCache for assisted generation")

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Refused: beams exchange their pasts, plans included."""
        raise _refusal("reorder_cache (beam search)", "use num_beams=1, or DynamicCache")

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Refused, as `reorder_cache` is."""
        raise _refusal("batch_repeat_interleave", "repeat the inputs, or use DynamicCache")

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Refused, as `reorder_cache` is."""
        raise _refusal("batch_select_indices", "use DynamicCache")


def _layers_for(model: nn.Module) -> list[Any]:
    """A cache layer for each causal attention layer, with that layer's settings."""
    found = {
        int(layer.layer_idx): settings_of(layer)  # type: ignore[arg-type]
        for layer in attention_layers(model)
        if getattr(layer, "layer_idx", None) is not None and getattr(layer, "is_causal", False)
    }
    if not found:
        raise UnsupportedError(
            f"TiledCache: {type(model).__name__} has no causal attention layer. "
            "Fix: use a decoder, such as Llama or GPT-2."
        )
    return [TiledLayer(found.get(i, TiledAttentionConfig())) for i in range(max(found) + 1)]


def _refusal(what: str, fix: str) -> UnsupportedError:
    return UnsupportedError(f"{what}: TiledCache cannot do it. Fix: {fix}.")
