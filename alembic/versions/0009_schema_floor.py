"""Say which release may still run on this schema, so that an older one knows after a roll-back.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    floor = op.create_table(
        "schema_floor",
        sa.Column("revision", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_schema_floor"),
    )
    op.bulk_insert(floor, [{"revision": "0009"}])


def downgrade() -> None:
    op.drop_table("schema_floor")
