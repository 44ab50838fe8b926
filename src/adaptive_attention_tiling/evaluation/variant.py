"""Run a model with one attention or another for a while, and look at what it attends to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from ..models.hf import IMPLEMENTATION, attention_layers, configure
from ..ops.tiled_attention import TiledAttentionConfig
from ..optional import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Called with the layer's number, query, key, value and the scale of the logits.
Observer = Callable[[int, Tensor, Tensor, Tensor, float], None]
# Called before it with the layer's number and the rest of what the attention function was given.
CircumstancesObserver = Callable[[int, "Circumstances"], None]

_OBSERVED = "aat_observed_sdpa"
_OBSERVER = "aat_observer"


class Circumstances(NamedTuple):
    """What a call of attention came with beside queries, keys and values."""

    mask: Tensor | None
    """As SDPA takes it; None where all keys are visible, or all up to the query."""
    is_causal: bool
    """Without a mask: whether a query sees keys up to itself only."""
    others: tuple[str, ...]
    """Names of all other arguments that are not None."""


class _Observation(NamedTuple):
    layer: int
    see: Observer
    see_circumstances: CircumstancesObserver | None


@contextmanager
def attention_of(model: PreTrainedModel, config: TiledAttentionConfig | None) -> Iterator[None]:
    """Within the context, `model` attends by `config`; exactly, by SDPA, if that is None."""
    if config is not None:
        configure(model, config)
    with implementation_of(model, "sdpa" if config is None else IMPLEMENTATION):
        yield


@contextmanager
def observed(
    model: PreTrainedModel,
    see: Observer,
    see_circumstances: CircumstancesObserver | None = None,
) -> Iterator[None]:
    """Within the context, `model` attends by SDPA and shows every call to `see` first.

    A layer without a number of its own has its place among the attention layers.
    """
    _register()
    with ExitStack() as stack:
        for place, layer in enumerate(attention_layers(model)):
            number = getattr(layer, "layer_idx", None)
            number = place if number is None else number
            setattr(layer, _OBSERVER, _Observation(number, see, see_circumstances))
            stack.callback(delattr, layer, _OBSERVER)
        stack.enter_context(implementation_of(model, _OBSERVED))
        yield


@contextmanager
def each_layer(model: PreTrainedModel, done: Callable[[], None]) -> Iterator[None]:
    """Within the context, call `done` after every attention layer."""

    def hook(*_: object) -> None:
        done()

    with ExitStack() as stack:
        for layer in attention_layers(model):
            stack.callback(layer.register_forward_hook(hook).remove)
        yield


@contextmanager
def implementation_of(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Within the context, `model` attends by the function that is registered as `name`."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _register() -> None:
    """Tell transformers about SDPA with an observer, and that it takes SDPA's masks."""
    transformers = require("transformers", "hf", "evaluation")
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    transformers.AttentionInterface.register(_OBSERVED, _observed_sdpa)
    transformers.AttentionMaskInterface.register(_OBSERVED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def _observed_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    observation: Any = getattr(module, _OBSERVER)
    layer, see, see_circumstances = observation
    if see_circumstances is not None:
        causal = kwargs.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        others = tuple(name for name, given in kwargs.items() if given is not None)
        see_circumstances(layer, Circumstances(attention_mask, bool(causal), others))
    scale = kwargs.get("scaling")
    see(layer, query, key, value, query.shape[-1] ** -0.5 if scale is None else scale)
    return sdpa_attention_forward(module, query, key, value, attention_mask, *args, **kwargs)
