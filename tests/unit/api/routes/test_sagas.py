"""GET /sagas/{id} and GET /sagas."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx2 as httpx
import pytest

from app.access.principal import Principal
from app.access.scopes import Scope
from app.api import ApiSettings
from app.api.http.headers.etag import etag_of, matches
from app.saga import LogUnavailable, StepRejected
from tests.builders import HANG, an_id, settle
from tests.unit.api.routes.test_checkout import gate
from tests.unit.api.served import Served, an_order, problem, served


async def test_a_saga_is_read_as_its_checkout_showed_it() -> None:
    async with served() as api:
        placed = await api.post()
        read = await api.get(placed.headers["location"])
        assert (read.status_code, read.content) == (200, placed.content)
        assert read.headers["cache-control"] == "private, no-cache"


async def test_the_problem_of_a_failed_checkout_holds_the_same_saga() -> None:
    async with served(payment=[StepRejected()]) as api:
        placed = await api.post()
        assert (await api.get(placed.headers["location"])).json() == placed.json()["saga"]


async def test_an_unchanged_saga_is_304() -> None:
    async with served() as api:
        url = (await api.post()).headers["location"]
        etag = (await api.get(url)).headers["etag"]
        for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            answer = await api.get(url, If_None_Match=named)
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
        assert (await api.get(url, If_None_Match='"other"')).status_code == 200


def test_several_if_none_match_lines_are_one_list() -> None:
    assert matches(['"a"', '"b", W/"c"'], '"c"')
    assert not matches([], '"c"')
    assert not matches(["c"], '"c"')
    assert etag_of(b"a", 1) != etag_of(b"b", 1)


async def test_a_saga_that_moves_changes_its_etag() -> None:
    opened, waits = gate()
    async with served(payment=[waits]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        before = await api.get(url)
        opened.set()
        after = await api.get(url, Prefer="wait=5", If_None_Match=before.headers["etag"])
        assert after.status_code == 200
        assert after.headers["preference-applied"] == "wait=5"
        assert after.headers["etag"] != before.headers["etag"]


async def test_a_long_poll_ends_when_the_saga_does() -> None:
    opened, waits = gate()
    async with served(payment=[waits]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        polling = asyncio.create_task(api.get(url, Prefer="wait=60"))
        await settle()
        assert not polling.done()
        opened.set()
        assert (await polling).json()["status"] == "completed"


async def test_a_long_poll_ends_when_the_process_closes() -> None:
    async with served(payment=[HANG]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        polling = asyncio.create_task(api.get(url, Prefer="wait=60"))
        await settle()
        api.service.closing.set()
        assert (await polling).json()["status"] == "running"


async def test_a_reading_never_waits_unasked() -> None:
    async with served(payment=[HANG]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        answer = await api.get(url, Prefer="respond-async")
        assert answer.json()["status"] == "running"
        assert "preference-applied" not in answer.headers


async def test_unknown_malformed_and_anothers_are_the_same_404() -> None:
    async with served() as api:
        url = (await api.post()).headers["location"]
        saga_id = url.removeprefix("/sagas/")
        names = (
            str(uuid.uuid4()),
            "x",
            f"{saga_id}A",
            f"{saga_id}%0A",
            "%00",
            "'",
            "a" * 2000,
            f"{{{saga_id}}}",
        )
        answers = [await api.get(f"/sagas/{name}", X_Request_ID="r") for name in names]
        with as_caller(api, "another"):
            answers.append(await api.get(url, X_Request_ID="r"))
            answers.append(await api.get(url, X_Request_ID="r", Prefer="wait=1"))
        assert {(a.status_code, a.content) for a in answers} == {(404, answers[0].content)}
        problem(answers[0], 404, "not_found")


@contextmanager
def as_caller(api: Served, caller: str) -> Iterator[None]:
    """Let every request be this caller's, as API keys will."""
    transport = api.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    app = transport.app

    async def called(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await app(
            {**scope, "state": {"caller": Principal(tenant=caller, scopes=frozenset(Scope))}}, receive, send
        )

    transport.app = called
    try:
        yield
    finally:
        transport.app = app


async def test_a_key_and_an_order_belong_to_their_caller() -> None:
    async with served() as api:
        assert (await api.post(key="k")).status_code == 201
        with as_caller(api, "another"):
            other = await api.post(key="k")
            assert other.status_code == 201
            assert "idempotent-replayed" not in other.headers
            assert len((await api.get("/sagas")).json()["data"]) == 1


async def test_a_parameter_that_means_nothing_is_422() -> None:
    async with served() as api:
        url = (await api.post()).headers["location"]
        problem(await api.get(f"{url}?expand=all"), 422, "invalid_request")


async def test_a_dead_storage_is_503() -> None:
    async with served() as api:
        api.log.broken = LogUnavailable()
        answer = await api.get(f"/sagas/{an_id()}")
        problem(answer, 503, "storage_unavailable")
        assert "retry-after" in answer.headers


async def test_a_storage_that_hangs_is_503_too() -> None:
    async def never(*_: object, **__: object) -> Any:
        await asyncio.Event().wait()

    async with served(ApiSettings(storage_timeout_seconds=0.01)) as api:
        api.log.load = never  # type: ignore[method-assign]
        problem(await api.get(f"/sagas/{an_id()}"), 503, "storage_unavailable")
        problem(await api.get(f"/sagas/{an_id()}", Prefer="wait=0"), 503, "storage_unavailable")
        api.log.start = never  # type: ignore[method-assign]
        problem(await api.post(key="k"), 503, "storage_unavailable")


async def three_sagas(api: Served) -> list[str]:
    """Return the ids of three sagas, newest first."""
    urls = [
        (await api.post(an_order(order_id=f"ord-{n}", customer_id=f"cus-{n % 2}"))).headers["location"]
        for n in range(3)
    ]
    return [url.removeprefix("/sagas/") for url in reversed(urls)]


async def test_sagas_are_listed_newest_first_page_by_page() -> None:
    async with served() as api:
        ids = await three_sagas(api)
        first = (await api.get("/sagas?limit=2")).json()
        assert [saga["id"] for saga in first["data"]] == ids[:2]
        second = (await api.get(f"/sagas?limit=2&cursor={first['next_cursor']}")).json()
        assert [saga["id"] for saga in second["data"]] == ids[2:]
        assert second["next_cursor"] is None
        assert list(first) == ["data", "next_cursor"]


async def test_a_full_last_page_has_no_next() -> None:
    async with served() as api:
        await three_sagas(api)
        assert (await api.get("/sagas?limit=3")).json()["next_cursor"] is None


@pytest.mark.parametrize("name", ["order_id", "customer_id"])
@pytest.mark.parametrize(
    "value",
    [
        "👩‍💻",
        "a\u202eb",
        "\ufeffa",
        "\U0010ffff",
        "a b",
        "a+b&c=d%20",
        "a\u2028b",
        "é",
        "e\u0301",
        "\u00ada",
        "x" * 128,
    ],
)
async def test_what_can_be_checked_out_can_be_looked_for(name: str, value: str) -> None:
    async with served() as api:
        assert (await api.post(an_order(**{name: value}))).status_code == 201
        await api.post(an_order(order_id="another"))
        listed = await api.client.get("/sagas", params={name: value})
        assert [saga[name] for saga in listed.json()["data"]] == [value]


@pytest.mark.parametrize(
    "value", ["x" * 129, " a", "a\u00a0", "a\u0000", "\u0085a", "a\u009fb", "a\nb", "4242 4242 4242 4242"]
)
async def test_what_cannot_be_checked_out_cannot_be_looked_for(value: str) -> None:
    """The same words say why."""
    async with served() as api:
        refused = (await api.post(an_order(order_id=value))).json()
        looked = (await api.client.get("/sagas", params={"order_id": value})).json()
        assert looked["code"] == refused["code"]
        assert looked["errors"][0] == {
            "parameter": "order_id",
            "code": refused["errors"][0]["code"],
            "detail": refused["errors"][0]["detail"],
        }


async def test_windows_that_meet_have_each_saga_once() -> None:
    """`created_after` takes the saga of that very time, `created_before` leaves it to the next window."""
    async with served() as api:
        for number in range(4):
            await api.post(an_order(order_id=f"ord-{number}"))
            api.clock.advance(1)
        sagas = (await api.get("/sagas")).json()["data"]
        times = sorted(saga["created_at"] for saga in sagas)
        assert len(set(times)) == 4
        bounds = ["", *times, ""]
        windows = [
            (await api.client.get("/sagas", params={"created_after": start, "created_before": end})).json()[
                "data"
            ]
            for start, end in pairwise(bounds)
        ]
        assert [[saga["created_at"] for saga in window] for window in windows] == [
            [],
            *([at] for at in times),
        ]


@pytest.mark.parametrize("part", ["000", "0", ""])
async def test_a_part_of_a_microsecond_is_after_the_whole_one(part: str) -> None:
    async with served() as api:
        at = (await api.post()).json()["created_at"].removesuffix("Z") + part
        for name, begun in (("created_after", 1), ("created_before", 0)):
            assert len((await api.get(f"/sagas?{name}={at}Z")).json()["data"]) == begun
        for name, begun in (("created_after", 0), ("created_before", 1)):
            assert len((await api.get(f"/sagas?{name}={at[:26]}001Z")).json()["data"]) == begun


async def test_no_saga_is_an_empty_page() -> None:
    async with served() as api:
        assert (await api.get("/sagas")).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("order_id=ord-1", [1]),
        ("customer_id=cus-0", [2, 0]),
        ("customer_id=cus-0&order_id=ord-2", [2]),
        ("status=completed", [2, 1, 0]),
        ("status=compensated", []),
        ("created_after=2025-01-01T00:00:00Z", [2, 1, 0]),
        ("created_before=2025-01-01T00:00:00.5%2B01:00", []),
        ("status=&order_id=", [2, 1, 0]),
        ("order_id=nobody%27s", []),
    ],
)
async def test_the_list_is_filtered(query: str, found: list[int]) -> None:
    async with served() as api:
        await three_sagas(api)
        listed = (await api.get(f"/sagas?{query}")).json()["data"]
        assert [saga["order_id"] for saga in listed] == [f"ord-{n}" for n in found]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("state=completed", "state"),
        ("status=done", "status"),
        ("status=completed&status=running", "status"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=%D9%A1", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=AAAA", "cursor"),
        ("cursor=" + "A" * 21 + "B", "cursor"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_after=2026-13-01T00:00:00Z", "created_after"),
        ("created_before=0001-01-01T00:00:00%2B23:59", "created_before"),
        ("created_before=2026-01-01T00:00:00+01:00", "created_before"),
        ("order_id=%00", "order_id"),
        ("customer_id=" + "a" * 256, "customer_id"),
        ("%00=1", ""),
    ],
)
async def test_a_filter_that_cannot_be_meant_is_422_and_named(query: str, parameter: str) -> None:
    async with served() as api:
        body = problem(await api.get(f"/sagas?{query}"), 422, "invalid_request")
        assert body["errors"][0]["parameter"] == parameter
        assert body["errors"][0]["detail"]


async def test_a_saga_in_a_currency_that_is_none_is_read_still() -> None:
    """It was stored before currencies were checked, or before one was withdrawn."""
    async with served() as api:
        order = {**an_order(), "amount": 3998, "currency": "ZZZ"}
        placed = await api.starter.start(order)
        saga = (await api.get(f"/sagas/{placed.saga_id}", Prefer="wait=5")).json()
        assert (saga["status"], saga["amount"], saga["currency"]) == ("completed", 3998, "ZZZ")
        assert [one["id"] for one in (await api.get("/sagas")).json()["data"]] == [placed.saga_id]
        for url in ("/", f"/dashboard/sagas/{placed.saga_id}"):
            assert "3,998 ZZZ (minor units)" in (await api.get(url)).text


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/sagas?status=sideways"),
        ("GET", "/sagas?cursr=x"),
        ("GET", "/sagas?limit=0"),
        ("GET", f"/sagas/{an_id()}?x=1"),
        ("POST", f"/sagas/{an_id()}/retry"),
    ],
)
async def test_what_is_no_checkout_says_nothing_of_an_idempotency_key(method: str, url: str) -> None:
    """There is none that could still be free."""
    async with served() as api:
        headers = {"Content-Type": "application/json"}
        answer = await api.client.request(method, url, content=b"{}", headers=headers)
        assert "Idempotency" not in problem(answer, 422, "invalid_request")["detail"]
        asked = await api.post(url="/checkout?dry_rn=true")
        assert "Idempotency-Key is still free" in problem(asked, 422, "invalid_request")["detail"]
