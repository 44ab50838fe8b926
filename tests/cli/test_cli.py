import subprocess
import sys

import pytest
from typer.testing import CliRunner

from adaptive_attention_tiling import __version__
from adaptive_attention_tiling.cli import app, doctor
from adaptive_attention_tiling.errors import ArgumentError, DataError

MESSAGE = 'install "adaptive-attention-tiling[hf]" '


def aat(*arguments: str):
    return CliRunner().invoke(app, arguments, prog_name="aat")


@pytest.fixture
def doctor_raises(monkeypatch):
    def set_error(error):
        def fails():
            raise error

        monkeypatch.setattr(doctor, "examine", fails)

    return set_error


def test_version():
    result = aat("--version")
    assert (result.exit_code, result.output) == (0, f"aat {__version__}\n")


def test_help_names_every_command():
    result = aat("--help")
    assert result.exit_code == 0
    for command in app.registered_commands:
        assert command.callback.__name__ in result.output
        assert command.callback.__doc__, "the help of a command is its docstring"


def test_help_does_not_import_torch():
    code = (
        "import sys; from adaptive_attention_tiling.cli import app\n"
        "app(['--help'], standalone_mode=False); print('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "Commands" in output
    assert output.strip().endswith("False")


def test_an_error_of_ours_is_one_message_and_exit_code_2(doctor_raises):
    doctor_raises(ArgumentError("text", "a.pdf", "text", MESSAGE + "x" * 200))
    result = aat("doctor")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (f"error: text: got a.pdf, expected text. Fix: {MESSAGE}{'x' * 200}.\n")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_where_it_arose(doctor_raises, monkeypatch, how):
    doctor_raises(DataError("broken"))
    if how == "variable":
        monkeypatch.setenv("AAT_DEBUG", "1")
    result = aat(*["--debug"] * (how == "option"), "doctor")
    assert result.exit_code == 1
    assert isinstance(result.exception, DataError)


def test_a_bug_is_not_dressed_up_as_a_message(doctor_raises):
    doctor_raises(ZeroDivisionError())
    assert isinstance(aat("doctor").exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_no_traceback(doctor_raises):
    doctor_raises(KeyboardInterrupt())
    result = aat("doctor")
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_misspelt_command_is_refused():
    result = aat("docter")
    assert result.exit_code == 2
    assert "No such command 'docter'" in result.stderr
