"""A checkout beyond the limit costs next to nothing, and its client can't have it at once again."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.api.middleware.admission import Admission
from app.api.middleware.over_capacity import HeldBack, OverCapacity


class Behind:
    """What is behind the middleware: it notes what gets there."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.reached.append(scope["path"])


class Service:
    """A service at its limit of one saga, whose key is `mine`."""

    def __init__(self, *, in_flight: int = 1) -> None:
        self.running = in_flight
        self.draining = asyncio.Event()
        self.refused: list[str] = []
        self.answers: list[tuple[str, str, int]] = []
        self.metrics = SimpleNamespace(
            refused=self.refused.append,
            answered=lambda route, method, status, _took: self.answers.append((route, method, status)),
        )

    def in_flight(self) -> int:
        return self.running

    def runs_key(self, key: str, _caller: str | None) -> bool:
        return key == "mine"


def a_refuser(behind: Behind, *, hold_seconds: float = 0.0) -> OverCapacity:
    return OverCapacity(behind, admission=Admission(1), path="/checkout", hold_seconds=hold_seconds)


async def ask(
    app: OverCapacity,
    service: Service,
    *,
    path: str = "/checkout",
    method: str = "POST",
    query: bytes = b"",
    **headers: str,
) -> list[Message]:
    """Send a request; return what is answered. Reading its body is an error."""

    async def receive() -> Message:
        raise AssertionError("the body was read")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
        "app": SimpleNamespace(state=SimpleNamespace(service=service)),
    }
    await app(scope, receive, send)
    return sent


async def test_a_refusal_says_all_that_a_problem_does() -> None:
    service, behind = Service(), Behind()
    start, body = await ask(a_refuser(behind), service, x_request_id='"mine"')
    headers = dict(start["headers"])
    assert start["status"] == 503
    assert headers[b"retry-after"] == b"1"
    assert headers[b"x-request-id"] == b'"mine"'
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert len(headers) == len(start["headers"])
    document = json.loads(body["body"])
    assert (document["code"], document["request_id"], document["status"]) == ("over_capacity", '"mine"', 503)
    assert behind.reached == []
    assert service.refused == ["over_capacity"]
    assert service.answers == [("/checkout", "POST", 503)]


async def test_each_refusal_has_an_id_of_its_own() -> None:
    app, service = a_refuser(Behind()), Service()
    ids = {json.loads((await ask(app, service))[1]["body"])["request_id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "GET"},
        {"path": "/sagas"},
        {"query": b"dry_run=true"},
        {"idempotency_key": "mine"},
        {"idempotency_key": '"mine"'},
        {"x_request_id": "4242424242424242"},  # whose answer says so
    ],
)
async def test_what_needs_no_room_or_has_it_goes_on(request_: dict[str, Any]) -> None:
    service, behind = Service(), Behind()
    assert await ask(a_refuser(behind), service, **request_) == []
    assert len(behind.reached) == 1
    assert service.refused == []


async def test_where_there_is_room_or_nothing_is_taken_any_more_all_goes_on() -> None:
    behind = Behind()
    await ask(a_refuser(behind), Service(in_flight=0))
    draining = Service()
    draining.draining.set()
    await ask(a_refuser(behind), draining)
    assert len(behind.reached) == 2


async def test_refusals_are_summed_up_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.middleware.over_capacity.SUMMARY_SECONDS", 0)
    app, service = a_refuser(Behind()), Service()
    for _ in range(5):
        await ask(app, service)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines = [record for record in caplog.records if record.message == "checkouts_refused"]
    assert sum(line.__dict__["count"] for line in lines) == 5
    assert len(lines) < 5


class Clock:
    """An event loop's clock and timers, of which a test decides when they come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any, tuple[Any, ...]]] = []
        loop = asyncio.get_running_loop()
        proxy = SimpleNamespace(
            time=lambda: self.now, create_future=loop.create_future, call_later=self._call_later
        )
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: proxy)

    def _call_later(self, seconds: float, call: Any, *given: Any) -> None:
        self.timers.append((self.now + seconds, call, given))

    async def pass_(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call, given in due:
            call(*given)
        await turn()


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_an_answer_is_held_back_for_its_time_by_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clock = Clock(patch)
        held = HeldBack(0.5, most=10, per_second=1e9)
        first = [asyncio.ensure_future(held.wait()) for _ in range(3)]
        await turn()
        await clock.pass_(0.26)
        second = asyncio.ensure_future(held.wait())
        await turn()
        assert len(clock.timers) == 1
        assert not any(one.done() for one in first)
        await clock.pass_(0.26)
        assert [one.done() for one in (*first, second)] == [True, True, True, False]
        await clock.pass_(0.26)
        assert second.done()
        assert (len(held), clock.timers) == (0, [])


async def test_no_more_are_held_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clock = Clock(patch)
        held = HeldBack(0.5, most=2, per_second=1e9)
        waiting = [asyncio.ensure_future(held.wait()) for _ in range(2)]
        await turn()
        await held.wait()  # at once
        assert [one.done() for one in waiting] == [False, False]
        waiting[0].cancel()  # its client went away
        await turn()
        await clock.pass_(0.51)
        assert waiting[1].done()


async def test_however_many_come_so_many_go_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clock = Clock(patch)
        held = HeldBack(0.5, most=1000, per_second=10)
        waiting = [asyncio.ensure_future(held.wait()) for _ in range(30)]
        await turn()
        gone = []
        for _ in range(4):
            await clock.pass_(0.5)
            gone.append(sum(one.done() for one in waiting))
        assert gone == [1, 6, 11, 16]
        assert [one.done() for one in waiting] == [True] * 16 + [False] * 14
        for one in waiting:
            one.cancel()
