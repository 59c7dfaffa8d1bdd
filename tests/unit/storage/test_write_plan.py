"""The plan of the journal's one statement, made while nothing is known of its tables."""

from __future__ import annotations

import re
from itertools import pairwise

import asyncpg

from app.storage.postgres_writer import _PLANNED, _WRITE


async def test_no_table_is_read_as_a_whole_before_it_was_ever_analyzed(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(_PLANNED)
        await connection.execute(f"PREPARE written AS {_WRITE}")
        nothing = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", _WRITE))))
        plan = [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE written({nothing})")]
    finally:
        await connection.close()
    read = [(line, below) for line, below in pairwise(plan) if re.search(r"Scan.* on saga", line)]
    assert read
    assert [line for line, below in read if "Index Cond" not in below] == []
