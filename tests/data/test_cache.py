import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_attention_tiling.data.cache import cache_root, cached_folder, folder_bytes
from adaptive_attention_tiling.errors import DataError
from adaptive_attention_tiling.optional import installed

pytestmark = pytest.mark.skipif(not installed("filelock"), reason="package filelock is missing")


def write_number(folder: Path) -> None:
    (folder / "number").write_text("42")


def test_a_folder_is_built_once(tmp_path):
    builds = []

    def build(folder):
        builds.append(folder)
        write_number(folder)

    first = cached_folder("thing", build, root=tmp_path / "cache")
    assert cached_folder("thing", build, root=tmp_path / "cache") == first
    assert (first / "number").read_text() == "42"
    assert len(builds) == 1
    assert folder_bytes(tmp_path / "cache") == 2


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_build_leaves_nothing(tmp_path, reason):
    def fails(folder):
        write_number(folder)
        raise reason

    with pytest.raises(reason):
        cached_folder("thing", fails, root=tmp_path)
    assert folder_bytes(tmp_path) == 0
    assert (cached_folder("thing", write_number, root=tmp_path) / "number").exists()


# Says that it has begun, then takes its time.
_SLOW = """
import sys, time
from pathlib import Path
from adaptive_attention_tiling.data.cache import cached_folder

def build(folder):
    (folder / "half").write_text("half")
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "half").rename(folder / "whole")

cached_folder("thing", build, root=Path(sys.argv[1]))
"""


def start(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _SLOW, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_leaves_nothing_that_looks_finished(tmp_path):
    with start(tmp_path, 60) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
    assert not (tmp_path / "thing").exists()
    folder = cached_folder("thing", write_number, root=tmp_path)
    assert [path.name for path in folder.iterdir()] == ["number"]
    assert not list(tmp_path.glob("*.partial"))


def test_of_two_processes_one_builds_and_both_succeed(tmp_path):
    with start(tmp_path, 2) as one:
        assert one.stdout.readline() == "begun\n"
        began = time.perf_counter()
        said = []
        folder = cached_folder(
            "thing", write_number, root=tmp_path, progress=lambda _, what: said.append(what)
        )
        assert one.wait() == 0
        assert time.perf_counter() - began > 1
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert said == ["waiting for the model cache"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="set AAT_CACHE"):
        cached_folder("thing", write_number, root=tmp_path / "file")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "/home/ada/.cache/adaptive-attention-tiling"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/adaptive-attention-tiling"),
        ("darwin", {}, "/home/ada/Library/Caches/adaptive-attention-tiling"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/adaptive-attention-tiling"),
        ("linux", {"AAT_CACHE": "/mine", "XDG_CACHE_HOME": "/xdg"}, "/mine"),
    ],
)
def test_the_cache_lies_where_the_system_keeps_caches(monkeypatch, platform, variables, expected):
    for name in ("AAT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    assert cache_root() == Path(expected)
