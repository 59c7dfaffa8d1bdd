"""The page "Fail over PostgreSQL" agrees with the code and with a real PostgreSQL."""

from __future__ import annotations

import re

import asyncpg

from app.settings.settings import Settings
from app.storage.engine.database import Database
from app.storage.engine.postgres_connector import COMMAND_SECONDS, HEAD_START_SECONDS
from app.storage.journal.postgres_writer import ANSWER_SECONDS
from tests.chaos.database import test_failover
from tests.processes import ROOT

PAGE = (ROOT / "docs" / "how-to" / "fail-over-postgresql.md").read_text()


def _the_block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


async def test_postgresql_knows_the_pages_settings(postgres_url: str) -> None:
    """PostgreSQL has every setting of the configuration, and accepts the page's `synchronous_commit`."""
    given = dict(re.findall(r"^(\w+) = '?(.*?)'?$", _the_block("ini"), re.MULTILINE))
    assert list(given) == ["synchronous_standby_names", "synchronous_commit"]
    connection = await asyncpg.connect(postgres_url)
    try:
        for name in given:
            assert await connection.fetchval("SELECT count(*) FROM pg_settings WHERE name = $1", name) == 1
        await connection.execute(f"SET synchronous_commit = {given['synchronous_commit']}")
    finally:
        await connection.close()


async def test_the_url_names_every_server() -> None:
    """The service accepts the page's URL."""
    url = _the_block("bash").strip().removeprefix("DATABASE_URL=")
    assert Database(url).is_postgres
    assert url.count(":5432") == 3


def test_the_service_has_the_pages_settings() -> None:
    """Every variable of the service that the page names is a setting."""
    named = set(re.findall(r"`CHECKOUT_(\w+)`", PAGE))
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_times_agree_with_the_code() -> None:
    """How soon the next server is asked, and when a silent one is abandoned."""
    assert f"after {HEAD_START_SECONDS:g} s without an answer" in PAGE
    assert f"abandoned after {COMMAND_SECONDS:g} s" in PAGE
    assert ANSWER_SECONDS == COMMAND_SECONDS


def test_the_rehearsal_is_as_described() -> None:
    """The tests of the command exist, and strike when the page says."""
    for path in re.findall(r"tests/\S+\.py", PAGE):
        assert (ROOT / path).exists()
    stated = f"the {test_failover.STRIKE_AT}th of {test_failover.ORDERS} orders"
    assert stated in PAGE
    assert test_failover.TROUBLE["SANDBOX_FAILURE_RATE"] == "0.1", "one call in ten"
    assert f"a lease of {test_failover.QUICK['CHECKOUT_LEASE_SECONDS']} s" in PAGE
