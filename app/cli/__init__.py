"""The command line: `python -m app --help`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 service not reached, 4 done, but the saga is still stuck.
"""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.commands import PLAIN, CommandLine
from app.cli.output.encoding import take_any_character
from app.telemetry.sentences import show_warnings

app = typer.Typer(cls=CommandLine, help="Operate the checkout service.", no_args_is_help=True, **PLAIN)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        from app.cli.version import version_line  # noqa: PLC0415 - it is slow to import

        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    take_any_character()
    if context.invoked_subcommand != "serve":  # which sets up logs of its own
        show_warnings()


def main() -> None:
    """Run the command line as `checkout`."""
    take_any_character()  # for --help, which is printed before any command is run
    app(prog_name="checkout")
