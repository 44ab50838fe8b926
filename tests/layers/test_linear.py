import pytest
import torch
from torch.nn.functional import elu

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import (
    GateConfig,
    LinearAttention,
    LinearAttentionConfig,
    ProjectionConfig,
)
from adaptive_attention_tiling.testing import assert_close

B, T, C = 2, 7, 8
PROJECTION = ProjectionConfig(width=C, heads=2)


@pytest.mark.parametrize("gated", [False, True])
def test_tokens_are_weighed_by_the_product_of_their_features(gated):
    gates = GateConfig(decay="head" if gated else "none", write=gated)
    layer = LinearAttention(LinearAttentionConfig(projection=PROJECTION, gates=gates)).double()
    x = torch.randn(B, T, C, dtype=torch.float64)
    (query, key, value), _ = layer.projections(x)
    weights = ((elu(query) + 1) @ (elu(key) + 1).mT).tril()
    if gated:
        decay, gate = layer.gates(x)
        forgotten = decay.cumsum(-1)
        between = forgotten[..., :, None] - forgotten[..., None, :]
        weights = weights * (between + gate[..., None, :]).exp()
    heads = (weights / weights.sum(-1, keepdim=True)) @ value
    assert_close(layer(x), layer.projections.output(heads, x))


def test_decay_by_splat_is_refused():
    config = LinearAttentionConfig(projection=PROJECTION, gates=GateConfig(decay="splat"))
    with pytest.raises(ArgumentError, match="no splats"):
        LinearAttention(config)
