"""Each filter of a list is answered from an index, for everybody's sagas and for one caller's, whatever there is of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter
from app.storage.engine.tables import instant_text
from app.storage.sagas.first_id import first_id
from app.storage.sagas.list_statement import list_statement

SAGAS = 10_000
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
LIMIT = 21
MOST_BLOCKS = 400
"""The whole of the tables is several times as large."""

FILTERS = {
    "all": (SagaFilter(), None),
    "order": (SagaFilter(order_id="ord-777"), "uq_saga_order"),
    "customer": (SagaFilter(customer_id="cus-77"), "ix_saga_customer"),
    "running": (SagaFilter(status=SagaStatus.RUNNING), "ix_saga_due"),
    "compensating": (SagaFilter(status=SagaStatus.COMPENSATING), "ix_saga_due"),
    "completed": (SagaFilter(status=SagaStatus.COMPLETED), None),
    "compensated": (SagaFilter(status=SagaStatus.COMPENSATED), "ix_saga_compensated"),
    "attention": (SagaFilter(status=SagaStatus.NEEDS_ATTENTION), "ix_saga_needs_attention"),
    "window": (
        SagaFilter(created_after=BEGAN + timedelta(minutes=60), created_before=BEGAN + timedelta(minutes=70)),
        None,
    ),
    "step": (SagaFilter(failing_step="inventory"), "ix_saga_log_given_up"),
    "compensated of a customer": (
        SagaFilter(status=SagaStatus.COMPENSATED, customer_id="cus-77"),
        "ix_saga_customer",
    ),
    "compensated in a window": (
        SagaFilter(status=SagaStatus.COMPENSATED, created_before=BEGAN + timedelta(minutes=70)),
        "ix_saga_compensated",
    ),
}
"""By a name: the filter, and the index that SQLite uses for it beside a caller's own or the ids'."""

CALLERS = (None, "", "shop", "rare")


def _sagas() -> Iterator[tuple[str, str, str, str, datetime, bool]]:
    """Yield the id, status, caller, order, start and whether inventory was given up; the rare caller's are the oldest."""
    for n in range(SAGAS):
        at = BEGAN + timedelta(seconds=n)
        status = "compensated" if n % 20 == 0 else "completed"
        if n % 2000 == 1999:
            status = ("running", "compensating", "needs_attention")[n // 2000 % 3]
        caller = "rare" if n < 30 else ("", "shop")[n % 2]
        saga_id = f"{first_id(at)[:-12]}{n:012d}"
        yield saga_id, status, caller, f"ord-{n}", at, n % 20 == 0 and n > 5_000


def _rows() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the rows of `saga` and of `saga_log`, with times as PostgreSQL has them."""
    sagas: list[tuple[object, ...]] = []
    events: list[tuple[object, ...]] = []
    for saga_id, status, caller, order, at, given_up in _sagas():
        final, open_ = status in {"completed", "compensated"}, status in {"running", "compensating"}
        customer = f"cus-{len(sagas) % 500}"
        sagas.append(
            (
                saga_id,
                status,
                order,
                customer,
                at,
                at,
                at if final else None,
                at if open_ else None,
                1,
                "one",
                1,
                caller,
                '{"filled": "with something of the usual length, as an order is"}',
            )
        )
        events.append((saga_id, 1, 1, at, "saga_started", None, None, "{}"))
        if given_up:
            events.append((saga_id, 2, 1, at, "step_failed", "inventory", 1, "{}"))
    return sagas, events


SAGA = (
    "id, status, order_id, customer_id, created_at, updated_at, finished_at, next_action_at, epoch, definition, "
    "version, caller, input"
)
EVENT = "saga_id, seq, epoch, at, event, step, attempt, data"


async def _fill_postgres(connection: asyncpg.Connection) -> None:
    sagas, events = _rows()
    await connection.copy_records_to_table("saga", records=sagas, columns=SAGA.split(", "))
    await connection.copy_records_to_table("saga_log", records=events, columns=EVENT.split(", "))
    await connection.execute("ANALYZE saga, saga_log")


def _fill_sqlite(connection: sqlite3.Connection) -> None:
    for table, columns, rows in zip(("saga", "saga_log"), (SAGA, EVENT), _rows(), strict=True):
        values = [[instant_text(one) if isinstance(one, datetime) else one for one in row] for row in rows]
        places = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", values)  # noqa: S608 (its own names)
    connection.commit()


def _asked(caller: str | None, wanted: SagaFilter, *, postgres: bool) -> tuple[str, list[object]]:
    return list_statement(replace(wanted, caller=caller), before=None, limit=LIMIT, postgres=postgres)


@pytest.mark.parametrize("mode", ["force_custom_plan", "auto"])
async def test_postgresql_reads_no_table_as_a_whole(postgres_url: str, mode: str) -> None:
    """Neither with a plan for these very values, nor with what it makes of a statement that it has planned often."""
    connection = await asyncpg.connect(postgres_url)
    try:
        await _fill_postgres(connection)
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for caller in CALLERS:
            for name, (wanted, _) in FILTERS.items():
                sql, arguments = _asked(caller, wanted, postgres=True)
                prepared = await connection.prepare(sql)
                for _ in range(6):
                    await prepared.fetch(*arguments)
                given = ", ".join(f"'{one}'" for one in arguments)
                explain = f'EXPLAIN (ANALYZE, BUFFERS) EXECUTE "{prepared.get_name()}" ({given})'
                plan = "\n".join([row[0] for row in await connection.fetch(explain)])
                assert not re.search(r"Seq Scan on saga", plan), (caller, name, plan)
                blocks = sum(map(int, re.findall(r"(?:hit|read)=(\d+)", plan.splitlines()[1])))
                # All that failed at the step are looked at, within the window that the page always gives.
                assert blocks <= MOST_BLOCKS or wanted.failing_step, (caller, name, plan)
    finally:
        await connection.close()


def test_sqlite_uses_the_index_of_each_filter(sqlite_url: str) -> None:
    """It knows nothing of the tables, so its plan is the same however many sagas there are."""
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        _fill_sqlite(connection)
        for caller in CALLERS:
            for name, (wanted, index) in FILTERS.items():
                sql, arguments = _asked(caller, wanted, postgres=False)
                connection.execute(sql, arguments).fetchall()
                plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]
                reads = [line for line in plan if re.match(r"(SCAN|SEARCH) [sl]\b", line)]
                assert reads, (caller, name, plan)
                assert all(" INDEX " in line for line in reads), (caller, name, plan)
                used = index or ("ix_saga_caller" if caller is not None else "sqlite_autoindex_saga_1")
                assert any(f"INDEX {used}" in line for line in reads), (caller, name, plan)
                sorts = "USE TEMP B-TREE FOR ORDER BY" in plan
                assert not sorts or "ix_saga_due" in str(plan) or caller is None, (caller, name, plan)
