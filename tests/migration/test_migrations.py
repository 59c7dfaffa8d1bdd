"""The schema: models and migrations agree on both databases, up and down, and nobody runs on an old one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, insert, inspect, text

from app.bootstrap import open_service
from app.config import Settings
from app.database_url import DatabaseUrlError
from app.storage import migrations, open_storage
from app.storage.engine import Database
from app.storage.keys import SqlKeys
from app.storage.migrations import SchemaBehind, configuration, head, upgrade
from app.storage.tables import SCHEMA, api_key


async def _on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = Database(url).migration_engine()
    try:
        async with engine.connect() as connection:
            await connection.execution_options(writes=True)
            async with connection.begin():
                return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _described(connection: Connection) -> dict[str, Any]:
    """Return all that a table promises, as the database itself tells it."""
    inspector = inspect(connection)
    described: dict[str, Any] = {}
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        described[table] = {
            "columns": [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "checks": sorted(
                (str(c["name"]), " ".join(str(c["sqltext"]).split()))
                for c in inspector.get_check_constraints(table)
            ),
        }
    if connection.dialect.name == "postgresql":
        sql = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    else:
        sql = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    described["indexes"] = sorted(" ".join(row[0].split()) for row in connection.execute(text(sql)))
    return described


def _create_all(connection: Connection) -> dict[str, Any]:
    SCHEMA.create_all(connection)
    return _described(connection)


async def test_models_and_migrations_make_the_same_schema(
    empty_database_url: str,
) -> None:
    """Columns, keys, checks and indexes with their predicates: the models promise what the migrations make."""
    upgrade(empty_database_url)
    migrated = await _on(empty_database_url, _described)
    await _on(empty_database_url, SCHEMA.drop_all)
    modelled = await _on(empty_database_url, _create_all)

    assert migrated == modelled
    assert set(migrated) == {
        "saga",
        "api_key",
        "session",
        "saga_log",
        "replica",
        "outbox",
        "webhook_endpoint",
        "webhook_delivery",
        "retention",
        "retention_later",
        "indexes",
    }


async def test_up_down_and_up_again_leaves_the_same_schema(
    empty_database_url: str,
) -> None:
    """A downgrade takes everything away that its upgrade made, so that the next upgrade works."""
    upgrade(empty_database_url)
    first = await _on(empty_database_url, _described)
    migrations.downgrade(empty_database_url)
    assert set(await _on(empty_database_url, _described)) == {"indexes"}
    upgrade(empty_database_url)

    assert await _on(empty_database_url, _described) == first


async def test_keys_that_could_make_keys_still_can(empty_database_url: str) -> None:
    """Of any scope, as before; no other key may more than it could."""
    await asyncio.to_thread(command.upgrade, configuration(empty_database_url), "0007")
    given = {
        "operator": (["operate"], True),
        "its own operator": (["operate"], False),
        "reader": (["read"], True),
        "shop": (["checkout"], False),
    }

    def fill(connection: Connection) -> None:
        for number, (who, (scopes, everyone)) in enumerate(given.items()):
            connection.execute(
                insert(api_key).values(
                    id=f"0193b3c8-5c5f-7a1e-8c31-8b0d9e7b0c5{number}",
                    prefix=f"prefix-{number}",
                    digest="x",
                    caller="a",
                    who=who,
                    scopes=scopes,
                    everyone=everyone,
                    created_at=datetime(2026, 11, 1, tzinfo=UTC),
                )
            )

    await _on(empty_database_url, fill)
    upgrade(empty_database_url)
    async with open_storage(empty_database_url) as storage:
        found = {key.who: sorted(key.scopes) for key in await SqlKeys(storage.log).all()}
    assert found == {who: scopes for who, (scopes, _) in given.items()} | {
        "operator": ["checkout", "keys", "operate"]
    }


def test_the_migrations_have_a_single_head() -> None:
    """Two heads would leave `alembic upgrade head` without an answer."""
    script = ScriptDirectory.from_config(configuration("sqlite:///unused.db"))
    assert script.get_heads() == [migrations.head()]


async def test_the_service_refuses_a_schema_that_is_behind(
    empty_postgres_url: str,
) -> None:
    """It says which revision it found, which it needs, and what to run."""
    settings = Settings(database_url=SecretStr(empty_postgres_url))
    with pytest.raises(SchemaBehind, match=rf"at nothing, this service needs {head()}: run `make migrate`"):
        async with open_service(settings):
            pytest.fail("it started")


async def test_an_embedded_database_is_migrated_by_the_service(
    empty_sqlite_url: str,
) -> None:
    """`make run` needs no other command before it."""
    settings = Settings(database_url=SecretStr(empty_sqlite_url), sandbox_database=":memory:")
    async with open_service(settings) as service:
        assert set((await service.health.checks()).values()) == {None}


@pytest.mark.parametrize("url", ["mysql://host/db", "checkout.db", ""])
def test_a_url_of_another_kind_is_refused_in_a_sentence(url: str) -> None:
    """The sentence says what to write instead."""
    with pytest.raises(DatabaseUrlError, match=r"write sqlite:///\./checkout\.db or postgresql://"):
        Database(url)
