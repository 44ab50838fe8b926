import pytest
import torch


@pytest.fixture
def model():
    """A random two-layer Llama with shared heads and a context of 640 tokens."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=640,
        initializer_range=0.5,
        attn_implementation="sdpa",
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def ids():
    """Long enough for a far field: what lies more than 256 tokens before a block of 256."""
    return torch.randint(50, (1, 600))
