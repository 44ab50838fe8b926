"""The gate before any measurement: reading everything must give what SDPA gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..errors import CorrectnessError
from ..ops.tiled_attention import TileLayout, tiled_attention
from .variant import observed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST_DIFFERENCE = 1e-5
"""Of the outputs of one attention layer, in units of the largest entry of its values."""


def check_exactness(
    model: PreTrainedModel, ids: Int[Tensor, "1 T"], layout: TileLayout | None = None
) -> float:
    """The largest difference between tiled attention at resolution 1 and SDPA in any layer.

    Both get the model's own queries, keys and values on `ids`. All tiles are cut, planned and read
    one by one: a tensor of ones asks for that, where the number 1.0 would take a short cut.

    Raises CorrectnessError if the difference is above `LARGEST_DIFFERENCE`, or if any query, key
    or value is not finite.
    """
    worst = 0.0

    def see(layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
        nonlocal worst
        check_finite(layer, query=query, key=key, value=value)
        worst = max(worst, _difference(query, key, value, scale, layout))
        if not worst <= LARGEST_DIFFERENCE:
            raise CorrectnessError(
                f"tiled attention in layer {layer}: reading every token differs from SDPA by "
                f"{worst:.2g} of the largest value, expected at most {LARGEST_DIFFERENCE:.0e}. "
                "Nothing was measured, because speed without the right result means nothing. "
                "Fix: run the tests of tiled_attention on this machine and report what fails."
            )

    with torch.inference_mode(), observed(model, see):
        model.base_model(input_ids=ids, use_cache=False)
    return worst


def check_finite(layer: int, **tensors: Tensor) -> None:
    """Raise CorrectnessError for the first tensor of a layer with NaN or infinity in it."""
    for name, tensor in tensors.items():
        bad = tensor.numel() - int(torch.isfinite(tensor).sum())
        if bad:
            raise CorrectnessError(
                f"{name} of layer {layer}: {bad} of {tensor.numel()} entries are NaN or infinite, "
                "expected finite numbers. Fix: check the model's weights; float16 overflows "
                "easily, so save them in float32 or bfloat16."
            )


def _difference(
    query: Float[Tensor, "B H T D"],
    key: Float[Tensor, "B G T D"],
    value: Float[Tensor, "B G T E"],
    scale: float,
    layout: TileLayout | None,
) -> float:
    exact = scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scale, enable_gqa=True
    )
    everything = tiled_attention(
        query,
        key,
        value,
        is_causal=True,
        scale=scale,
        enable_gqa=True,
        resolution=query.new_ones(()),
        layout=layout,
    )
    difference = float((everything - exact).abs().max() / value.abs().max().clamp_min(1e-30))
    return float("inf") if difference != difference else difference
