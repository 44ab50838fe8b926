import torch

from adaptive_attention_tiling.layers.mlp import GELUNetwork, SwiGLUNetwork
from adaptive_attention_tiling.testing import assert_close


def with_weights(network, **weights):
    for name, value in weights.items():
        network.get_parameter(f"{name}.weight").data = torch.tensor([[value]])
    return network


def test_gelu_by_hand():
    network = with_weights(GELUNetwork(1, 1), input=2.0, output=3.0)
    # gelu(2) = 2 Phi(2) with Phi(2) = 0.97724987
    assert_close(network(torch.ones(1, 1, 1)), torch.full((1, 1, 1), 3 * 2 * 0.97724987))


def test_swiglu_by_hand():
    network = with_weights(SwiGLUNetwork(1, 1), gate=2.0, input=5.0, output=3.0)
    # silu(2) = 2 / (1 + exp(-2)), and 1 / (1 + exp(-2)) = 0.88079708
    assert_close(network(torch.ones(1, 1, 1)), torch.full((1, 1, 1), 3 * 5 * 2 * 0.88079708))
