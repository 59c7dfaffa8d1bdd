"""Reading many sagas, for the list and those who search."""

from __future__ import annotations

from sqlalchemy import and_, or_, text

from app.saga.log import StoredSaga
from app.saga.queries import SagaFilter
from app.storage.sql_log import SqlLog, read_sagas, select_sagas
from app.storage.tables import saga


class SqlQueries:
    """Newest first: ids are UUIDv7, so their order is the order in which the sagas began."""

    def __init__(self, log: SqlLog) -> None:
        self._log = log

    async def list_sagas(self, wanted: SagaFilter, *, before: str | None, limit: int) -> list[StoredSaga]:
        query = select_sagas().order_by(saga.c.id.desc()).limit(limit)
        if wanted.caller is not None:
            query = query.where(saga.c.caller == wanted.caller)
        if before is not None:
            query = query.where(saga.c.id < before)
        if wanted.status is not None:
            query = query.where(saga.c.status == wanted.status.value)
        if wanted.order_id is not None:  # in two halves, as each has its own partial index
            here = saga.c.order_id == wanted.order_id
            query = query.where(
                or_(
                    and_(here, text("saga.status <> 'compensated'")),
                    and_(here, text("saga.status = 'compensated'")),
                )
            )
        if wanted.customer_id is not None:
            query = query.where(saga.c.customer_id == wanted.customer_id)
        if wanted.created_after is not None:
            query = query.where(saga.c.created_at > wanted.created_after)
        if wanted.created_before is not None:
            query = query.where(saga.c.created_at < wanted.created_before)
        async with self._log.reading() as connection:
            return await read_sagas(connection, query)
