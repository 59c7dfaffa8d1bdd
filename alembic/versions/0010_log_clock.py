"""The log's own clock on SQLite, which nobody sets.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INSTANT = (
    sa.String(27)
    .with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
    .with_variant(sqlite.VARCHAR(27), "sqlite")
)


def upgrade() -> None:
    op.create_table(
        "log_clock",
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("counted", sa.Float, nullable=False),
        sa.Column("at", INSTANT),
        sa.PrimaryKeyConstraint("task", name="pk_log_clock"),
    )
    op.execute("INSERT INTO log_clock (task, boot, counted) VALUES ('log', '', 0)")


def downgrade() -> None:
    op.drop_table("log_clock")
