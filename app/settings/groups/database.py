"""Settings of the database."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from app.settings.database_url_parser import parse_database_url
from app.settings.groups.group import Count, Seconds, SettingsGroup, named


class DatabaseSettings(SettingsGroup):
    """The database of the saga log, and its schema."""

    database_url: SecretStr = Field(
        SecretStr("sqlite:///./checkout.db"),
        validation_alias=named("DATABASE_URL"),
        description="Database of the saga log: sqlite:///./file.db or postgresql://user:password@host/db.",
    )
    auto_migrate: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Migrate the schema at start; auto does so for SQLite only.",
    )
    migrate_lock_seconds: Seconds = Field(
        1.0,
        description="How long a migration waits for a lock on PostgreSQL before it lets other transactions pass and "
        "tries again.",
    )
    migrate_timeout_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        600.0, description="How long a migration keeps trying to get its locks on PostgreSQL."
    )
    database_pool_size: Count = Field(
        8,
        description="Connections for reading, half of them for sagas alone. A worker has three more on PostgreSQL: for "
        "the journal, for the lease, and to listen for changes of other replicas.",
    )
    storage_timeout_seconds: Seconds = Field(
        10.0,
        description="How long a request waits for the database before the answer is 503.",
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr) -> SecretStr:
        parse_database_url(value.get_secret_value())
        return value
