"""PostgreSQL databases that tests use in turn, as making one takes longer than most tests.

    lend ──▶ a test uses it ──▶ take back: others' connections ended ─▶ tables emptied ──▶ lent again
                                                        └─ its schema or settings changed ─▶ dropped

A database that is lent can't be told from a new copy of the template: same rows, sequences, settings, planner
statistics. What can't be restored cheaply isn't: such a database is dropped, and the next test gets a new one.
The pool keeps one idle connection to each of its databases: to look at one over a new connection costs PostgreSQL
45 ms of CPU, and over one that knows the catalogs 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.postgres import Databases

_CONNECT_SECONDS = 10.0
_LEAVE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.005
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What is raised where there is no connection any more."""

_END_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

# What DDL, ALTER DATABASE and ANALYZE leave in the catalogs. A row that was written anew has another xmin, except
# in pg_class, whose rows TRUNCATE writes anew: there the columns are compared that TRUNCATE leaves alone.
_CATALOGS = {
    "pg_attrdef": "oid", "pg_attribute": "attrelid", "pg_constraint": "oid", "pg_extension": "oid",
    "pg_index": "indexrelid", "pg_namespace": "oid", "pg_policy": "oid", "pg_proc": "oid", "pg_rewrite": "oid",
    "pg_sequence": "seqrelid", "pg_statistic": "starelid", "pg_statistic_ext": "oid", "pg_trigger": "oid",
    "pg_type": "oid",
}  # fmt: skip
_FIRST_OID = 16384  # of what isn't PostgreSQL's own
_SHAPE = f"""
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
    SELECT (to_jsonb(c) - '{{relfilenode,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}}'::text[])
        ::text AS line
    FROM pg_class c WHERE c.oid >= {_FIRST_OID}
    UNION ALL
    SELECT concat_ws(' ', 'database', datallowconn, datconnlimit, datdba, datacl) FROM pg_database
    WHERE datname = current_database()
    UNION ALL
    SELECT concat_ws(' ', 'settings', setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    {"".join(f"UNION ALL SELECT '{catalog} ' || {oid} || ' ' || xmin FROM {catalog} WHERE {oid} >= {_FIRST_OID} " for catalog, oid in _CATALOGS.items())}
) AS lines
"""  # noqa: S608 (the names above)

_TABLES = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind = 'r' AND oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
"""
# A table that never held a row since it was truncated has no page, and one that was never analyzed doesn't know how
# many rows it holds. Such tables needn't be truncated, which takes a millisecond for each.
_USED = f"{_TABLES} AND (pg_relation_size(oid) > 0 OR reltuples >= 0)"
_RESTART_SEQUENCES = """
SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""


@dataclass(frozen=True, kw_only=True)
class Blank:
    """A database as a test finds it: a digest of its schema and settings, and the rows that it has from the start."""

    shape: str
    rows: Mapping[str, Sequence[str]]


class DatabasePool:
    """Lends databases that are as their template was. Not for several threads at once."""

    def __init__(self, databases: Databases, template: str) -> None:
        """Read what the template holds, and close it to connections, so that it can be copied at any time."""
        self._databases = databases
        self.template = template
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._connections: dict[str, asyncpg.Connection] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database-pool")
        self._loop = asyncio.Runner()
        self.blank = self._run(_read(databases.url(template)))
        databases.close_to_connections(template)

    def lend(self) -> str:
        """Return the URL of a database that nobody else uses until it is taken back."""
        if self._free:
            return self._free.pop()
        url = self._databases.create(f"{self.template}_{next(self._numbers)}", template=self.template)
        self._run(self._connected(url))
        return url

    def take_back(self, url: str, *, reuse: bool = True) -> None:
        """End all connections to a database and empty it for the next; drop it where `reuse` is False or it can't be emptied."""
        if reuse and self._run(self._emptied(url)):
            self._free.append(url)
        else:
            self._run(self._forget(url))
            self._databases.drop(url.rpartition("/")[2].removeprefix(f"{self._databases.prefix}_"))

    def close(self) -> None:
        """Drop the databases that aren't lent."""
        while self._free:
            self.take_back(self._free.pop(), reuse=False)
        for url in list(self._connections):
            self._run(self._forget(url))
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run in a thread of its own: fixtures are asked for inside event loops too."""
        return self._thread.submit(self._loop.run, work).result()

    async def _connected(self, url: str) -> asyncpg.Connection:
        """Return the pool's connection to a database, made anew where a test has ended it."""
        with contextlib.suppress(KeyError, *_LOST):
            await self._connections[url].fetchval("SELECT 1")
            return self._connections[url]
        await self._forget(url)
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        self._connections[url] = connection
        return connection

    async def _forget(self, url: str) -> None:
        if (connection := self._connections.pop(url, None)) is not None:
            connection.terminate()
            await asyncio.sleep(0)  # it closes in the loop's next turn

    async def _emptied(self, url: str) -> bool:
        """Return whether the database could be made what it was."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                connection = await self._connected(url)
                while await connection.fetchval(_END_OTHERS):  # noqa: ASYNC110 (they give no sign of having ended)
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                if await shape_of(connection) != self.blank.shape:
                    return False
                used = [table for (table,) in await connection.fetch(_USED)]
                await _empty(connection, used, self.blank.rows)
        except _LOST:
            return False
        return True


async def shape_of(connection: asyncpg.Connection) -> str:
    """Return a digest of a database's schema, settings and planner statistics."""
    return str(await connection.fetchval(_SHAPE))


async def _read(url: str) -> Blank:
    """Return what a template holds, once its tables have been emptied as those of its copies will be."""
    connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
    try:
        tables = [table for (table,) in await connection.fetch(_TABLES)]
        rows = {
            table: [line for (line,) in await connection.fetch(f"SELECT row::text FROM {table} AS row")]  # noqa: S608
            for table in tables
        }
        rows = {table: lines for table, lines in rows.items() if lines}
        await _empty(connection, tables, rows)
        return Blank(shape=await shape_of(connection), rows=rows)
    finally:
        await connection.close()


async def _empty(
    connection: asyncpg.Connection, tables: Sequence[str], rows: Mapping[str, Sequence[str]]
) -> None:
    async with connection.transaction():
        await connection.execute(f"TRUNCATE {', '.join(tables)}")
        for table, lines in rows.items():
            insert = f"INSERT INTO {table} SELECT (line::{table}).* FROM unnest($1::text[]) AS line"  # noqa: S608
            await connection.execute(insert, lines)
        await connection.execute(_RESTART_SEQUENCES)
