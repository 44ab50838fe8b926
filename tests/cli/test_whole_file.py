import os

import pytest

from adaptive_attention_tiling.cli import whole_file
from adaptive_attention_tiling.cli.whole_file import check_writable, write_whole
from adaptive_attention_tiling.errors import ArgumentError


def test_a_file_is_written_and_replaced_with_nothing_left_beside_it(tmp_path):
    path = tmp_path / "page.html"
    for text in ("first", "zweiter Text, ä"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_old_file_and_no_half(tmp_path, monkeypatch, error):
    path = tmp_path / "page.html"
    path.write_text("old")

    def interrupted(*_):
        raise error

    monkeypatch.setattr(whole_file.os, "replace", interrupted)
    with pytest.raises(error):
        write_whole(path, "new" * 10_000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_it_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "other").write_text("")
    write_whole(tmp_path / "page", "")
    assert (tmp_path / "page").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_checking_leaves_no_trace(tmp_path):
    check_writable(tmp_path / "new", "--report")
    (tmp_path / "old").write_text("kept")
    check_writable(tmp_path / "old", "--report")
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


@pytest.mark.parametrize("name", ["", "missing/page.html", "file/page.html"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"--report: got .*expected a file"):
        check_writable(tmp_path / name, "--report")
