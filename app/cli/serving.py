"""`checkout serve`, `migrate`, `demo` and `doctor`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from app import demo as demonstration
from app.cli.failing import failure
from app.cli.terminal import words
from app.config import Settings
from app.database_url import DatabaseUrlError
from app.saga.errors import LogUnavailable
from app.services import reachable
from app.storage import open_storage
from app.storage.engine import Database, UnsafeDatabase
from app.storage.migrations import LockHeld, SchemaAhead, current, head, upgrade
from app.storage.postgres_session import advice

CLOCKS_APART_SECONDS = 5.0


def serve(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8000,
    root_path: Annotated[str, typer.Option(help="Under which path a proxy serves it, such as /shop.")] = "",
) -> None:
    """Serve the API; the environment says the rest."""
    uvicorn.run("app.main:app", host=host, port=port, root_path=root_path)


def migrate() -> None:
    """Bring DATABASE_URL's schema up to date; safe from several machines at once, and while the service runs."""
    settings = _settings()
    try:
        stands = upgrade(settings.database_url.get_secret_value())
    except (SchemaAhead, LockHeld) as error:
        raise failure(str(error)) from None
    except (SQLAlchemyError, DatabaseUrlError, UnsafeDatabase, OSError) as error:
        raise failure(f"The schema could not be changed: {error}") from None
    typer.echo(stands)


def demo() -> None:
    """Run twenty checkouts of which three in ten steps fail."""
    raise typer.Exit(asyncio.run(demonstration.main()))


def doctor() -> None:
    """Check the settings, the database, the schema, the services and what is stuck; say what to do. Exit 1 on a fault."""
    findings = asyncio.run(_examined(_settings()))
    table = Table("check", "", "what to do")
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]look[/]", "fail": "[bold red]FAULT[/]"}
    for name, grade, text in findings:
        table.add_row(words(name), marks[grade], words(text))
    Console().print(table)
    if any(grade == "fail" for _, grade, _ in findings):
        raise typer.Exit(1)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{_variable(one['loc'])}: {one['msg']}" for one in error.errors(include_input=False)]
        raise failure("The settings can't be used.\n" + "\n".join(lines)) from None


def _variable(place: tuple[int | str, ...]) -> str:
    """Return the environment variable of a setting, which may stand here by either of its names."""
    name = str(place[0]) if place else "the settings together"
    return f"CHECKOUT_{name.upper()}" if name in Settings.model_fields else name


async def _schema(database: Database) -> tuple[str, str, str]:
    engine = database.migration_engine()
    try:
        at, wanted = await current(engine), head()
    except SchemaAhead as ahead:
        return "schema", "warn" if ahead.runs else "fail", str(ahead)
    finally:
        await engine.dispose()
    if at != wanted:
        return "schema", "fail", f"It is at {at or 'nothing'}, not at {wanted}: run `migrate`."
    return "schema", "ok", f"at {at}"


async def _session(database: Database) -> tuple[str, str, str]:
    link = await database.connect_postgres()
    try:
        words = await advice(link)
    finally:
        await link.close()
    return "PostgreSQL", "warn" if words else "ok", "; ".join(words)


async def _examined(settings: Settings) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = [("settings", "ok", "")]
    url = settings.database_url.get_secret_value()
    try:
        database = Database(url)
        found.append(await _schema(database))
        if found[-1][1] == "fail":
            return found
        if database.is_postgres:
            found.append(await _session(database))
        async with open_storage(url, pool_size=1) as storage:
            found.append(("durability", "ok", "commits last"))
            async with storage.log.reading() as connection:
                apart = (await storage.log.now(connection) - datetime.now(UTC)).total_seconds()
            census = await storage.queries.census()
    except DatabaseUrlError as error:
        return [*found, ("DATABASE_URL", "fail", str(error))]
    except UnsafeDatabase as error:
        return [*found, ("durability", "fail", str(error))]
    except (LogUnavailable, SQLAlchemyError, OSError) as error:
        return [
            *found,
            ("database", "fail", f"It can't be reached ({type(error).__name__}): is DATABASE_URL right?"),
        ]
    steady = abs(apart) < CLOCKS_APART_SECONDS
    found.append(("clock", "ok" if steady else "warn", f"{apart:+.1f} s from the database's"))
    attended = census.unfinished.get("needs_attention", 0)
    found.append(
        (
            "needs attention",
            "warn" if attended else "ok",
            f"{attended}: see `sagas list --status needs_attention`" if attended else "",
        )
    )
    late = census.overdue_seconds > 2 * settings.lease_seconds
    found.append(
        (
            "overdue",
            "warn" if late else "ok",
            f"a saga has waited {census.overdue_seconds:.0f} s for a replica: is one running?"
            if late
            else "",
        )
    )
    for name, service in (
        ("payment", settings.payment_url),
        ("inventory", settings.inventory_url),
        ("shipping", settings.shipping_url),
    ):
        if not service:
            found.append((name, "warn", "the sandbox: nothing is charged or shipped for real"))
        elif wrong := await reachable(service):
            found.append((name, "fail", f"{wrong}: is {name.upper()}_URL right?"))
        else:
            found.append((name, "ok", ""))
    return found
