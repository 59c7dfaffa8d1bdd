"""The command line: `python -m app --help`. Exit codes: 0 done, 1 refused or failed, 2 misused, 3 not reached."""

from __future__ import annotations

import typer

from app.cli import keys, retention, sagas, services, serving

app = typer.Typer(
    help="Operate the checkout service.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(sagas.app, name="sagas", help="See and mend sagas, over the service's API.")
app.add_typer(keys.app, name="keys", help="Make and end API keys, in the database that DATABASE_URL names.")
app.add_typer(
    retention.app,
    name="retention",
    help="Let old checkouts leave, or a customer, in the database that DATABASE_URL names.",
)
app.add_typer(
    services.app, name="services", help="Check a payment, inventory or shipping service of your own."
)
app.command("serve")(serving.serve)
app.command("migrate")(serving.migrate)
app.command("demo")(serving.demo)
app.command("doctor")(serving.doctor)
