"""Find the sagas in which a step was given up.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

GIVEN_UP = "event IN ('step_failed', 'step_unknown', 'compensation_failed')"


def upgrade() -> None:
    op.create_index(
        "ix_saga_log_given_up",
        "saga_log",
        ["step", "saga_id"],
        postgresql_where=sa.text(GIVEN_UP),
        sqlite_where=sa.text(GIVEN_UP),
    )


def downgrade() -> None:
    op.drop_index("ix_saga_log_given_up", "saga_log")
