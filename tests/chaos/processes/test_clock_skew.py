"""Replicas whose wall clocks differ by two hours: the database's clock is the one that counts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.recording_client import RecordingClient, saga_id_in, words_of
from tests.processes import Running, a_checkout, an_order, the_services, together, urls_of

HOUR = 3600
LEASE_SECONDS = 3.0
DEADLINE_SECONDS = 9.0
NEAR_SECONDS = 10.0
"""How far apart "now" may be for two processes of a busy machine; far below an hour."""
SETTLED_SECONDS = 60.0
ENV = {
    "CHECKOUT_LEASE_SECONDS": str(LEASE_SECONDS),
    "CHECKOUT_RECOVERY_POLL_SECONDS": "0.2",
    "CHECKOUT_DEADLINE_SECONDS": str(DEADLINE_SECONDS),
    "CHECKOUT_STEP_MAX_ATTEMPTS": "1000",
    "CHECKOUT_RETRY_BASE_SECONDS": "0.5",
    "CHECKOUT_RETRY_CAP_SECONDS": "1",
    "CHECKOUT_PARK_AFTER_SECONDS": "0.1",  # so that a pause ends where the database says, at either replica
    "CHECKOUT_LOG_LEVEL": "warning",
    "SANDBOX_REMOTE": "true",
}
SLOW = {"SANDBOX_LATENCY_SECONDS": "0.1"}
PAUSES = {"X-Simulate": "shipping.execute=unavailable:2"}
NEVER = {"X-Simulate": "shipping.execute=unavailable:1000"}


def _at(time_stamp: str) -> float:
    return datetime.fromisoformat(time_stamp).timestamp()


class _Orders:
    """Places orders at two replicas in turn, each before the next."""

    def __init__(self, client: RecordingClient) -> None:
        self.placed: list[str] = []
        self._client = client

    def place(
        self, replicas: Sequence[Running], count: int, headers: Mapping[str, str] | None = None
    ) -> list[str]:
        """Return the ids of that many new sagas, each started at the time that its trail shows."""
        ids = []
        for replica in itertools.islice(itertools.cycle(replicas), count):
            number, sent = len(self.placed), time.time()
            answer = self._client.placed(
                replica,
                an_order(f"ord-{number}"),
                f"key-{number}",
                {"Prefer": "respond-async", **(headers or {})},
            )
            assert answer.status_code == 202, answer.text
            began = _at(answer.json()["created_at"])
            assert sent - NEAR_SECONDS < began < time.time() + NEAR_SECONDS
            ids.append(saga_id_in(answer))
            self.placed.append(ids[-1])
        return ids


def _taken_over(sagas: Sequence[Mapping[str, Any]]) -> list[float]:
    return [
        _at(event["at"]) for saga in sagas for event in saga["trail"] if event["event"] == "saga_recovered"
    ]


def _waits(saga: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Return, for each pause that a saga took to its end, when that was due and when the next answer came."""
    for event, following in itertools.pairwise(saga["trail"]):
        if "next_action_at" in event and following["event"] in {"step_retried", "step_succeeded"}:
            yield _at(event["next_action_at"]), _at(following["at"])


def test_an_hour_ahead_and_an_hour_behind(postgres_url: str, tmp_path: Path) -> None:
    """No saga changes hands but for a death; pauses, deadlines and takeovers come when they are due."""
    client = RecordingClient()
    with the_services(tmp_path, SLOW) as services:
        env = {"DATABASE_URL": postgres_url, **urls_of(services), **ENV}
        with together(
            *(
                a_checkout(
                    {**env, "WALL_CLOCK_OFFSET_SECONDS": str(offset)},
                    tmp_path / f"{offset}.log",
                    app="tests.chaos.apps.skewed_app:app",
                )
                for offset in (HOUR, -HOUR)
            )
        ) as replicas:
            ahead, behind = replicas
            began_at = time.time()
            orders = _Orders(client)
            hopeless = orders.place(replicas, 4, NEVER)
            plain = orders.place(replicas, 12) + orders.place(replicas, 6, PAUSES)
            listed = client.found(behind, "/sagas?limit=50")["data"]
            sagas = client.settled(behind, plain, seconds=SETTLED_SECONDS)
            # What can't end yet is waited for in vain, while both replicas renew their leases.
            long = client.found(ahead, f"/sagas/{hopeless[1]}", {"Prefer": f"wait={LEASE_SECONDS:.0f}"})
            assert long["status"] == "running"
            assert _at(long["next_action_at"]) < time.time() + LEASE_SECONDS + NEAR_SECONDS
            assert not _taken_over([*sagas, long]), "taken over, though nobody died"

            last = orders.place(replicas, 10)
            ahead.kill()
            killed_at = time.time()
            sagas += client.settled(behind, last, seconds=SETTLED_SECONDS)
            assert {saga["status"] for saga in sagas} == {"completed"}
            given_up = client.settled(behind, hopeless, seconds=SETTLED_SECONDS)

        assert {saga["id"] for saga in listed} == {*hopeless, *plain}
        for newer, older in itertools.pairwise(_at(saga["created_at"]) for saga in listed):
            assert newer > older - NEAR_SECONDS, "the list is newest first"
        taken_over = _taken_over(sagas + given_up)
        assert len(taken_over) >= 2, "with nothing to take over the run proves nothing"
        assert killed_at - NEAR_SECONDS < min(taken_over)
        assert max(taken_over) < killed_at + 2 * LEASE_SECONDS + NEAR_SECONDS
        for saga in given_up:
            assert saga["failure"]["code"] == "deadline_exceeded"
            over = [_at(e["at"]) for e in saga["trail"] if e["event"] in {"step_failed", "step_unknown"}]
            late = over[0] - _at(saga["created_at"]) - DEADLINE_SECONDS
            assert -0.001 <= late < 2 * LEASE_SECONDS + NEAR_SECONDS, f"the deadline came {late:.1f} s late"
        waits = [wait for saga in sagas + given_up for wait in _waits(saga)]
        assert len(waits) > 20
        for until, went_on in waits:
            assert -0.001 <= went_on - until < 2 * LEASE_SECONDS + NEAR_SECONDS
        for saga in sagas + given_up:
            times = [_at(event["at"]) for event in saga["trail"]]
            assert began_at - NEAR_SECONDS < times[0]
            assert times == sorted(times)
            assert times[-1] < time.time() + NEAR_SECONDS
        assert any("step_retried" in words_of(saga) for saga in sagas)
        client.prove(services, deaths=1)
