"""Kernels are compiled where that is possible, put in place whole, and compiled again on change."""

import os
import subprocess
import sys

import pytest

from adaptive_attention_tiling.backends.native import Library


@pytest.fixture
def nothing_to_compile_with(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.fixture
def compiled(build, monkeypatch):
    """The sources that were compiled since it was last emptied."""
    seen = []
    run = build._run

    def watched(*command):
        seen.extend(part for part in command if part.endswith(".cpp"))
        run(*command)

    monkeypatch.setattr(build, "_run", watched)
    return seen


def test_every_set_of_this_kind_of_machine_is_built(build, compiler, tmp_path):
    libraries = build.build(tmp_path / "made")
    assert [path.stem for path in libraries] == [f"libaat_{s}" for s in build.instruction_sets()]
    assert sorted(os.listdir(tmp_path / "made")) == sorted(path.name for path in libraries)
    assert Library(libraries[-1]).vector_bytes == 16


def test_only_what_has_changed_is_compiled_again(build, compiler, tmp_path, compiled):
    sets = ("baseline",)
    build.build(tmp_path / "made", sets=sets)
    assert len(compiled) == 2  # machine.cpp, and the text of the headers
    compiled.clear()
    build.build(tmp_path / "made", sets=sets)
    assert compiled == []
    header = tmp_path / "csrc/simd.h"
    header.write_text(header.read_text() + "// changed\n")
    build.build(tmp_path / "made", sets=sets)
    assert [os.path.basename(name) for name in compiled] == ["machine.cpp"]


def test_other_options_make_other_objects(build, compiler, tmp_path, compiled, monkeypatch):
    build.build(tmp_path / "made", sets=("baseline",))
    monkeypatch.setattr(build, "COMMON", (*build.COMMON, "-DAAT_OTHER"))
    build.build(tmp_path / "made", sets=("baseline",))
    assert len(compiled) == 4


def test_a_loaded_library_outlives_the_next_build(build, compiler, tmp_path):
    (path,) = build.build(tmp_path / "made", sets=("baseline",))
    before = path.stat().st_ino
    loaded = Library(path)
    build.build(tmp_path / "made", sets=("baseline",))
    assert path.stat().st_ino != before  # a new file in its place, not the old one written over
    assert loaded.vector_bytes == 16


def test_a_source_that_does_not_compile_leaves_the_libraries(build, compiler, tmp_path):
    (path,) = build.build(tmp_path / "made", sets=("baseline",))
    (tmp_path / "csrc/wrong.cpp").write_text("int wrong( { }\n")
    with pytest.raises(build.BuildError, match=r"wrong\.cpp:1") as caught:
        build.build(tmp_path / "made", sets=("baseline",))
    assert "\n" not in caught.value.reason
    assert caught.value.reason in str(caught.value)
    assert Library(path).vector_bytes == 16
    leftover = [name for name in os.listdir(tmp_path / "build/objects") if name[0] == "."]
    assert leftover == []


def test_no_compiler_is_told(build, nothing_to_compile_with, tmp_path):
    with pytest.raises(build.NoCompilerError, match="looked for"):
        build.build(tmp_path / "made")


def test_a_compiler_that_is_not_there_is_told(build, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "/nonexistent/c++ -m64")
    with pytest.raises(build.NoCompilerError, match="'/nonexistent/c\\+\\+', which is not there"):
        build.build(tmp_path / "made")


def test_a_program_that_is_no_compiler_is_told(build, monkeypatch, tmp_path):
    program = tmp_path / "c++"
    program.write_bytes(b"\0")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    with pytest.raises(build.BuildError, match="could not be run"):
        build.build(tmp_path / "made")


def test_options_may_follow_the_compiler(build, compiler, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", f"{compiler[0]} -DAAT_VECTOR_BYTES_SEEN")
    assert build.compiler() == (compiler[0], "-DAAT_VECTOR_BYTES_SEEN")


def test_windows_is_told(build, monkeypatch):
    monkeypatch.setattr(build.sys, "platform", "win32")
    with pytest.raises(build.NoCompilerError, match="Windows"):
        build.compiler()


def test_other_processors_get_the_baseline(build, monkeypatch):
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    assert build.instruction_sets() == {"baseline": ()}


class TestBuildOrTell:
    def test_success_leaves_no_reason(self, build, compiler, tmp_path):
        made = tmp_path / "made"
        made.mkdir()
        (made / "reason.txt").write_text("an old one")
        assert build.build_or_tell(made) is None
        assert (made / "libaat_baseline.so").exists()
        assert not (made / "reason.txt").exists()

    @pytest.mark.parametrize(
        ("variable", "value", "reason"),
        [
            ("CXX", "/nonexistent", "CXX names '/nonexistent'"),
            ("CXX", "/bin/false", "/bin/false failed with status 1: no message"),
            ("AAT_BUILD_NATIVE", "0", "left out by AAT_BUILD_NATIVE=0"),
        ],
    )
    def test_failure_leaves_the_reason_alone(
        self, build, tmp_path, monkeypatch, variable, value, reason
    ):
        made = tmp_path / "made"
        made.mkdir()
        (made / "libaat_avx2.so").write_text("of older sources")
        monkeypatch.setenv(variable, value)
        error = build.build_or_tell(made)
        assert reason in error.reason
        assert os.listdir(made) == ["reason.txt"]
        assert (made / "reason.txt").read_text() == f"{error.reason}\n"


class TestCommand:
    """What `make` calls: no compiler is a message, a kernel that does not compile is an error."""

    def run(self, build, into, **environment):
        return subprocess.run(
            [sys.executable, build.__file__, "--optional", "--into", str(into)],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
        )

    def test_without_a_compiler_it_succeeds(self, build, tmp_path):
        result = self.run(build, tmp_path, CXX="/nonexistent")
        assert result.returncode == 0, result.stderr
        assert "no native kernels: no C++ compiler" in result.stdout

    def test_with_a_failing_compiler_it_fails(self, build, tmp_path):
        result = self.run(build, tmp_path, CXX="/bin/false")
        assert result.returncode == 1
        assert "/bin/false failed with status 1" in result.stderr
        assert "AAT_BUILD_NATIVE=0" in result.stderr
