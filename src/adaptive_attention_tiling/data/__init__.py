"""Texts and models to read them with."""

from .cache import Progress, cache_root, cached_folder
from .pretrained import load_folder, load_model, load_smollm2
from .sources import (
    Document,
    HubDataset,
    LocalFiles,
    SotuSpeeches,
    TextSource,
    encode,
    first_tokens,
    longest,
    named,
)

__all__ = [
    "Document",
    "HubDataset",
    "LocalFiles",
    "Progress",
    "SotuSpeeches",
    "TextSource",
    "cache_root",
    "cached_folder",
    "encode",
    "first_tokens",
    "load_folder",
    "load_model",
    "load_smollm2",
    "longest",
    "named",
]
