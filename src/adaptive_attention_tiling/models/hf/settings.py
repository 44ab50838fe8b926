"""The settings of tiled attention that the layers of a model carry."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from ...errors import ArgumentError, UnsupportedError
from ...ops.tiled_attention import TiledAttentionConfig, TiledAttentionReport

if TYPE_CHECKING:
    from transformers import AttentionInterface

_SETTINGS = "aat_tiling"
_DISPATCH = "ALL_ATTENTION_FUNCTIONS"
REPORT_TO = "aat_report_to"
"""Attribute of a layer: whom to give a report of each call, if anyone asks for one."""


def configure(model: nn.Module, settings: TiledAttentionConfig) -> None:
    """Let every attention layer of `model` use `settings`, now or when it is switched over.

    They stay with the model in memory, and are not saved with it.

    Raises:
        ArgumentError: settings of another type.
        UnsupportedError: a model without a layer that could use them.
    """
    if not isinstance(settings, TiledAttentionConfig):
        raise ArgumentError(
            "settings",
            repr(settings),
            "a TiledAttentionConfig",
            "pass TiledAttentionConfig(tolerance=...)",
        )
    for layer in attention_layers(model):
        setattr(layer, _SETTINGS, settings)


def settings_of(module: nn.Module) -> TiledAttentionConfig:
    """The settings an attention layer carries; the defaults if it was never configured."""
    found = getattr(module, _SETTINGS, None)
    return found if isinstance(found, TiledAttentionConfig) else TiledAttentionConfig()


def attention_layers(model: nn.Module) -> list[nn.Module]:
    """The layers of `model` that take their attention function from transformers' register.

    Raises UnsupportedError if there are none.
    """
    layers = [module for module in model.modules() if dispatcher(module) is not None]
    if not layers:
        raise UnsupportedError(
            f"model: {type(model).__name__} has no attention layer that takes its function from "
            "transformers' AttentionInterface. Fix: use a Hugging Face model such as Llama, GPT-2 "
            "or BERT, or call tiled_attention yourself."
        )
    return layers


def dispatcher(module: nn.Module) -> AttentionInterface | None:
    """The register in which `module` looks up its attention function, if it does."""
    forward = inspect.unwrap(type(module).forward)
    code = getattr(forward, "__code__", None)
    if code is None or _DISPATCH not in code.co_names:
        return None
    found: AttentionInterface | None = forward.__globals__.get(_DISPATCH)
    return found


def report_wanted(module: nn.Module) -> Callable[[TiledAttentionReport], None] | None:
    """Whom to give the report of a call, or None."""
    found: Callable[[TiledAttentionReport], None] | None = getattr(module, REPORT_TO, None)
    return found
