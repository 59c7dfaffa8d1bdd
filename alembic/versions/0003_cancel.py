"""A person's wish to cancel a saga, kept for the saga's owner.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WANTED = "cancel IS NOT NULL AND status = 'running'"


def upgrade() -> None:
    op.add_column("saga", sa.Column("cancel", sa.JSON))
    op.create_index(
        "ix_saga_cancel",
        "saga",
        ["id"],
        postgresql_where=sa.text(WANTED),
        sqlite_where=sa.text(WANTED),
    )


def downgrade() -> None:
    op.drop_index("ix_saga_cancel", "saga")
    op.drop_column("saga", "cancel")
