"""A server of two workers on PostgreSQL under load: one of them is killed, then the other; then all are stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.chaos.recording_client import RecordingClient, saga_id_in
from tests.processes import Running, a_checkout, an_order, the_services, urls_of

CLIENTS = 12
SETTLED_SECONDS = 100.0
LEASE_SECONDS = 600.0
TAKEOVER_SECONDS = 60.0
"""For a machine that is as busy as can be; by the lease alone it would be ten times as long."""

ENV = {
    "CHECKOUT_LEASE_SECONDS": str(LEASE_SECONDS),
    "CHECKOUT_DRAIN_SECONDS": "5",
    "CHECKOUT_STEP_TIMEOUT_SECONDS": "2",
    "CHECKOUT_STEP_MAX_ATTEMPTS": "8",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.05",
    "CHECKOUT_RETRY_CAP_SECONDS": "0.5",
    "SANDBOX_REMOTE": "true",
}
SLOW = {"SANDBOX_LATENCY_SECONDS": "0.2"}
TWO_WORKERS = ("--workers", "2")


@contextmanager
def _under_load(client: RecordingClient, server: Running) -> Iterator[list[str]]:
    """Have clients order, each order until it is taken, while the block lasts; give the sagas that were taken."""
    over, taken = threading.Event(), list[str]()

    def order_on(number: int) -> None:
        turn = 0
        while not over.is_set():
            key = f"client-{number}-{turn}"
            taken.append(saga_id_in(client.placed(server, an_order(f"ord-{key}"), key)))
            turn += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        busy = [pool.submit(order_on, number) for number in range(CLIENTS)]
        try:
            yield taken
        finally:
            over.set()
        for one in busy:
            one.result()


def _until(true: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + SETTLED_SECONDS
    while not true():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)  # other processes' progress can only be looked at


def _workers(server: Running) -> set[int]:
    """Return the pids of the server's workers."""
    parent = server.process.pid
    return set(map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()))


def _starts(server: Running) -> int:
    return server.log.read_text().count("Application startup complete")


def test_the_sagas_of_a_worker_that_is_killed_are_taken_over_at_once(
    postgres_url: str, tmp_path: Path
) -> None:
    """Nothing is lost, another serves in its place, and nobody waits for a lease of ten minutes."""
    client = RecordingClient()
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": postgres_url, "TMPDIR": str(tmp_path), **urls_of(services), **ENV}
        with a_checkout(env, tmp_path / "log", options=TWO_WORKERS) as server:
            with _under_load(client, server) as taken:
                _until(lambda: _starts(server) == 2, "both workers never started")
                first = _workers(server)
                assert len(first) == 2
                killed_at = []
                for deaths, worker in enumerate(sorted(first), start=1):
                    soon = len(taken) + CLIENTS
                    _until(lambda soon=soon: len(taken) >= soon, "the load never came about")  # type: ignore[misc]
                    os.kill(worker, signal.SIGKILL)
                    killed_at.append(time.time())
                    _until(lambda deaths=deaths: _starts(server) == 2 + deaths, "no other was started")  # type: ignore[misc]
                assert not _workers(server) & first, "those that serve now are others"
                soon = len(taken) + CLIENTS
                _until(lambda: len(taken) >= soon, "they serve nobody")
            sagas = client.settled(server, taken, seconds=SETTLED_SECONDS)
        assert {saga["status"] for saga in sagas} == {"completed"}
        recovered = [
            datetime.fromisoformat(event["at"]).timestamp()
            for saga in sagas
            for event in saga["trail"]
            if event["event"] == "saga_recovered"
        ]
        assert recovered, "nothing was under way: the run proves nothing"
        assert max(recovered) < killed_at[-1] + TAKEOVER_SECONDS
        client.prove(services, deaths=2)


def test_a_signal_to_the_server_drains_all_workers(postgres_url: str, tmp_path: Path) -> None:
    """Every order that was taken is finished before they end, or soon after by the next server; the exit code is 0."""
    client = RecordingClient()
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": postgres_url, "TMPDIR": str(tmp_path), **urls_of(services), **ENV}
        with a_checkout(env, tmp_path / "before.log", options=TWO_WORKERS) as server:
            _until(lambda: _starts(server) == 2, "both workers never started")
            keys = [f"open-{number}" for number in range(CLIENTS)]
            with ThreadPoolExecutor(CLIENTS) as pool:
                asked = [pool.submit(client.post, server, an_order(f"ord-{key}"), key) for key in keys]
                _until(lambda: _under_way(client, server, keys), "the orders were never under way")
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(SETTLED_SECONDS) == 0
            answers = [one.result() for one in asked]
        assert {answer.status_code for answer in answers} <= {201, 202}
        with a_checkout(env, tmp_path / "after.log", options=TWO_WORKERS) as server:
            sagas = client.settled(server, map(saga_id_in, answers), seconds=SETTLED_SECONDS)
        assert {saga["status"] for saga in sagas} == {"completed"}
        client.prove(services, deaths=1)


def _under_way(client: RecordingClient, server: Running, keys: list[str]) -> bool:
    """Whether every order is stored, so that its request is open."""
    return all(client.found(server, f"/sagas?order_id=ord-{key}")["data"] for key in keys)
