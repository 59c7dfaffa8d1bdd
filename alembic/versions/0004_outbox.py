"""The outbox: how sagas ended, and what of that was delivered to whom.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SAGA_ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
INSTANT = sa.String(27).with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PENDING = "status = 'pending'"


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "outbox",
        sa.Column("position", NUMBER, nullable=False, autoincrement=True),
        sa.Column("saga_id", SAGA_ID, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column(
            "xid",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("((pg_current_xact_id())::text)::bigint" if postgres else "0"),
        ),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_outbox_event", "outbox", ["saga_id", "seq"], unique=True)
    op.create_index("ix_outbox_feed", "outbox", ["xid", "position"])
    op.create_index("ix_outbox_caller", "outbox", ["caller", "xid", "position"])
    op.create_table(
        "webhook_endpoint",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("xid", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_webhook_endpoint"),
        sa.CheckConstraint("state IN ('enabled', 'disabled')", name=op.f("ck_webhook_endpoint_state_known")),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", NUMBER, nullable=False, autoincrement=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("saga_id", SAGA_ID, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", INSTANT),
        sa.Column("delivered_at", INSTANT),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", INSTANT),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_status_known")
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (next_attempt_at IS NOT NULL)",
            name=op.f("ck_webhook_delivery_pending_has_next_attempt"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_webhook_delivery_event", "webhook_delivery", ["endpoint", "saga_id", "seq"], unique=True
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint", "next_attempt_at"],
        postgresql_where=sa.text(PENDING),
        sqlite_where=sa.text(PENDING),
    )
    op.create_index("ix_webhook_delivery_status", "webhook_delivery", ["status", "id"])


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook_endpoint")
    op.drop_table("outbox")
