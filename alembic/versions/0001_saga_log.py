"""The saga log: sagas, their events, and the replicas that run them.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SAGA_ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
INSTANT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def _partial(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(
        name,
        "saga",
        columns,
        unique=unique,
        postgresql_where=sa.text(where),
        sqlite_where=sa.text(where),
    )


def upgrade() -> None:
    op.create_table(
        "saga",
        sa.Column("id", SAGA_ID, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("order_id", sa.Text),
        sa.Column("customer_id", sa.Text),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("next_action_at", INSTANT),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("fingerprint", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("input", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saga"),
        sa.CheckConstraint(
            "status IN ('running', 'compensating', 'completed', 'compensated', 'needs_attention')",
            name=op.f("ck_saga_status_known"),
        ),
        sa.CheckConstraint(
            "(status IN ('completed', 'compensated')) = (finished_at IS NOT NULL)",
            name=op.f("ck_saga_final_is_finished"),
        ),
        sa.CheckConstraint(
            "(status IN ('running', 'compensating')) = (next_action_at IS NOT NULL)",
            name=op.f("ck_saga_unfinished_has_next_action"),
        ),
        sa.CheckConstraint("epoch >= 1", name=op.f("ck_saga_epoch_counts_from_one")),
    )
    _partial(
        "uq_saga_idempotency_key",
        ["caller", "idempotency_key"],
        "idempotency_key IS NOT NULL",
        unique=True,
    )
    _partial("uq_saga_order", ["caller", "order_id"], "status <> 'compensated'", unique=True)
    _partial("ix_saga_order_compensated", ["caller", "order_id"], "status = 'compensated'")
    op.create_index("ix_saga_customer", "saga", ["caller", "customer_id", "id"])
    _partial("ix_saga_due", ["next_action_at"], "status IN ('running', 'compensating')")
    _partial("ix_saga_needs_attention", ["id"], "status = 'needs_attention'")
    op.create_table(
        "saga_log",
        sa.Column("saga_id", SAGA_ID, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("saga_id", "seq", name="pk_saga_log"),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_saga_log_seq_counts_from_one")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replica",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("lease_expires_at", INSTANT, nullable=False),
        sa.Column("renewed_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replica"),
    )


def downgrade() -> None:
    op.drop_table("replica")
    op.drop_table("saga_log")
    op.drop_table("saga")
