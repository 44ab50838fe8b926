import ast
import subprocess
import sys
from pathlib import Path

import pytest

import adaptive_attention_tiling as aat

# An audit hook sees every open() and socket call of the interpreter, whoever makes it.
_WATCH = """
import sys
seen = []
def hook(event, args):
    if event == "open" or event.startswith("socket."):
        seen.append(event + " " + str(args[0]))
sys.addaudithook(hook)
{action}
# Reading the modules themselves is not what is asked about.
is_module = lambda line: line.endswith((".py", ".pyc", ".so")) or "__pycache__" in line
print([line for line in seen if not is_module(line)])
"""


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True
    )


def test_import_opens_no_file_and_no_socket():
    assert run(_WATCH.format(action="import adaptive_attention_tiling")).stdout.strip() == "[]"


@pytest.mark.parametrize("action", ["open('/dev/null')", "import socket; socket.socket()"])
def test_the_watch_sees_files_and_sockets(action):
    assert run(_WATCH.format(action=action)).stdout.strip() != "[]"


def test_import_adds_less_than_a_second_to_torch():
    code = (
        "import torch, time; start = time.perf_counter(); import adaptive_attention_tiling;"
        "print(time.perf_counter() - start)"
    )
    assert float(run(code).stdout) < 1.0


def test_import_does_not_load_torch():
    code = "import sys, adaptive_attention_tiling; print('torch' in sys.modules)"
    assert run(code).stdout.strip() == "False"


@pytest.mark.parametrize("name", aat.__all__)
def test_every_public_name_resolves(name):
    assert getattr(aat, name) is not None
    assert name in dir(aat)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'tilde_attention'"):
        _ = aat.tilde_attention


def test_type_checkers_see_the_names_that_users_see():
    tree = ast.parse(Path(aat.__file__).read_text())
    imported = {
        (f".{node.module}", alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert imported == {(home, name) for name, home in aat._HOME.items()}
