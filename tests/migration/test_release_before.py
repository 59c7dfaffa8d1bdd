"""A database written by the release before is read, and its sagas are finished where they stopped.

`releases/*.sql` are dumps of databases whose service was killed with sagas under way: one running, one backing off, one
compensating; beside them finished ones, one that needs attention, deliveries of webhooks, a key and a session. Revision
1affb9f wrote them. Their times are moved to the last minute, as after an update that took so long.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from app.access.principal import Principal
from app.bootstrap.service import open_service
from app.saga.model.status import SagaStatus
from app.saga.ports.log import StoredSaga
from app.saga.ports.queries import SagaFilter
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.access.sessions import SqlSessions
from app.storage.outbox.delivery_rows import DeliveryStatus
from app.storage.schema.migrations import upgrade

RELEASES = Path(__file__).with_name("releases")
SESSION = "5e" * 32
SHOP = Principal(tenant="shop", subject="a-test")
ENDS = {
    "ord-completed": SagaStatus.COMPLETED,
    "ord-compensated": SagaStatus.COMPENSATED,
    "ord-needs-attention": SagaStatus.NEEDS_ATTENTION,
    "ord-backing-off": SagaStatus.COMPLETED,
    "ord-compensating": SagaStatus.COMPENSATED,
    "ord-running": SagaStatus.COMPENSATED,  # its payment never answers
}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|\+00(?::00)?)")


def a_dump(database: str, release: str) -> str:
    """Return a release's dump, moved so that its last event was a minute ago."""
    dump = (RELEASES / f"{release}.{database}.sql").read_text()
    last = max(_times(line for line in dump.splitlines() if "saga_log" in line and "INSERT" in line))
    by = datetime.now(UTC) - timedelta(minutes=1) - last

    def moved(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(f"{found[1]}T{found[3]}+00:00") + by
        return f"{at:%Y-%m-%d}{found[2]}{at:%H:%M:%S.%f}{found[4]}"

    return _TIME.sub(moved, dump)


def _times(lines: Iterator[str]) -> Iterator[datetime]:
    for line in lines:
        for found in _TIME.finditer(line.partition("'{")[0]):  # an event's data tells of later times
            yield datetime.fromisoformat(f"{found[1]}T{found[3]}+00:00")


@pytest.fixture(params=["sqlite", "postgresql"])
async def released_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a database as the release before left it."""
    if request.param == "sqlite":
        url = str(request.getfixturevalue("empty_sqlite_url"))
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(a_dump("sqlite", "1affb9f"))
        return url
    url = str(request.getfixturevalue("empty_postgres_url"))
    link: Any = await asyncpg.connect(url)
    try:
        await link.execute(a_dump("postgresql", "1affb9f"))
    finally:
        await link.close()
    return url


async def _stored(url: str) -> dict[str, StoredSaga]:
    async with open_storage(url) as storage:
        found = await storage.queries.list_sagas(SagaFilter(), before=None, limit=20)
    assert all(isinstance(one, StoredSaga) for one in found), found
    return {str(one.saga.order_id): one for one in found if isinstance(one, StoredSaga)}


async def test_sagas_of_the_release_before_are_finished_where_they_stopped(released_url: str) -> None:
    """Each reaches its end, on both databases, and no event of its trail is changed or lost."""
    upgrade(released_url)
    before = await _stored(released_url)
    assert set(before) == set(ENDS)
    assert sum(one.status in {SagaStatus.RUNNING, SagaStatus.COMPENSATING} for one in before.values()) == 3
    settings = Settings(
        database_url=SecretStr(released_url), retry_base_seconds=0.01, retry_cap_seconds=0.01, lease_seconds=5
    )
    async with open_service(settings) as service:
        for order, end in ENDS.items():
            view = await service.reader.wait(before[order].saga.id, seconds=20, caller=SHOP)
            assert view is not None
            assert view.state.status is end, order
    after = await _stored(released_url)
    for order, end in ENDS.items():
        assert after[order].status is end
        assert after[order].events[: len(before[order].events)] == before[order].events
        assert after[order].saga == before[order].saga


async def test_keys_sessions_and_deliveries_of_the_release_before_are_read(released_url: str) -> None:
    """Who was signed in stays so, and what an endpoint has not acknowledged is still to be delivered."""
    upgrade(released_url)
    async with open_storage(released_url) as storage:
        key = await SqlSessions(storage.log).find(SESSION, at=datetime.now(UTC))
        pending = await storage.deliveries.list_deliveries(
            status=DeliveryStatus.PENDING, endpoint="shop", before=None, limit=10
        )
    assert key is not None
    assert key.caller == "shop"
    assert [(one.attempts, one.event.type.value) for one in reversed(pending)] == [
        (1, "checkout.completed"),
        (1, "checkout.compensated"),
        (1, "checkout.needs_attention"),
    ]
