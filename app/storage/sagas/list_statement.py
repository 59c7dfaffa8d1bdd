"""The statement of a list: each filter so that both databases answer it from an index.

    status              the partial index of that status; most sagas are completed, and any index finds some of those
    caller              (caller, id)
    order_id            (caller, order_id), in two halves, as each has its own partial index
    customer_id         (caller, customer_id, id)
    created, cursor     bounds of the id, which begins with its time
    failing_step        (step, saga_id) of the events that give a step up

Whoever sees everyone's sagas looks for an order or a customer of every caller by name: those indexes begin with the
caller, and there are only as many callers as have had keys.

PostgreSQL chooses by its statistics. SQLite has none, so the statement names the index.
"""

from __future__ import annotations

from app.saga.model.status import SagaStatus
from app.saga.ports.queries import SagaFilter
from app.storage.engine.tables import GIVEN_UP, instant_text
from app.storage.sagas.first_id import ID_SLACK, first_id

_SELECT = """
SELECT s.id{as_text}, s.status, s.order_id, s.customer_id, s.created_at, s.updated_at, s.finished_at, s.next_action_at,
       s.epoch, s.definition, s.version, s.caller, s.idempotency_key, s.fingerprint, s.request_id, s.input, s.cancel,
       r.lease_expires_at
FROM saga s{index} LEFT JOIN replica r ON r.id = s.owner"""

_CALLERS = "SELECT '' UNION SELECT caller FROM api_key"
_UNFINISHED = "s.status IN ('running', 'compensating')"
_OF_STATUS = {
    SagaStatus.RUNNING: (f"s.status = 'running' AND {_UNFINISHED}", "ix_saga_due"),
    SagaStatus.COMPENSATING: (f"s.status = 'compensating' AND {_UNFINISHED}", "ix_saga_due"),
    SagaStatus.COMPLETED: ("s.status = 'completed'", None),
    SagaStatus.COMPENSATED: ("s.status = 'compensated'", "ix_saga_compensated"),
    SagaStatus.NEEDS_ATTENTION: ("s.status = 'needs_attention'", "ix_saga_needs_attention"),
}
"""The condition, which says as its partial index does what is in it, and that index."""


def select_rows(*, postgres: bool, index: str | None = None) -> str:
    """Return the beginning of a statement that reads sagas' rows, with their owners' leases; `index` is for SQLite."""
    if postgres:
        return _SELECT.format(as_text="::text AS id", index="")
    return _SELECT.format(as_text="", index=f" INDEXED BY {index}" if index else "")


class _Statement:
    """Conditions and what is given for them, with parameters as the database writes them."""

    def __init__(self, *, postgres: bool) -> None:
        self.postgres = postgres
        self.conditions: list[str] = []
        self.arguments: list[object] = []

    def given(self, value: object) -> str:
        self.arguments.append(value)
        return f"{'$' if self.postgres else '?'}{len(self.arguments)}"

    def where(self, condition: str) -> None:
        self.conditions.append(condition)


def list_statement(
    wanted: SagaFilter, *, before: str | None, limit: int, postgres: bool
) -> tuple[str, list[object]]:
    """Return the SQL of a list, newest first, and its arguments."""
    sql = _Statement(postgres=postgres)
    index = None
    whose = "TRUE"
    if wanted.caller is not None:
        whose = f"s.caller = {sql.given(wanted.caller)}"
        index = "ix_saga_caller"
    elif wanted.order_id is not None or wanted.customer_id is not None:
        # The array is made before the scan. Compared with the subselect itself, all of the index would be read.
        whose = f"s.caller = ANY(ARRAY({_CALLERS}))" if postgres else f"s.caller IN ({_CALLERS})"
    sql.where(whose)
    if wanted.status is not None:
        condition, of_status = _OF_STATUS[wanted.status]
        sql.where(condition)
        index = of_status or index
    if wanted.customer_id is not None:
        sql.where(f"s.customer_id = {sql.given(wanted.customer_id)}")
        index = "ix_saga_customer"
    if wanted.order_id is not None:
        here = f"FROM saga s WHERE {whose} AND s.order_id = {sql.given(wanted.order_id)} AND s.status"
        sql.where(
            f"s.id IN (SELECT s.id {here} <> 'compensated' UNION ALL SELECT s.id {here} = 'compensated')"
        )
        index = None
    bounds = []
    if before is not None:
        bounds.append(f"< {sql.given(before)}")
    # An id begins with its time: without its bounds all that is newer, or older, would be read and thrown away.
    if (after := wanted.created_after) is not None:
        sql.where(f"s.created_at >= {sql.given(after if postgres else instant_text(after))}")
        bounds.append(f">= {sql.given(first_id(after, -ID_SLACK))}")
    if (until := wanted.created_before) is not None:
        sql.where(f"s.created_at < {sql.given(until if postgres else instant_text(until))}")
        bounds.append(f"< {sql.given(first_id(until, ID_SLACK))}")
    for bound in bounds:
        sql.where(f"s.id {bound}")
    if wanted.failing_step is not None:
        given_up = [
            f"l.step = {sql.given(wanted.failing_step)}",
            f"l.{GIVEN_UP}",
            *(f"l.saga_id {one}" for one in bounds),
        ]
        sql.where(f"s.id IN (SELECT l.saga_id FROM saga_log l WHERE {' AND '.join(given_up)})")  # noqa: S608 (parameters all)
    where = " AND ".join(sql.conditions)
    beginning = select_rows(postgres=postgres, index=index)
    return f"{beginning} WHERE {where} ORDER BY s.id DESC LIMIT {sql.given(limit)}", sql.arguments
