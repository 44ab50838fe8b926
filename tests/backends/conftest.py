"""The program that compiles the kernels, and a small set of sources for it."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("build.py", "machine.cpp", "simd.h", "interface/view.h")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """csrc/build.py in a checkout of its own, with the smallest sources that make a library."""
    for name in SMALL:
        copy = tmp_path / "csrc" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "csrc" / name, copy)
    for variable in ("CXX", "AAT_BUILD_NATIVE"):
        monkeypatch.delenv(variable, raising=False)
    return module_of(tmp_path / "csrc/build.py")


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compiler(build: ModuleType) -> tuple[str, ...]:
    try:
        return build.compiler()
    except build.NoCompilerError as error:
        pytest.skip(str(error))
