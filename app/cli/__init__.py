"""The command line: `python -m app --help`.

Exit codes: 0 done, 1 refused or failed, 2 misused, 3 not reached, 4 done but the saga is stuck still.
"""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import keys, retention, sagas, services, serving
from app.cli.terminal import take_any_character
from app.cli.version import version_line
from app.telemetry.sentences import show_warnings

app = typer.Typer(
    help="Operate the checkout service.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say which release this is."),
    ] = False,
) -> None:
    take_any_character()
    if context.invoked_subcommand != "serve":  # which sets up logs of its own
        show_warnings()


app.add_typer(sagas.app, name="sagas", help="Show sagas and act on them, over the service's API.")
app.add_typer(
    keys.app, name="keys", help="Create and revoke API keys. In the database that DATABASE_URL names."
)
app.add_typer(
    retention.app,
    name="retention",
    help="Erase old checkouts, or one customer's data. In the database that DATABASE_URL names.",
)
app.add_typer(
    services.app, name="services", help="Check a payment, inventory or shipping service of your own."
)
app.command(
    "serve",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(serving.serve)
app.command("migrate")(serving.migrate)
app.command("demo")(serving.demo)
app.command("doctor")(serving.doctor)


def main() -> None:
    """Run the command line as `checkout`."""
    take_any_character()  # for --help, which is printed before any command is run
    app(prog_name="checkout")
