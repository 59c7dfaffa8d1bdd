"""One saga whose log this release can't read: it is listed with the reason, and nobody else notices.

A release that was rolled back, a definition that isn't loaded any more, a step that was renamed, a damaged file.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.api.openapi.__main__ import document
from app.operations.retention import RetentionCounts
from app.settings.settings import Settings
from app.storage import open_storage
from app.storage.retention.redaction import REMOVED
from tests.in_process import a_service
from tests.processes import an_order
from tests.spec.test_retention import leave
from tests.unit.api.served import problem

KEY = {"Idempotency-Key": "key-1"}
STUCK = {"X-Simulate": "shipping.execute=rejected, payment.compensate=not_reversible"}
UNDONE = {"X-Simulate": "shipping.execute=rejected"}

NEW_WORD = "UPDATE saga_log SET event = 'step_accepted' WHERE saga_id = :id AND seq = 3"
NEW_KIND = """UPDATE saga_log SET data = '{"error": {"code": "x", "message": "y", "kind": "postponed"}}'
WHERE saga_id = :id AND event = 'step_failed'"""
NOT_A_LOG = "DELETE FROM saga_log WHERE saga_id = :id AND seq = 2"
NO_LOG = "DELETE FROM saga_log WHERE saga_id = :id"
NO_OBJECT = "UPDATE saga_log SET data = '[1]' WHERE saga_id = :id AND seq = 2"
NO_INPUT = "UPDATE saga SET input = 'null' WHERE id = :id"
RENAMED = "UPDATE saga_log SET step = 'fraud_check' WHERE saga_id = :id AND step = 'inventory'"
NOT_LOADED = "UPDATE saga SET version = 7 WHERE id = :id"


@dataclass
class Shop:
    client: httpx.AsyncClient
    url: str

    async def damage(self, sql: str, saga_id: str) -> None:
        async with (
            open_storage(self.url) as storage,
            storage.engine.execution_options(writes=True).begin() as connection,
        ):
            await connection.execute(text(sql), {"id": saga_id})

    async def json(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()


@asynccontextmanager
async def a_shop(url: str) -> AsyncIterator[Shop]:
    settings = Settings(
        database_url=SecretStr(url),
        sandbox_database=":memory:",
        retry_base_seconds=0.01,
        retry_cap_seconds=0.02,
        compensation_max_attempts=2,
        event_stream_poll_seconds=0.05,
    )
    async with a_service(settings) as client:
        yield Shop(client, url)


@pytest.mark.parametrize("damage", [NEW_WORD, NEW_KIND, NOT_A_LOG, NO_LOG, NO_OBJECT, NO_INPUT])
async def test_an_unreadable_saga_is_shown_as_such_and_hides_no_other(database_url: str, damage: str) -> None:
    """Its row, the reason and its raw trail; the list, the page and the feed go on with the others."""
    async with a_shop(database_url) as shop:
        before = (await shop.client.post("/checkout", json=an_order("ord-1"))).json()
        odd = (await shop.client.post("/checkout", json=an_order("ord-2"), headers=KEY | UNDONE)).json()[
            "saga"
        ]
        after = (await shop.client.post("/checkout", json=an_order("ord-3"))).json()
        await shop.damage(damage, odd["id"])

        listed = (await shop.json("/sagas"))["data"]
        assert [one["id"] for one in listed] == [after["id"], odd["id"], before["id"]]
        assert [one.get("unreadable") is not None for one in listed] == [False, True, False]
        assert listed[0] == await shop.json(f"/sagas/{after['id']}")
        shown = await shop.json(f"/sagas/{odd['id']}")
        assert shown == listed[1]
        assert (shown["status"], shown["order_id"]) == ("compensated", "ord-2")
        assert shown["unreadable"]["reason"].endswith(".")
        if damage == NEW_WORD:
            assert "'step_accepted'" in shown["unreadable"]["reason"]
            assert [one["event"] for one in shown["trail"]][:3] == [
                "saga_started",
                "step_succeeded",
                "step_accepted",
            ]
            assert shown["trail"][2]["step"] == "inventory"

        events = (await shop.json("/events"))["data"]
        assert [one["data"]["id"] for one in events] == [before["id"], odd["id"], after["id"]]
        assert events[1]["data"]["status"] == "compensated"

        page = await shop.client.get("/")
        assert page.status_code == 200
        assert "ord-2" in page.text
        assert "ord-3" in page.text
        assert "Unreadable: " in page.text
        one = await shop.client.get(f"/dashboard/sagas/{odd['id']}")
        assert one.status_code == 200
        assert "t read all of this checkout" in one.text
        assert (await shop.client.get("/metrics")).status_code == 200


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE saga SET input = '{' WHERE id = :id",
        "UPDATE saga SET cancel = '{' WHERE id = :id",
        "UPDATE saga SET created_at = 'then' WHERE id = :id",
        "UPDATE saga SET version = 'x' WHERE id = :id",
        "UPDATE saga_log SET attempt = 'x', data = '{' WHERE saga_id = :id AND seq = 2",
        "UPDATE saga_log SET data = '{' WHERE saga_id = :id AND seq = 2",
        "UPDATE saga_log SET at = 'then' WHERE saga_id = :id AND seq = 2",
    ],
)
async def test_what_a_damaged_file_holds_hides_no_other(sqlite_url: str, damage: str) -> None:
    """SQLite keeps whatever it is given as text; old sagas leave beside it all the same."""
    async with a_shop(sqlite_url) as shop:
        odd = (await shop.client.post("/checkout", json=an_order("ord-1"))).json()
        sane = (await shop.client.post("/checkout", json=an_order("ord-2"))).json()
        await shop.damage(damage, odd["id"])
        listed = (await shop.json("/sagas"))["data"]
        assert [one["id"] for one in listed] == [sane["id"], odd["id"]]
        assert listed[0] == sane
        assert listed[1]["unreadable"]["reason"]
        assert await shop.json(f"/sagas/{odd['id']}") == listed[1]
        assert (await shop.client.get(f"/sagas/{odd['id']}/events")).status_code == 200
        assert len((await shop.json("/events"))["data"]) == 2
        assert (await shop.client.get("/")).status_code == 200
        assert (await shop.client.get(f"/dashboard/sagas/{odd['id']}")).status_code == 200
        assert await leave(sqlite_url, days=91) == RetentionCounts(redacted=2, deleted=0)
        left = (await shop.json("/sagas"))["data"]
        assert [one["customer_id"] for one in left] == [REMOVED, REMOVED]


async def test_a_repeat_of_an_unreadable_checkouts_key_is_no_fault(database_url: str) -> None:
    """A completed one is still completed; of one that was undone this release can't tell why, and says so."""
    async with a_shop(database_url) as shop:
        done = (await shop.client.post("/checkout", json=an_order("ord-1"), headers=KEY)).json()
        other = {"Idempotency-Key": "key-2"}
        undone = (await shop.client.post("/checkout", json=an_order("ord-2"), headers=other | UNDONE)).json()[
            "saga"
        ]
        for saga in (done, undone):
            await shop.damage(NEW_WORD, saga["id"])
        repeat = await shop.client.post("/checkout", json=an_order("ord-1"), headers=KEY)
        assert (repeat.status_code, repeat.json()["id"]) == (201, done["id"])
        untold = await shop.client.post("/checkout", json=an_order("ord-2"), headers=other | UNDONE)
        assert problem(untold, 503, "saga_unreadable")["saga"]["id"] == undone["id"]


@pytest.mark.parametrize("damage", [NEW_WORD, NOT_A_LOG, RENAMED, NOT_LOADED])
async def test_the_key_of_an_unreadable_checkout_is_still_its_own(database_url: str, damage: str) -> None:
    """Another request under it is refused as one, as what it was begun with can be told."""
    async with a_shop(database_url) as shop:
        done = (await shop.client.post("/checkout", json=an_order("ord-1"), headers=KEY)).json()
        await shop.damage(damage, done["id"])
        other = await shop.client.post("/checkout", json=an_order("ord-2"), headers=KEY)
        problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize("damage", [NEW_WORD, NOT_A_LOG, RENAMED, NOT_LOADED])
async def test_nobody_acts_on_what_cannot_be_understood(database_url: str, damage: str) -> None:
    """What needs attention is left as it is; what has ended has ended."""
    async with a_shop(database_url) as shop:
        stuck = (await shop.client.post("/checkout", json=an_order("ord-1"), headers=STUCK)).json()
        done = (await shop.client.post("/checkout", json=an_order("ord-2"))).json()
        for saga in (stuck, done):
            await shop.damage(damage, saga["id"])
        for action in ("retry", "cancel", "resolve"):
            body = {"reason": "So."} | ({"step": "payment"} if action == "resolve" else {})
            answer = await shop.client.post(f"/sagas/{stuck['id']}/{action}", json=body)
            problem(answer, 503, "definition_unknown" if damage == NOT_LOADED else "saga_unreadable")
            answer = await shop.client.post(f"/sagas/{done['id']}/{action}", json=body)
            problem(answer, 409, "saga_finished")
        shown = await shop.json(f"/sagas/{stuck['id']}")
        assert shown["status"] == "needs_attention"
        assert shown["unreadable"]["reason"]
        assert (await shop.client.get(f"/dashboard/sagas/{stuck['id']}")).status_code == 200


@pytest.mark.parametrize("damage", [RENAMED, NOT_LOADED])
async def test_a_finished_saga_needs_no_definition(database_url: str, damage: str) -> None:
    """Its steps are told from its trail, and a repeat of its key gets the status that it had."""
    async with a_shop(database_url) as shop:
        first = await shop.client.post("/checkout", json=an_order("ord-1"), headers=KEY | UNDONE)
        saga = first.json()["saga"]
        await shop.damage(damage, saga["id"])
        shown = await shop.json(f"/sagas/{saga['id']}")
        expected = (
            json.loads(json.dumps(saga).replace('"inventory"', '"fraud_check"'))
            if damage == RENAMED
            else saga
        )
        assert shown == {**expected, "version": shown["version"]}
        assert (await shop.json("/sagas"))["data"] == [shown]
        assert (await shop.json("/events"))["data"][0]["data"] == shown
        assert (await shop.client.get("/")).status_code == 200
        assert (await shop.client.get(f"/dashboard/sagas/{saga['id']}")).status_code == 200
        again = await shop.client.post("/checkout", json=an_order("ord-1"), headers=KEY | UNDONE)
        assert (again.status_code, again.json()["saga"]) == (first.status_code, shown)


async def test_the_stream_tells_a_newer_releases_words_as_they_stand(database_url: str) -> None:
    """From the log as from memory; the stream ends with the saga."""
    async with a_shop(database_url) as shop:
        saga = (await shop.client.post("/checkout", json=an_order("ord-1"))).json()
        await shop.damage(NEW_WORD, saga["id"])
        answer = await shop.client.get(f"/sagas/{saga['id']}/events")
        assert answer.status_code == 200
        words = [
            line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")
        ]
        assert words == [
            "saga_started",
            "step_succeeded",
            "step_accepted",
            "step_succeeded",
            "saga_completed",
            "end",
        ]


def test_what_is_unreadable_is_described() -> None:
    """A client's types have it, as a member that most sagas lack, and a trail's word may be a new one."""
    schemas = json.loads(document())["components"]["schemas"]
    assert "unreadable" in schemas["Saga"]["properties"]
    assert "unreadable" not in schemas["Saga"]["required"]
    assert {"type": "string"} in schemas["Trail"]["properties"]["event"]["anyOf"]
