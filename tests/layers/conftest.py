import pytest

from adaptive_attention_tiling.layers import ProjectionConfig, SoftmaxAttentionConfig

PLAIN = ProjectionConfig(width=12, heads=4)
FURNISHED = ProjectionConfig(
    width=12,
    heads=4,
    key_value_heads=2,
    head_width=4,
    query_width=6,
    bias=True,
    qk_norm=True,
    rotary_base=100.0,
    convolution_width=3,
    output_gate=True,
)

MIXERS = {
    "softmax": SoftmaxAttentionConfig(projection=PLAIN),
    "softmax_furnished": SoftmaxAttentionConfig(projection=FURNISHED),
}


@pytest.fixture(params=MIXERS)
def config(request):
    """A config of every mixer, bare and with everything on."""
    return MIXERS[request.param]
