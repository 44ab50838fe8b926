"""Examples of the README run as they are printed."""

import re
import runpy
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = dict(re.findall(r"^## ([^\n]+)\n\n```python\n(.*?)```", README, re.M | re.S))


@pytest.mark.parametrize("heading", ["Mathematics", "Gaussian splats", "Adaptive tiling"])
def test_an_example_runs_and_what_it_prints_are_numbers(heading, tmp_path, capsys):
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[heading])
    runpy.run_path(str(program))
    assert "nan" not in capsys.readouterr().out
