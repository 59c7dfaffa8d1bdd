"""A finished saga is rendered once, and still shows at once whatever has become of it, at whichever replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.bootstrap.http_app import create_app
from app.bootstrap.service import open_service
from app.checkout.redaction import CHECKOUT_REDACTION
from app.settings.settings import Settings
from app.storage import Storage, open_storage
from app.storage.engine.reads import PostgresReads, Row, SqliteReads
from app.storage.retention.retention import SqlRetention
from tests.processes import an_order

LIMIT = 20.0


class Statements:
    """What was read, since it was last cleared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_logs = 0
        self.all = 0
        for kind in (PostgresReads, SqliteReads):
            monkeypatch.setattr(kind, "fetch", self._noted(kind.fetch))

    def clear(self) -> None:
        self.of_logs = self.all = 0

    def _noted(self, fetch: Any) -> Any:
        async def noted(reads: Any, sql: str, *arguments: object) -> Sequence[Row]:
            self.all += 1
            self.of_logs += "FROM saga_log" in sql
            found: Sequence[Row] = await fetch(reads, sql, *arguments)
            return found

        return noted


class Client(httpx.AsyncClient):
    """A client that also knows what the service is doing."""

    in_flight: Callable[[], int]


@asynccontextmanager
async def a_service(url: str) -> AsyncIterator[Client]:
    settings = Settings(database_url=SecretStr(url), sandbox_database=":memory:", keep_data_days=0)
    app = create_app(lambda: open_service(settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with Client(transport=transport, base_url="http://localhost") as client:
            client.in_flight = app.state.service.in_flight
            yield client


@pytest.fixture
async def elsewhere(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as storage:
        yield storage


async def checked_out(client: Client, count: int = 1) -> list[str]:
    placed = [await client.post("/checkout", json=an_order(f"ord-{n}")) for n in range(count)]
    assert {one.status_code for one in placed} == {201}
    async with asyncio.timeout(LIMIT):
        while client.in_flight():  # noqa: ASYNC110 (until then they are read from memory)
            await asyncio.sleep(0.001)
    return [one.headers["location"] for one in placed]


async def test_once_rendered_it_is_answered_from_its_row(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_service(database_url) as client:
        (url,) = await checked_out(client)
        statements = Statements(monkeypatch)
        first = await client.get(url)
        assert statements.of_logs == 1
        statements.clear()
        again = await client.get(url)
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        unchanged = await client.get(url, headers={"If-None-Match": first.headers["etag"]})
        assert unchanged.status_code == 304
        assert (statements.all, statements.of_logs) == (2, 0)


async def test_a_page_reads_the_logs_of_those_alone_that_it_does_not_know(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_service(database_url) as client:
        urls = await checked_out(client, 5)
        one = await client.get(urls[0])
        statements = Statements(monkeypatch)
        page = await client.get("/sagas")
        assert [f"/sagas/{saga['id']}" for saga in page.json()["data"]] == urls[::-1]
        assert page.json()["data"][-1] == one.json()
        assert (statements.all, statements.of_logs) == (2, 1)
        statements.clear()
        assert (await client.get("/sagas")).content == page.content
        assert (statements.all, statements.of_logs) == (1, 0)


async def test_what_is_redacted_at_another_replica_is_shown_redacted(
    database_url: str, elsewhere: Storage
) -> None:
    async with a_service(database_url) as client:
        (url,) = await checked_out(client)
        before = await client.get(url)
        customer = before.json()["customer_id"]
        retention = SqlRetention(elsewhere.log, CHECKOUT_REDACTION)
        assert await retention.erase(customer, caller=None, limit=10) == 1
        after = await client.get(url, headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert customer not in after.text
        assert after.headers["etag"] != before.headers["etag"]
        assert customer not in (await client.get("/sagas")).text


async def test_what_is_deleted_at_another_replica_is_gone(database_url: str, elsewhere: Storage) -> None:
    async with a_service(database_url) as client:
        (url,) = await checked_out(client)
        assert (await client.get(url)).status_code == 200
        retention = SqlRetention(elsewhere.log, CHECKOUT_REDACTION)
        soon = await elsewhere.log.time() + timedelta(hours=1)
        nobody = "00000000-0000-0000-0000-000000000000"
        assert (await retention.delete(soon, after=nobody, limit=10, endpoints=[])).done == 1
        assert (await client.get(url)).status_code == 404
        assert (await client.get("/sagas")).json()["data"] == []


async def test_any_change_of_the_row_has_the_saga_read_again(
    database_url: str, elsewhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that no release of ours makes."""
    async with a_service(database_url) as client:
        (url,) = await checked_out(client)
        await client.get(url)
        statements = Statements(monkeypatch)
        async with elsewhere.log.writing() as connection:
            await connection.execute(text("UPDATE saga SET request_id = 'another'"))
        assert (await client.get(url)).status_code == 200
        assert statements.of_logs == 1
