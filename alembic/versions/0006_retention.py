"""How far the old sagas' customers' data is removed.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SAGA_ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")


def upgrade() -> None:
    table = op.create_table(
        "retention",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("position", SAGA_ID, nullable=False),
        sa.PrimaryKeyConstraint("task", name="pk_retention"),
    )
    op.bulk_insert(table, [{"task": "redact", "position": "00000000-0000-0000-0000-000000000000"}])
    op.create_table(
        "retention_later",
        sa.Column("saga_id", SAGA_ID, nullable=False),
        sa.PrimaryKeyConstraint("saga_id", name="pk_retention_later"),
    )


def downgrade() -> None:
    op.drop_table("retention_later")
    op.drop_table("retention")
