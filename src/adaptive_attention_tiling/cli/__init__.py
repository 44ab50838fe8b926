"""The command `aat`. One file a command; what is heavy is imported inside the command."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from .. import __version__
from ..errors import AATError
from . import demo, doctor, inspect


class _Commands(TyperGroup):
    """Shows the errors that the package raises on purpose as one message, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AATError as error:
            if ctx.params["debug"]:
                raise
            # Text, not markup: a message may hold square brackets.
            message = Text.assemble(("error: ", "bold red"), str(error))
            Console(stderr=True, soft_wrap=True).print(message)
            raise typer.Exit(2) from error


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aat {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback(help="Attention that reads far text in full only where it matters.")
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="AAT_DEBUG", help="Show where an error arose.")
    ] = False,
) -> None:
    pass


app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(inspect.inspect)


def main() -> None:
    """Run the command line; never returns."""
    app(prog_name="aat")
