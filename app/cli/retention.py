"""`checkout retention …`: straight on the database, beside the running service or without it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.bootstrap.clock import log_time
from app.bootstrap.retention import open_retention
from app.cli.output.failing import database_failure, failure, settings_or_failure
from app.operations.retention import ErasureResult, Retention, RetentionCounts
from app.saga.model.errors import LogUnavailable
from app.saga.model.status import SagaStatus
from app.storage import open_storage
from app.storage.engine.database import UnsafeDatabase

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)

MOST_NAMED = 20
_WHY = {
    SagaStatus.RUNNING: "it is under way",
    SagaStatus.COMPENSATING: "it is being compensated",
    SagaStatus.NEEDS_ATTENTION: "it needs attention; use `sagas retry` or `sagas resolve`",
}


@app.command()
def run(*, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False) -> None:
    """Redact and delete old checkouts now. CHECKOUT_KEEP_DATA_DAYS and CHECKOUT_KEEP_SAGAS_DAYS say how old."""
    if dry_run:
        due = _with_retention(lambda retention: retention.preview())
        typer.echo(f"{due.redacted} would be redacted, {due.deleted} deleted.")
        return
    done = _with_retention(_shown)
    typer.echo(f"{done.redacted} redacted, {done.deleted} deleted.")


@app.command()
def forget(
    customer: Annotated[str, typer.Option(help="The customer_id of the checkouts.")],
    *,
    caller: Annotated[str | None, typer.Option(help="Only this caller's. Default: every caller's.")] = None,
) -> None:
    """Redact a customer's finished checkouts now. If some aren't finished, they are named and the exit code is 1."""

    async def forgotten(retention: Retention) -> ErasureResult:
        return await retention.erase(customer, caller=caller)

    found = _with_retention(forgotten)
    typer.echo(f"{found.redacted} redacted.")
    if not found.unfinished:
        return
    by_status = Counter(one.status for one in found.unfinished)
    counts = ", ".join(f"{count} {status}" for status, count in by_status.items())
    for one in found.unfinished[:MOST_NAMED]:
        typer.echo(f"{one.saga_id} keeps its data, as {_WHY[one.status]}.", err=True)
    raise failure(
        f"These are not finished and still need their data: {counts}. Run this again once they are finished."
    )


async def _shown(retention: Retention) -> RetentionCounts:
    """Run, with a progress bar on a terminal."""
    due = await retention.preview()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        redacting = progress.add_task("redacting", total=due.redacted)
        deleting = progress.add_task("deleting", total=due.deleted)
        retention.on_redacted = lambda sagas: progress.advance(redacting, sagas)
        retention.on_deleted = lambda sagas: progress.advance(deleting, sagas)
        return await retention.run()


def _with_retention(work: Callable[[Retention], Awaitable[T]]) -> T:
    settings = settings_or_failure()

    async def worked() -> T:
        async with open_storage(settings.database_url.get_secret_value(), pool_size=1) as storage:
            return await work(open_retention(settings, storage, await log_time(storage)))

    try:
        return asyncio.run(worked())
    except (LogUnavailable, UnsafeDatabase) as error:
        raise database_failure(error, settings) from None
