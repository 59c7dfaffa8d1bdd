"""`checkout migrate`."""

from __future__ import annotations

import typer

from app.cli.output.failing import database_failure, settings_or_failure
from app.storage.schema.migrations import upgrade


def migrate() -> None:
    """Bring DATABASE_URL's schema up to date. Safe from several machines at once, and while the service runs."""
    settings = settings_or_failure()
    try:
        revision = upgrade(settings.database_url.get_secret_value())
    except Exception as error:  # noqa: BLE001 (raised again where its cause isn't known)
        raise database_failure(error, settings) from None
    typer.echo(revision)
