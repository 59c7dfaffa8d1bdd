"""The schema: models and migrations agree on both databases, up and down, and nobody runs on an old one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, insert, inspect, text

from app.bootstrap.service import open_service
from app.settings.database_url import DatabaseUrlError
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.access.keys import SqlKeys
from app.storage.engine.database import Database
from app.storage.engine.tables import SCHEMA, api_key
from app.storage.schema import index_builds, migrations
from app.storage.schema.index_builds import build_indexes
from app.storage.schema.migrations import configuration, upgrade
from app.storage.schema.schema_version import LockHeld, SchemaAhead, SchemaOutdated, head


async def _on(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = Database(url).migration_engine(create=True)
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
        "log_clock",
        "outbox",
        "webhook_endpoint",
        "webhook_delivery",
        "retention",
        "retention_later",
        "schema_floor",
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
    assert script.get_heads() == [head()]


async def test_the_service_refuses_a_schema_that_is_behind(
    empty_postgres_url: str,
) -> None:
    """It says which revision it found, which it needs, and what to run."""
    settings = Settings(database_url=SecretStr(empty_postgres_url))
    with pytest.raises(SchemaOutdated, match=rf"at nothing, this service needs {head()}: run `make migrate`"):
        async with open_service(settings):
            pytest.fail("it started")


async def _say(url: str, *statements: str) -> None:
    await _on(url, lambda connection: [connection.execute(text(one)) for one in statements])


AHEAD = "UPDATE alembic_version SET version_num = '9999'"


async def test_a_release_that_was_rolled_back_runs_on_a_newer_schema(database_url: str) -> None:
    """It is ready, and `migrate` says in a sentence that there is nothing to do."""
    await _say(database_url, AHEAD)
    assert upgrade(database_url) == (
        f"The schema is at 9999, newer than this release's {head()}, which may run on it: nothing is to be done."
    )
    settings = Settings(database_url=SecretStr(database_url), sandbox_database=":memory:")
    async with open_service(settings) as service:
        assert set((await service.health.checks()).values()) == {None}


async def test_a_replica_stays_ready_while_a_newer_release_migrates(database_url: str) -> None:
    """Else all old replicas of a rolling deploy would leave at once, while they would work."""
    settings = Settings(database_url=SecretStr(database_url), sandbox_database=":memory:")
    async with open_service(settings) as service:
        await _say(database_url, AHEAD)
        assert set((await service.health.checks()).values()) == {None}
        await _say(database_url, "UPDATE schema_floor SET revision = '9998'")
        assert "can't run on it" in str((await service.health.checks())["schema"])
        await _say(database_url, "UPDATE alembic_version SET version_num = '0001'")
        assert "run `make migrate`" in str((await service.health.checks())["schema"])


async def test_a_release_is_refused_on_a_schema_that_was_declared_incompatible(database_url: str) -> None:
    """A migration that older releases can't live with says so in `schema_floor`."""
    await _say(database_url, AHEAD, "UPDATE schema_floor SET revision = '9998'")
    with pytest.raises(SchemaAhead, match=rf"knows it only up to {head()} and can't run on it"):
        upgrade(database_url)
    settings = Settings(database_url=SecretStr(database_url), sandbox_database=":memory:")
    with pytest.raises(SchemaAhead, match="start the newer release again"):
        async with open_service(settings):
            pytest.fail("it started")


async def test_a_revision_that_nobody_knows_without_a_floor_is_refused(empty_database_url: str) -> None:
    """Another application's, most likely."""
    await _say(
        empty_database_url,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
        "INSERT INTO alembic_version VALUES ('abc')",
    )
    with pytest.raises(SchemaAhead, match="is at abc"):
        upgrade(empty_database_url)


def test_the_floor_is_a_revision_that_this_release_knows(sqlite_template: Path) -> None:
    """Whatever migration raises it."""
    with closing(sqlite3.connect(sqlite_template)) as connection:
        floors = [row[0] for row in connection.execute("SELECT revision FROM schema_floor")]
    script = ScriptDirectory.from_config(configuration("sqlite:///unused.db"))
    assert len(floors) == 1
    assert floors[0] in {one.revision for one in script.walk_revisions()}


async def test_a_migration_that_waits_for_a_lock_lets_the_others_by(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind somebody's open transaction it waits briefly and tries again, so that checkouts go on meanwhile."""
    monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.2)
    monkeypatch.setenv("CHECKOUT_MIGRATE_LOCK_SECONDS", "0.2")
    migrations._outside_loop(lambda: command.downgrade(configuration(postgres_url), "0006"))
    held = await asyncpg.connect(postgres_url)
    other = await asyncpg.connect(postgres_url)
    transaction = held.transaction()
    await transaction.start()
    await held.execute("LOCK TABLE saga_log IN ROW EXCLUSIVE MODE")
    migrating = asyncio.create_task(asyncio.to_thread(upgrade, postgres_url))
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'saga_log'::regclass AND NOT granted"
    try:
        async with asyncio.timeout(20):
            for _ in range(2):  # it waits, it gives way, and waits again
                while not await other.fetchval(waiting):  # noqa: ASYNC110 (another process's)
                    await asyncio.sleep(0.01)
                await other.execute("DELETE FROM saga_log WHERE seq = -1")
            assert not migrating.done()
            await transaction.rollback()
            assert await migrating == f"The schema is at {head()}."
    finally:
        await held.close()
        await other.close()


async def test_an_index_is_built_while_checkouts_go_on(postgres_url: str) -> None:
    """However large the table: its writes wait neither for the build, nor behind one that waits for a transaction."""
    migrations._outside_loop(lambda: command.downgrade(configuration(postgres_url), "0010"))
    held, other = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    writes = "UPDATE saga SET owner = 'me'"
    transaction = held.transaction()
    await transaction.start()
    await held.execute(writes)
    migrating = asyncio.create_task(asyncio.to_thread(upgrade, postgres_url))
    building = "SELECT phase ~ '^waiting' FROM pg_stat_progress_create_index"
    try:
        async with asyncio.timeout(20):
            while not await other.fetchval(building):  # noqa: ASYNC110 (another process's)
                await asyncio.sleep(0.01)
            await other.execute(f"SET lock_timeout = '1ms'; {writes}")
            assert not migrating.done()
            await transaction.rollback()
            assert await migrating == f"The schema is at {head()}."
    finally:
        await held.close()
        await other.close()


async def test_an_index_whose_building_was_broken_off_is_built_again(postgres_url: str) -> None:
    """A process that is killed leaves one that isn't valid, which a mere IF NOT EXISTS would take for the index."""
    migrations._outside_loop(lambda: command.downgrade(configuration(postgres_url), "0010"))
    connection = await asyncpg.connect(postgres_url)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_saga_caller'::regclass"
    try:
        await connection.execute("CREATE INDEX ix_saga_caller ON saga (caller, id)")
        await connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_saga_caller'::regclass"
        )
        await asyncio.to_thread(upgrade, postgres_url)
        assert await connection.fetchval(valid)
    finally:
        await connection.close()


async def test_indexes_are_built_by_one_process_at_a_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas that start together all migrate."""
    monkeypatch.setattr(index_builds, "PAUSE_SECONDS", 0.05)
    migrations._outside_loop(lambda: command.downgrade(configuration(postgres_url), "0010"))
    engines = [Database(postgres_url).migration_engine() for _ in range(3)]
    await asyncio.gather(*(build_indexes(one, key=1, timeout_seconds=20) for one in engines))
    assert "ix_saga_caller" in str(await _on(postgres_url, _described))
    for one in engines:
        await one.dispose()


async def test_a_migration_that_never_gets_its_lock_ends_in_a_sentence(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where to look for who holds it, and nothing of it is done."""
    monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("CHECKOUT_MIGRATE_LOCK_SECONDS", "0.05")
    monkeypatch.setenv("CHECKOUT_MIGRATE_TIMEOUT_SECONDS", "0.2")
    migrations._outside_loop(lambda: command.downgrade(configuration(postgres_url), "0006"))
    held = await asyncpg.connect(postgres_url)
    async with held.transaction():
        await held.execute("LOCK TABLE saga_log IN ROW EXCLUSIVE MODE")
        with pytest.raises(LockHeld, match="pg_stat_activity"):
            await asyncio.to_thread(upgrade, postgres_url)
    assert await held.fetchval("SELECT version_num FROM alembic_version") == "0006"
    await held.close()


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
