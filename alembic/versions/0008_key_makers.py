"""Who made a key; making keys is a scope of its own.

Those that could make them get it, and `checkout` with it: they could give that to a key, and now none gives what
it hasn't.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY_ID = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
KEYS = sa.table(
    "api_key", sa.column("id", KEY_ID), sa.column("scopes", sa.JSON), sa.column("everyone", sa.Boolean)
)


def upgrade() -> None:
    op.add_column("api_key", sa.Column("created_by", sa.Text))
    op.add_column("api_key", sa.Column("created_by_key", KEY_ID))
    rows = op.get_bind().execute(sa.select(KEYS).where(KEYS.c.everyone)).all()
    for key_id, scopes, _ in rows:
        if "operate" in scopes:
            _set(key_id, sorted({*scopes, "checkout", "keys"}))


def downgrade() -> None:
    for key_id, scopes, _ in op.get_bind().execute(sa.select(KEYS)).all():
        if "keys" in scopes:
            _set(key_id, [scope for scope in scopes if scope != "keys"])
    op.drop_column("api_key", "created_by_key")
    op.drop_column("api_key", "created_by")


def _set(key_id: str, scopes: list[str]) -> None:
    op.get_bind().execute(sa.update(KEYS).where(KEYS.c.id == key_id).values(scopes=scopes))
