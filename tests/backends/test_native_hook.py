"""The build hook puts kernels where they belong, and never fails an installation."""

import importlib.util
import os
from pathlib import Path

import pytest

from adaptive_attention_tiling.backends.native import Library
from adaptive_attention_tiling.optional import installed

pytestmark = pytest.mark.skipif(
    not installed("hatchling"), reason="hatchling, of the dev extra, is not installed"
)

ROOT = Path(__file__).parents[2]
PACKAGE = "src/adaptive_attention_tiling/backends/native/libraries"


class App:
    """What of hatch's application the hook uses."""

    def __init__(self):
        self.warnings = []

    def display_warning(self, message):
        self.warnings.append(message)


@pytest.fixture
def app():
    return App()


@pytest.fixture
def hooked(build, tmp_path, app):
    """Run the hook on the small checkout; returns what it asks of the wheel."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(version):
        hook = module.KernelBuildHook(str(tmp_path), {}, None, None, "", "wheel", app)
        build_data = {"pure_python": True, "force_include": {}}
        hook.initialize(version, build_data)
        return build_data

    return run


def test_a_wheel_holds_the_libraries_under_a_platform_tag(hooked, compiler, build, app, tmp_path):
    build_data = hooked("standard")
    names = [f"libaat_{name}.so" for name in build.instruction_sets()]
    assert app.warnings == []
    assert build_data["tag"].startswith("py3-none-")
    assert build_data["tag"] != "py3-none-any"
    assert "manylinux" not in build_data["tag"]
    assert build_data["pure_python"] is False
    assert sorted(build_data["force_include"].values()) == sorted(
        f"adaptive_attention_tiling/backends/native/libraries/{name}" for name in names
    )
    for path in build_data["force_include"]:
        Library(Path(path))
    assert not (tmp_path / PACKAGE).exists()


def test_an_editable_installation_has_them_in_the_source_tree(hooked, compiler, tmp_path):
    build_data = hooked("editable")
    assert (tmp_path / PACKAGE / "libaat_baseline.so").exists()
    assert build_data["force_include"] == {}


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CXX", "/nonexistent", "CXX names '/nonexistent'"),
        ("CXX", "/bin/false", "/bin/false failed with status 1"),
        ("AAT_BUILD_NATIVE", "0", "left out by AAT_BUILD_NATIVE=0"),
    ],
)
def test_without_kernels_the_wheel_is_pure_and_holds_the_reason(
    hooked, app, monkeypatch, variable, value, told
):
    monkeypatch.setenv(variable, value)
    build_data = hooked("standard")
    ((path, inside),) = build_data["force_include"].items()
    assert inside.endswith("/libraries/reason.txt")
    assert told in Path(path).read_text()
    assert told in app.warnings[0]
    assert build_data["pure_python"] is True
    assert "tag" not in build_data


def test_the_message_of_the_compiler_is_shown(hooked, compiler, app, tmp_path):
    (tmp_path / "csrc/wrong.cpp").write_text("int wrong( { }\n")
    hooked("editable")
    assert "wrong.cpp:1" in app.warnings[0]
    assert os.listdir(tmp_path / PACKAGE) == ["reason.txt"]


def test_a_folder_that_cannot_be_made_is_a_warning(hooked, compiler, app, tmp_path):
    (tmp_path / "build").write_text("a file where the folder should be")
    assert hooked("standard")["pure_python"] is True
    assert "build" in app.warnings[0]
