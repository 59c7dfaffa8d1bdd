"""The saga log on SQLite or PostgreSQL, its schema and its queries."""

from app.storage.storage import Storage, open_storage

__all__ = ["Storage", "open_storage"]
