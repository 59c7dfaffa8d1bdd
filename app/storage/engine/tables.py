"""All tables of the saga log's database, in one list: a migration and its reviewer compare them as a whole.

`saga` has each saga's state and owner, `saga_log` its events, and `replica` the leases. `outbox` has the
events that are published, and `webhook_delivery` what was sent of them to each endpoint.

Columns are in the order in which an operator who types `SELECT *` wants to read them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

SCHEMA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SagaId = String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
"""A UUID in its canonical text form, as the API shows it, also in SQLite."""


class Instant(TypeDecorator[datetime]):
    """An aware time: `timestamptz` in PostgreSQL; in SQLite text of one width, so that text order is time order."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sqlite.VARCHAR(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's signature)
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return None if value is None else value.astimezone(UTC)


def instant_text(at: datetime) -> str:
    """Return a time as SQLite keeps it: RFC 3339, UTC, microseconds."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return f"{at.isoformat(timespec='microseconds')[: -len('+00:00')]}Z"


_UNFINISHED = "status IN ('running', 'compensating')"
_UNDONE = "status = 'compensated'"
GIVEN_UP = "event IN ('step_failed', 'step_unknown', 'compensation_failed')"
CANCEL_WANTED = "cancel IS NOT NULL AND status = 'running'"

saga = Table(
    "saga",
    SCHEMA,
    Column("id", SagaId, nullable=False),
    Column("status", String(16), nullable=False),
    Column("order_id", Text),
    Column("customer_id", Text),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("next_action_at", Instant),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    Column("definition", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("caller", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("fingerprint", Text),
    Column("request_id", Text),
    Column("input", JSON, nullable=False),
    Column("cancel", JSON(none_as_null=True)),
    PrimaryKeyConstraint("id"),
    CheckConstraint(
        "status IN ('running', 'compensating', 'completed', 'compensated', 'needs_attention')",
        name="status_known",
    ),
    CheckConstraint(
        "(status IN ('completed', 'compensated')) = (finished_at IS NOT NULL)",
        name="final_is_finished",
    ),
    CheckConstraint(
        "(status IN ('running', 'compensating')) = (next_action_at IS NOT NULL)",
        name="unfinished_has_next_action",
    ),
    CheckConstraint("epoch >= 1", name="epoch_counts_from_one"),
)
Index(
    "uq_saga_idempotency_key",
    saga.c.caller,
    saga.c.idempotency_key,
    unique=True,
    postgresql_where=text("idempotency_key IS NOT NULL"),
    sqlite_where=text("idempotency_key IS NOT NULL"),
)
Index(
    "uq_saga_order",
    saga.c.caller,
    saga.c.order_id,
    unique=True,
    postgresql_where=text("status <> 'compensated'"),
    sqlite_where=text("status <> 'compensated'"),
)
Index(
    "ix_saga_order_compensated",
    saga.c.caller,
    saga.c.order_id,
    postgresql_where=text(_UNDONE),
    sqlite_where=text(_UNDONE),
)
Index("ix_saga_customer", saga.c.caller, saga.c.customer_id, saga.c.id)
Index("ix_saga_caller", saga.c.caller, saga.c.id)
Index(
    "ix_saga_compensated",
    saga.c.id,
    saga.c.caller,
    postgresql_where=text(_UNDONE),
    sqlite_where=text(_UNDONE),
)
Index(
    "ix_saga_due",
    saga.c.next_action_at,
    postgresql_where=text(_UNFINISHED),
    sqlite_where=text(_UNFINISHED),
)
Index(
    "ix_saga_needs_attention",
    saga.c.id,
    postgresql_where=text("status = 'needs_attention'"),
    sqlite_where=text("status = 'needs_attention'"),
)

Index(
    "ix_saga_cancel",
    saga.c.id,
    postgresql_where=text(CANCEL_WANTED),
    sqlite_where=text(CANCEL_WANTED),
)

saga_log = Table(
    "saga_log",
    SCHEMA,
    # No foreign key: an append is written only where its saga's row says so (see the writers), and
    # PostgreSQL would lock that row for each event.
    Column("saga_id", SagaId, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("event", String(32), nullable=False),
    Column("step", Text),
    Column("attempt", Integer),
    Column("data", JSON, nullable=False),
    PrimaryKeyConstraint("saga_id", "seq"),
    CheckConstraint("seq >= 1", name="seq_counts_from_one"),
    sqlite_with_rowid=False,
)

Index(
    "ix_saga_log_given_up",
    saga_log.c.step,
    saga_log.c.saga_id,
    postgresql_where=text(GIVEN_UP),
    sqlite_where=text(GIVEN_UP),
)

replica = Table(
    "replica",
    SCHEMA,
    Column("id", Text, nullable=False),
    Column("lease_expires_at", Instant, nullable=False),
    Column("renewed_at", Instant, nullable=False),
    PrimaryKeyConstraint("id"),
)

api_key = Table(
    "api_key",
    SCHEMA,
    Column("id", SagaId, nullable=False),
    Column("prefix", String(8), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("caller", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("everyone", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    # Who made it, and with which key; NULL where that isn't known, or was no key.
    Column("created_by", Text),
    Column("created_by_key", SagaId),
    PrimaryKeyConstraint("id"),
)
Index("uq_api_key_prefix", api_key.c.prefix, unique=True)

session = Table(
    "session",
    SCHEMA,
    # Who has signed in to the page: the SHA-256 of what the cookie holds.
    Column("digest", String(64), nullable=False),
    Column("key_id", SagaId, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    PrimaryKeyConstraint("digest"),
)

_Number = BigInteger().with_variant(Integer(), "sqlite")
_PENDING = "status = 'pending'"


class _transaction_id(FunctionElement[int]):  # noqa: N801 (SQL's spelling)
    """The number of the transaction that writes; SQLite has one writer at a time and needs none."""

    inherit_cache = True


@compiles(_transaction_id)
def _none(*_: Any, **__: Any) -> str:
    return "0"


@compiles(_transaction_id, "postgresql")
def _current(*_: Any, **__: Any) -> str:
    return "((pg_current_xact_id())::text)::bigint"


outbox = Table(
    "outbox",
    SCHEMA,
    # How each saga ended, written with that end. `(xid, position)` is an order in which nothing appears
    # late: see storage/outbox/feed.py.
    Column("position", _Number, nullable=False, autoincrement=True),
    Column("saga_id", SagaId, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("xid", BigInteger, nullable=False, server_default=_transaction_id()),
    PrimaryKeyConstraint("position"),
    sqlite_autoincrement=True,
)
Index("uq_outbox_event", outbox.c.saga_id, outbox.c.seq, unique=True)
Index("ix_outbox_feed", outbox.c.xid, outbox.c.position)
Index("ix_outbox_caller", outbox.c.caller, outbox.c.xid, outbox.c.position)

webhook_endpoint = Table(
    "webhook_endpoint",
    SCHEMA,
    # Up to where in the outbox an endpoint has its deliveries, and whether it gets them.
    Column("name", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reason", Text),
    Column("changed_at", Instant, nullable=False),
    Column("xid", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
    CheckConstraint("state IN ('enabled', 'disabled')", name="state_known"),
)

webhook_delivery = Table(
    "webhook_delivery",
    SCHEMA,
    Column("id", _Number, nullable=False, autoincrement=True),
    Column("endpoint", Text, nullable=False),
    Column("status", String(9), nullable=False),
    Column("saga_id", SagaId, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Instant),
    Column("delivered_at", Instant),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("claimed_by", Text),
    Column("claimed_until", Instant),
    PrimaryKeyConstraint("id"),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status_known"),
    CheckConstraint("(status = 'pending') = (next_attempt_at IS NOT NULL)", name="pending_has_next_attempt"),
    sqlite_autoincrement=True,
)
Index(
    "uq_webhook_delivery_event",
    webhook_delivery.c.endpoint,
    webhook_delivery.c.saga_id,
    webhook_delivery.c.seq,
    unique=True,
)
Index(
    "ix_webhook_delivery_due",
    webhook_delivery.c.endpoint,
    webhook_delivery.c.next_attempt_at,
    postgresql_where=text(_PENDING),
    sqlite_where=text(_PENDING),
)
Index("ix_webhook_delivery_status", webhook_delivery.c.status, webhook_delivery.c.id)

log_clock = Table(
    "log_clock",
    SCHEMA,
    # One row, of SQLite's alone: at which time the machine had counted so many seconds since which boot. See `log_clock`.
    Column("task", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("counted", Float, nullable=False),
    Column("at", Instant),
    PrimaryKeyConstraint("task"),
)

retention = Table(
    "retention",
    SCHEMA,
    # One row, which a working replica locks: up to which saga all were examined. See storage/retention/retention.py.
    Column("task", Text, nullable=False),
    Column("position", SagaId, nullable=False),
    PrimaryKeyConstraint("task"),
)

retention_later = Table(
    "retention_later",
    SCHEMA,
    # What wasn't finished when it was looked at.
    Column("saga_id", SagaId, nullable=False),
    PrimaryKeyConstraint("saga_id"),
)

schema_floor = Table(
    "schema_floor",
    SCHEMA,
    # One row: the revision that a release has to know at least, to run on this schema. A migration that older
    # releases can't live with raises it. It is also what the journal writes to see whether anything can be stored.
    Column("revision", Text, nullable=False),
    PrimaryKeyConstraint("revision"),
)
