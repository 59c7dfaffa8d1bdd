"""SIGTERM under load: every open request is answered, and the next process continues with the rest at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.chaos.recording_client import RecordingClient, saga_id_in
from tests.processes import Running, a_checkout, an_order, free_port, the_services, together, urls_of

DRAIN_SECONDS = 3.0
MARGIN_SECONDS = 10.0
"""For what comes after the drain: the last answers, the lease, the interpreter's end; on busy cores."""
TAKEOVER_SECONDS = 20.0
"""On busy cores; by far less than a lease, so that it can't be that which is over."""
AT_ONCE_SECONDS = 1.0
"""After so long a signal has come, on busy cores too."""
CLIENTS = 8
LONG_ONES = 4
SETTLED_SECONDS = 60.0
ENV = {
    "CHECKOUT_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "CHECKOUT_LEASE_SECONDS": "60",  # so that only a lease that was released is over in time
    "CHECKOUT_STEP_TIMEOUT_SECONDS": "1",
    "CHECKOUT_STEP_MAX_ATTEMPTS": "8",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.05",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.5",
    "CHECKOUT_LOG_LEVEL": "warning",
    "SANDBOX_REMOTE": "true",
}
SLOW = {"SANDBOX_LATENCY_SECONDS": "0.2", "SANDBOX_HANG_SECONDS": "2"}
LONGER_THAN_THE_DRAIN = {"X-Simulate": "payment.execute=timeout_before_effect:4"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """One request to the replica that drains: when it was sent and when it ended, and the answer or what came instead."""

    path: str
    sent: float
    ended: float
    status: int | None = None
    retry_after: str | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """When a process was sent SIGTERM, when it was gone, and its exit code."""

    asked: float
    gone: float
    gone_at: float
    code: int


class _Load:
    """Clients that order again and again, at the next of `servers` where one takes nothing; the first will drain."""

    def __init__(self, servers: Sequence[Running]) -> None:
        self.client = RecordingClient()
        self.seen: list[_Seen] = []
        self.accepted: list[str] = []
        self._servers = servers
        self._over = threading.Event()
        self._busy: list[Future[None]] = []

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have the clients order, and somebody ask /readyz, until the block ends; then every order has its answer."""
        with ThreadPoolExecutor(CLIENTS + LONG_ONES + 1) as self._pool:
            self._busy = [self._pool.submit(self._order_on, number) for number in range(CLIENTS)]
            self._busy.append(self._pool.submit(self._look_on))
            try:
                yield
            finally:
                self._over.set()
            for one in self._busy:
                one.result()

    def order(self, key: str, headers: Mapping[str, str] | None = None) -> None:
        """Order under one key, until somebody takes it."""
        give_up = time.monotonic() + SETTLED_SECONDS
        while time.monotonic() < give_up:
            for server in self._servers:
                answer = self._ask(server, key, headers)
                if answer is not None and answer.status_code != 503:
                    assert answer.status_code in {201, 202}, answer.text
                    self.accepted.append(saga_id_in(answer))
                    return
            time.sleep(0.05)  # as a client does before it asks again
        raise AssertionError(f"nobody took the order {key}")

    def stop_the_first(self) -> _End:
        """Tell the first server to stop, while sagas of every age are under way, some of which outlast the drain."""
        first = self._servers[0]
        _until(lambda: len(self.accepted) >= CLIENTS)
        long_ones = [f"long-{number}" for number in range(LONG_ONES)]
        self._busy += [self._pool.submit(self.order, key, LONGER_THAN_THE_DRAIN) for key in long_ones]
        for key in long_ones:
            _until(partial(self._is_taken, first, key))
        asked = time.monotonic()
        first.process.send_signal(signal.SIGTERM)
        code = first.process.wait(timeout=SETTLED_SECONDS)
        return _End(asked=asked, gone=time.monotonic(), gone_at=time.time(), code=code)

    def _is_taken(self, server: Running, key: str) -> bool:
        return bool(self.client.found(server, f"/sagas?order_id=ord-{key}")["data"])

    def _order_on(self, client: int) -> None:
        turn = 0
        while not self._over.is_set():
            self.order(f"client-{client}-{turn}")
            turn += 1

    def _look_on(self) -> None:
        while not self._over.is_set():
            self._noted("/readyz", lambda: self.client.get(self._servers[0], "/readyz"))
            time.sleep(0.02)  # a load balancer asks now and then

    def _ask(self, server: Running, key: str, headers: Mapping[str, str] | None) -> httpx.Response | None:
        def post() -> httpx.Response:
            return self.client.post(server, an_order(f"ord-{key}"), key, headers)

        if server is self._servers[0]:
            return self._noted("/checkout", post)
        try:
            return post()
        except httpx.ConnectError:
            return None  # it isn't up yet

    def _noted(self, path: str, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        seen = _Seen(path=path, sent=time.monotonic(), ended=0.0)
        try:
            answer = ask()
        except httpx.TransportError as error:
            self.seen.append(replace(seen, ended=time.monotonic(), error=type(error).__name__))
            return None
        retry_after = answer.headers.get("retry-after")
        self.seen.append(
            replace(seen, ended=time.monotonic(), status=answer.status_code, retry_after=retry_after)
        )
        return answer


def _until(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + SETTLED_SECONDS
    while not true():
        assert time.monotonic() < give_up, "the load never came about"
        time.sleep(0.01)  # other threads' progress can only be looked at


def _was_orderly(seen: Sequence[_Seen], end: _End) -> None:
    """Judge an end by what the clients saw of it."""
    assert end.code == 0
    assert end.gone - end.asked < DRAIN_SECONDS + MARGIN_SECONDS

    orders = [one for one in seen if one.path == "/checkout"]
    open_then = [one for one in orders if one.sent < end.asked < one.ended]
    assert {one.status for one in open_then} == {201, 202}, "an outcome, or the saga: nothing else, and both"
    # Some sagas outlast the drain, so it lasts as long as it may.
    over = end.asked + DRAIN_SECONDS
    late = [one for one in seen if end.asked + AT_ONCE_SECONDS < one.sent and one.ended < over]
    assert {one.path for one in late} == {"/checkout", "/readyz"}, "nobody asked: the run proves nothing"
    assert {one.status for one in late} == {503}, "it isn't ready any more, but still says so"
    assert all(one.retry_after for one in late if one.path == "/checkout")


def _taken_over(sagas: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return when each saga that was left was taken over."""
    return [
        datetime.fromisoformat(event["at"]).timestamp()
        for saga in sagas
        for event in saga["trail"]
        if event["event"] == "saga_recovered"
    ]


def test_a_replica_drains_and_the_other_takes_over(postgres_url: str, tmp_path: Path) -> None:
    """Not ready at once, every open request answered, exit 0 in time; the other has the rest long before a lease ends."""
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": postgres_url, **urls_of(services), **ENV}
        with together(*(a_checkout(env, tmp_path / f"{name}.log") for name in "ab")) as replicas:
            load = _Load(replicas)
            with load.under_way():
                end = load.stop_the_first()
            sagas = load.client.settled(replicas[1], load.accepted, seconds=SETTLED_SECONDS)
        _was_orderly(load.seen, end)
        assert len(_taken_over(sagas)) >= LONG_ONES
        assert max(_taken_over(sagas)) < end.gone_at + TAKEOVER_SECONDS
        assert {saga["status"] for saga in sagas} == {"completed"}
        load.client.prove(services, deaths=1)


@pytest.mark.parametrize("app", [None, "app.main:app"], ids=["serve", "uvicorn"])
def test_a_process_drains_and_the_next_continues(app: str | None, sqlite_url: str, tmp_path: Path) -> None:
    """The same on SQLite, where one process follows another; by `python -m app serve` and by uvicorn's own command."""
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": sqlite_url, **urls_of(services), **ENV}
        port = free_port()
        with ExitStack() as stack:
            before = stack.enter_context(a_checkout(env, tmp_path / "before.log", app=app))
            load = _Load([before, replace(before, url=f"http://127.0.0.1:{port}")])
            with load.under_way():
                end = load.stop_the_first()
                after = stack.enter_context(a_checkout(env, tmp_path / "after.log", port=port, app=app))
                ready_at = time.time()
            sagas = load.client.settled(after, load.accepted, seconds=SETTLED_SECONDS)
        _was_orderly(load.seen, end)
        assert len(_taken_over(sagas)) >= LONG_ONES
        assert max(_taken_over(sagas)) < ready_at + TAKEOVER_SECONDS
        assert {saga["status"] for saga in sagas} == {"completed"}
        load.client.prove(services, deaths=1)
