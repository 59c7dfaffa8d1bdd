"""Redaction of sagas in the database: their rows and their logs' rows are rewritten without the customer's data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Row, Select, Text, bindparam, cast, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.engine.tables import saga, saga_log
from app.storage.retention.redaction import MARKER, REMOVED, Redaction
from app.storage.sagas.saga_rows import document


def select_rows() -> Select[Any]:
    """Return the query of the columns that a redaction needs. The JSON is read as text, so that a damaged one stops no other."""
    given = cast(saga.c.input, Text).label("input")
    return select(saga.c.id, saga.c.status, saga.c.finished_at, saga.c.customer_id, given)


async def redact_rows(connection: AsyncConnection, rows: Sequence[Row[Any]], redaction: Redaction) -> int:
    """Redact these sagas, read with `select_rows`; return how many of them were not redacted before."""
    inputs = {row.id: document(row.input) for row in rows}
    fresh = [row for row in rows if MARKER not in inputs[row.id]]
    if not fresh:
        return 0
    ids = [row.id for row in fresh]
    await connection.execute(
        update(saga)
        .where(saga.c.id == bindparam("saga"))
        .values(customer_id=bindparam("customer"), input=bindparam("kept", type_=JSON), request_id=None),
        [
            {
                "saga": row.id,
                "customer": None if row.customer_id is None else REMOVED,
                "kept": redaction.input(inputs[row.id]),
            }
            for row in fresh
        ],
    )
    text = cast(saga_log.c.data, Text).label("data")
    query = select(saga_log.c.saga_id, saga_log.c.seq, text).where(saga_log.c.saga_id.in_(ids))
    events = (await connection.execute(query.order_by(saga_log.c.saga_id, saga_log.c.seq))).all()
    changed = [
        {"saga": row.saga_id, "number": row.seq, "kept": kept}
        for row in events
        if (kept := redaction.data(document(row.data))) != _loaded(row.data)
    ]
    if changed:
        await connection.execute(
            update(saga_log)
            .where(saga_log.c.saga_id == bindparam("saga"), saga_log.c.seq == bindparam("number"))
            .values(data=bindparam("kept", type_=JSON)),
            changed,
        )
    return len(fresh)


def _loaded(text: str) -> object:
    """Return the value of a JSON text; None, which no event has, where it is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return None
