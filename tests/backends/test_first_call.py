"""What the first call of an operator brings with it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys, torch
from adaptive_attention_tiling.ops.{room} import {call}
x = torch.rand(1, 1, 8, 4)
{line}
print("torch._dynamo" in sys.modules)
"""


def _imports_compiler(room: str, call: str, line: str) -> str:
    program = _PROGRAM.format(room=room, call=call, line=line)
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_no_operator_imports_the_compiler() -> None:
    calls = {
        ("linear_attention", "linear_attention"): "linear_attention(x, x, x, is_causal=True)",
        (
            "softmax_attention",
            "ranged_attention",
        ): "ranged_attention(x[:, :, None], x, x, scale=1.0)",
        ("tiled_attention", "tiled_attention"): "tiled_attention(x, x, x, is_causal=True)",
        ("selective_scan", "selective_scan"): (
            "selective_scan(x[0], x[0], -x[0, 0, :4], x[0], x[0])"
        ),
    }
    for (room, call), line in calls.items():
        assert _imports_compiler(room, call, line) == "False", call
