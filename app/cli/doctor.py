"""`checkout doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from app.bootstrap.telemetry import TracesMissing, open_traces
from app.cli.output.failing import settings_or_failure
from app.cli.output.terminal import words
from app.saga.ports.clock import SystemClock
from app.services import reachable
from app.settings.deprecated import deprecated_variables
from app.settings.environment import unknown_variables
from app.settings.settings import Settings
from app.sqlite.file import why_not
from app.storage import open_storage
from app.storage.engine.database import Database, UnsafeDatabase
from app.storage.engine.postgres_session import advice
from app.storage.schema.schema_version import SchemaAhead, current, head
from app.storage.start_faults import database_fault

CLOCKS_APART_SECONDS = 5.0


def doctor() -> None:
    """Find what is wrong, and say what to do. Checks settings, database, schema, services and what is stuck; exit code 1 at a fault."""
    findings = asyncio.run(_examined(settings_or_failure()))
    table = Table("check", "", "what to do")
    marks = {"ok": "[green]ok[/]", "warn": "[yellow]look[/]", "fail": "[bold red]FAULT[/]"}
    for name, grade, text in findings:
        table.add_row(words(name), marks[grade], words(text))
    Console().print(table)
    if any(grade == "fail" for _, grade, _ in findings):
        raise typer.Exit(1)


Findings = list[tuple[str, str, str]]
"""What was looked at, its grade (ok, warn or fail), and what to do."""


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
        found = await advice(link)
    finally:
        await link.close()
    return "PostgreSQL", "warn" if found else "ok", "; ".join(found)


async def _examined(settings: Settings) -> Findings:
    unknown = [*unknown_variables(), *deprecated_variables()]
    found: Findings = [("settings", "warn" if unknown else "ok", "\n".join(unknown))]
    found += await _database_examined(settings)
    for name, service in (
        ("payment", settings.payment_url),
        ("inventory", settings.inventory_url),
        ("shipping", settings.shipping_url),
    ):
        if not service:
            found.append((name, "warn", "the sandbox: nothing is charged or shipped for real"))
        elif unreached := await reachable(service):
            found.append((name, "fail", f"{unreached}: is {name.upper()}_URL right?"))
        else:
            found.append((name, "ok", ""))
    if not settings.every_service_is_remote:
        books = settings.sandbox_database
        refused = None if books == ":memory:" else why_not(books)
        kept = "in memory: gone with the server" if books == ":memory:" else ""
        found.append(("SANDBOX_DATABASE", "fail" if refused else "ok", refused or kept))
    return [*found, await _traces_examined(settings)]


async def _database_examined(settings: Settings) -> Findings:
    """Check the database without changing it. Nothing is checked after the first fault."""
    url = settings.database_url.get_secret_value()
    database = Database(url)
    if not database.is_postgres and not os.path.exists(database.path):  # noqa: ASYNC240, PTH110 (nobody waits)
        wrong = why_not(database.path)
        made = settings.auto_migrate != "false"
        what = "the service makes an empty one when it starts" if made else "`migrate` makes an empty one"
        advice = wrong or f"There is no file {database.path}: {what}. If there was one, put it back first."
        return [("database", "warn" if made and not wrong else "fail", advice)]
    found: Findings = []
    try:
        found.append(await _schema(database))
        if found[-1][1] == "fail":
            return found
        if database.is_postgres:
            found.append(await _session(database))
        async with open_storage(url, pool_size=1) as storage:
            found.append(("durability", "ok", "commits are durable"))
            async with storage.log.reading() as connection:
                apart = (await storage.log.now(connection) - datetime.now(UTC)).total_seconds()
            backlog = await storage.queries.backlog_stats()
    except UnsafeDatabase as error:
        return [*found, ("durability", "fail", str(error))]
    except Exception as error:
        if (fault := database_fault(error, url)) is None:
            raise
        return [*found, ("database", "fail", fault)]
    steady = abs(apart) < CLOCKS_APART_SECONDS
    found.append(("clock", "ok" if steady else "warn", f"{abs(apart):.1f} s from the database's"))
    attended = backlog.unfinished.get("needs_attention", 0)
    advice = f"{attended}: see `sagas stuck`" if attended else ""
    found.append(("needs attention", "warn" if attended else "ok", advice))
    late = backlog.oldest_due_age_seconds > 2 * settings.lease_seconds
    advice = (
        f"a saga has waited {backlog.oldest_due_age_seconds:.0f} s for a replica: is one running?"
        if late
        else ""
    )
    return [*found, ("overdue", "warn" if late else "ok", advice)]


async def _traces_examined(settings: Settings) -> tuple[str, str, str]:
    try:
        traces = open_traces(settings, SystemClock())
    except TracesMissing as missing:
        return ("traces", "fail" if settings.traces else "warn", str(missing))
    if traces is None:
        return ("traces", "ok", "off")
    await traces.close()
    return ("traces", "ok", f"sent to {settings.otlp_endpoint or 'the default endpoint of OpenTelemetry'}")
