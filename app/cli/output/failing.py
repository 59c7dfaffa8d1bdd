"""How a command fails: one sentence on standard error, and an exit code that scripts can tell apart."""

from __future__ import annotations

import typer

from app.cli.output.terminal import safe
from app.settings.deprecated import deprecated_variables
from app.settings.environment import SettingsError, read_settings
from app.settings.settings import Settings
from app.storage.start_faults import database_fault

REFUSED = 1
MISUSED = 2
NOT_REACHED = 3
STILL_STUCK = 4
"""The action was done, but the saga still needs attention."""


def settings_or_failure() -> Settings:
    """Return the settings, with a warning for each old name; where they can't be used, say so and raise `MISUSED`."""
    try:
        settings = read_settings()
    except SettingsError as error:
        raise failure(str(error), MISUSED) from None
    for sentence in deprecated_variables():
        typer.echo(safe(sentence), err=True)
    return settings


def database_failure(error: Exception, settings: Settings) -> typer.Exit:
    """Say why the database can't be used, and return what to raise; raise the error itself where that isn't known."""
    words = database_fault(error, settings.database_url.get_secret_value())
    if words is None:
        raise error
    return failure(words, NOT_REACHED)


def failure(words: str, code: int = REFUSED) -> typer.Exit:
    """Say what is wrong, and return what to raise."""
    typer.echo(safe(words, keep="\n"), err=True)
    return typer.Exit(code)
