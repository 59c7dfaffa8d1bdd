"""List a caller's sagas, and the compensated ones.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_saga_caller": "saga (caller, id)",
    "ix_saga_compensated": "saga (id, caller) WHERE status = 'compensated'",
}
"""On PostgreSQL they are built before this, without holding up any write: see `build_indexes`."""


def upgrade() -> None:
    there = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("saga")}
    for name, what in INDEXES.items():
        if name not in there:
            op.execute(f"CREATE INDEX {name} ON {what}")


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "saga")
