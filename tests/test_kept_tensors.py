"""What is kept from a call in inference mode serves a later one that trains."""

import pytest
import torch

from adaptive_attention_tiling.layers.adaptive_tiled.near import _causal
from adaptive_attention_tiling.mathematics.crystal.bragg import _wavevectors
from adaptive_attention_tiling.mathematics.crystal.carleman import _multiplication
from adaptive_attention_tiling.mathematics.topology.exterior_algebra import wedge_table
from adaptive_attention_tiling.ops.tiled_attention.block import causal_bias, scout_rows
from adaptive_attention_tiling.tiling.tiles.offers import offers

CPU = torch.device("cpu")
OFFERS = {
    "is_finished": True, "min_size": 2, "max_size": 8, "granularity": 2, "spans": (1, 2),
    "overhead": 1.0,
}  # fmt: skip


def tensors(found):
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, (tuple, list)):
        for part in found:
            yield from tensors(part)
    elif hasattr(found, "__dict__"):
        yield from tensors(list(vars(found).values()))


@pytest.mark.parametrize(
    ("function", "given", "named"),
    [
        (scout_rows, (40, 9), {}),
        (causal_bias, (3, 5, 2, torch.float32, CPU), {}),
        (offers, (24,), OFFERS),
        (_causal, (3, 5, CPU), {}),
        (_multiplication, (2, 2), {}),
        (_wavevectors, ((20, 20), 2), {}),
        (wedge_table, (3, 1, 1), {}),
    ],
    ids=lambda x: getattr(x, "__name__", None),
)
def test_kept_tensors_serve_training_too(function, given, named):
    function.cache_clear()
    with torch.inference_mode():
        kept = list(tensors(function(*given, **named)))
    assert kept
    assert not any(tensor.is_inference() for tensor in kept)
