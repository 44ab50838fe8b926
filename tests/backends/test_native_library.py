"""Which library runs follows the machine and the environment, and can be asked."""

import logging

import pytest
import torch

from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.backends.native.layout import View
from adaptive_attention_tiling.errors import ArgumentError, UnsupportedError

needs_libraries = pytest.mark.skipif(
    not native.runnable_sets(), reason=f"no native kernels: {native.choice().reason}"
)


@pytest.fixture(autouse=True)
def unpinned(monkeypatch):
    monkeypatch.delenv(native.VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder where libraries are looked for."""
    monkeypatch.setenv(native.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@needs_libraries
def test_the_fastest_runs_unless_pinned():
    chosen = native.choice()
    assert chosen.library.instruction_set == native.runnable_sets()[0]
    assert "fastest" in chosen.reason


@needs_libraries
@pytest.mark.parametrize("name", native.INSTRUCTION_SETS)
def test_a_set_can_be_pinned(monkeypatch, name):
    monkeypatch.setenv(native.VARIABLE, name)
    if name in native.runnable_sets():
        assert native.choice().library.instruction_set == name
        assert native.choice().reason == f"pinned by AAT_NATIVE={name}"
    else:
        with pytest.raises(UnsupportedError, match=native.availability()[name]):
            native.choice()


@needs_libraries
def test_each_set_has_its_own_width():
    width = {"avx512": 64, "avx2": 32, "baseline": 16}
    for name in native.runnable_sets():
        assert native.library(name).vector_bytes == width[name]


def test_off_is_off(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "off")
    assert native.choice() == native.Choice(None, "AAT_NATIVE=off")


def test_an_unknown_word_is_refused(monkeypatch):
    monkeypatch.setenv(native.VARIABLE, "avx3")
    with pytest.raises(ArgumentError, match=r"AAT_NATIVE: got 'avx3', expected 'avx512', .* 'off'"):
        native.choice()


@needs_libraries
def test_a_set_that_the_processor_lacks_is_not_run(monkeypatch):
    monkeypatch.setattr(native.Library, "fastest_set", "baseline")
    native.selection._examined.cache_clear()
    native.selection._fastest.cache_clear()
    try:
        assert native.runnable_sets() == ("baseline",)
        assert native.choice().reason.endswith("avx2: this processor lacks it")
        monkeypatch.setenv(native.VARIABLE, "avx2")
        with pytest.raises(UnsupportedError, match=r"'avx2': this processor lacks it.*: baseline"):
            native.choice()
    finally:
        native.selection._examined.cache_clear()
        native.selection._fastest.cache_clear()


def test_what_was_not_built_is_told(folder, monkeypatch):
    assert native.runnable_sets() == ()
    assert native.choice() == native.Choice(None, "not built: the kernels were not compiled")
    monkeypatch.setenv(native.VARIABLE, "baseline")
    with pytest.raises(UnsupportedError, match=r"'baseline': not built.*: nothing.*Fix:"):
        native.choice()


def test_why_it_was_not_built_is_told(folder):
    (folder / "reason.txt").write_text("no C++ compiler\n")
    assert native.choice() == native.Choice(None, "not built: no C++ compiler")


def test_a_file_that_cannot_be_loaded_is_a_reason(folder, monkeypatch, caplog):
    (folder / "libaat_baseline.so").write_text("not a library")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert native.choice().library is None
            assert "cannot be loaded" in native.choice().reason
    assert len(caplog.records) == 1
    monkeypatch.setenv(native.VARIABLE, "baseline")
    with pytest.raises(UnsupportedError, match="cannot be loaded"):
        native.choice()


@pytest.mark.skipif(len(native.runnable_sets()) < 2, reason="only one set runs here")
def test_a_faulty_library_leaves_the_slower_ones(tmp_path, monkeypatch):
    faulty, *slower = native.runnable_sets()
    for name in slower:
        (tmp_path / f"libaat_{name}.so").symlink_to(native.library(name).path)
    (tmp_path / f"libaat_{faulty}.so").write_text("not a library")
    monkeypatch.setenv(native.FOLDER_VARIABLE, str(tmp_path))
    assert native.choice().library.instruction_set == slower[0]
    assert f"{faulty}: cannot be loaded" in native.choice().reason


@needs_libraries
def test_a_call_that_a_library_lacks_names_the_fix():
    with pytest.raises(UnsupportedError, match=r"no call 'unheard_of'.*csrc/build\.py"):
        native.choice().library.call("unheard_of", torch.float32)


def test_a_view_shows_a_tensor_as_it_lies():
    tensor = torch.zeros(7, 2, 5).transpose(0, 1)[:, 1:]
    view = View()
    native.fill(view, tensor)
    assert view.data == tensor.data_ptr()
    assert list(view.stride) == [5, 10, 1, 0]


def test_a_view_refuses_a_last_axis_with_gaps():
    with pytest.raises(AssertionError):
        native.fill(View(), torch.zeros(4, 4).t())
