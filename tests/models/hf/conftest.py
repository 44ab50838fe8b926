from collections.abc import Callable

import pytest

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from transformers import PreTrainedModel  # noqa: E402

VOCABULARY = 97

_CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        initializer_range=0.3,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "gpt2_scaled_by_layer": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=256,
        initializer_range=0.3,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
        scale_attn_by_inverse_layer_idx=True,
        reorder_and_upcast_attn=True,
    ),
    "bert": lambda: transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.3,
        attention_probs_dropout_prob=0.0,
    ),
    "bart": lambda: transformers.BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=256,
        init_std=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    ),
    "t5": lambda: transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    ),
}
_CLASSES = {
    "llama": "LlamaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt2_scaled_by_layer": "GPT2LMHeadModel",
    "bert": "BertForMaskedLM",
    "bart": "BartForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
}


@pytest.fixture
def tiny() -> Callable[..., PreTrainedModel]:
    """A small random model of a family, the same for the same family; a config of its own."""

    def build(family: str, implementation: str = "sdpa", **changes: object) -> PreTrainedModel:
        import torch

        config = _CONFIGS[family]()
        for name, value in changes.items():
            assert hasattr(config, name)
            setattr(config, name, value)
        torch.manual_seed(1)
        model = getattr(transformers, _CLASSES[family])._from_config(
            config, attn_implementation=implementation
        )
        return model.eval()

    return build
