"""The floor: so many bare commits a checkout by a raw driver, one connection a client, and no saga at all."""

from __future__ import annotations

import os

import asyncpg
from uuid_utils import uuid7

from tests.bench.sides.clock import asked, tell
from tests.bench.sides.process import run

COMMITS = int(os.environ.get("BENCH_COMMITS", "8"))


async def main() -> None:
    """Measure one row a commit."""
    given = asked()
    pool = await asyncpg.create_pool(given.url, min_size=given.clients, max_size=given.clients)
    try:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS bare (id uuid, seq int, data json, PRIMARY KEY (id, seq))"
        )

        async def one() -> None:
            saga_id = str(uuid7())
            async with pool.acquire() as connection:
                for seq in range(COMMITS):
                    await connection.execute("INSERT INTO bare VALUES ($1, $2, $3)", saga_id, seq, '{"a": 1}')

        await tell(given.clients, given.seconds, one)
    finally:
        await pool.close()


if __name__ == "__main__":
    run(main())
