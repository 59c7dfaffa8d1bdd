"""The sandbox's memory: what was answered is kept, whatever happens to the process."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sqlite3
import subprocess
import sys
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.gateway.port import Participant
from app.sandbox import Ledger, Sandbox
from app.sandbox.faults import Fault, Rule
from app.sandbox.request import Request, Verb

CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}


def a_request(verb: Verb = Verb.PUT, reference: str = "r", **changes: Any) -> Request:
    body = {**CHARGE, **changes} if verb is Verb.PUT else None
    return Request(
        service=Participant.PAYMENT,
        verb=verb,
        reference=reference,
        idempotency_key=f"{reference}:key",
        body=body,
    )


CHILD = """
import asyncio, json, sys
from app.gateway.port import Participant
from app.sandbox.ledger import Ledger
from app.sandbox.faults import Fault, Rule
from app.sandbox.request import Request, Verb

async def main():
    ledger = Ledger(sys.argv[1])
    body = json.loads(sys.argv[2])
    def a_request(reference, verb=Verb.PUT):
        return Request(service=Participant.PAYMENT, verb=verb, reference=reference, body=body if verb is Verb.PUT else None)
    rule = Rule(fault=Fault.UNAVAILABLE, times=2)
    await ledger.handle(a_request("faulty"), ordered=rule)
    await ledger.handle(a_request("closed"))
    await ledger.handle(a_request("closed", Verb.DELETE))
    number = 0
    while True:
        await ledger.handle(a_request(f"n{number}"))
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "payment.db"
    child = subprocess.Popen(  # noqa: ASYNC220 (nothing else runs on this loop)
        [sys.executable, "-c", CHILD, str(path), json.dumps(CHARGE)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        answered = [int(child.stdout.readline()) for _ in range(20)]
        child.send_signal(signal.SIGKILL)
        answered += [int(line) for line in child.stdout.read().split()]
    child.wait()

    ledger = Ledger(str(path))
    try:
        states = {s.reference: s for s in await ledger.states()}
        assert all(states[f"n{number}"].effect == {"EUR": 3998} for number in answered)
        assert states["closed"].closed
        late = await ledger.handle(a_request(reference="closed"))
        assert late.answer is not None
        assert late.answer.status == 410
        # A fault that was to fire twice has done so once before the death.
        rule = Rule(fault=Fault.UNAVAILABLE, times=2)
        fired = [(await ledger.handle(a_request(reference="faulty"), ordered=rule)).fault for _ in range(2)]
        assert fired == [Fault.UNAVAILABLE, None]
    finally:
        await ledger.aclose()


async def test_every_movement_of_money_sums_to_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "payment.db")
    ledger = Ledger(path)
    await ledger.handle(a_request())
    await ledger.handle(a_request(Verb.DELETE))
    await ledger.handle(a_request(reference="held", capture="deferred"))
    await ledger.handle(a_request(Verb.CAPTURE, "held"))
    await ledger.handle(a_request(reference="void", capture="deferred"))
    await ledger.handle(a_request(Verb.DELETE, "void"))
    await ledger.aclose()
    with closing(sqlite3.connect(path)) as db:
        moved = db.execute(
            "SELECT reference, movement, sum(amount), count(*) FROM account_entry GROUP BY 1, 2 ORDER BY min(seq)"
        ).fetchall()
        accounts = dict(db.execute("SELECT account, sum(amount) FROM account_entry GROUP BY 1"))
    assert moved == [
        ("r", "charge", 0, 2),
        ("r", "refund", 0, 2),
        ("held", "authorize", 0, 2),
        ("held", "capture", 0, 2),
        ("void", "authorize", 0, 2),
        ("void", "void", 0, 2),
    ]
    assert accounts == {"customer:c": -3998, "merchant": 3998, "held": 0}


async def test_what_breaks_within_a_request_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger()

    def break_down(_notes: object, phase: str, *_: object, **__: object) -> None:
        if phase == "applied":  # the books have been written by then
            raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr("app.sandbox.records.Notes.add", break_down)
        with pytest.raises(sqlite3.OperationalError):
            await ledger.handle(a_request())
    assert await ledger.states() == []
    assert await ledger.records() == []
    await ledger.handle(a_request())
    assert len(await ledger.states()) == 1


async def test_records_are_read_from_behind_a_number() -> None:
    ledger = Ledger()
    await ledger.handle(a_request())
    records = await ledger.records()
    assert [record.seq for record in records] == [1, 2, 3]
    assert await ledger.records(after=2) == records[2:]


async def test_books_of_before_records_had_a_time_are_kept(tmp_path: Path) -> None:
    """A sandbox.db of an older version is still read."""
    path = str(tmp_path / "books.db")
    ledger = Ledger(path)
    await ledger.handle(a_request())
    await ledger.aclose()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE record DROP COLUMN at")
    ledger = Ledger(path)
    await ledger.handle(a_request(reference="s"))
    records = await ledger.records()
    await ledger.aclose()
    assert [(record.reference, record.at > 0) for record in records[::3]] == [("r", False), ("s", True)]


async def test_processes_share_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "shared.db")
    ledgers = [Ledger(path), Ledger(path)]
    answers = await asyncio.gather(*(ledger.handle(a_request()) for ledger in ledgers * 10))
    statuses = sorted(outcome.answer.status for outcome in answers if outcome.answer)
    assert statuses == [200] * 19 + [201]
    for ledger in ledgers:
        await ledger.aclose()


async def test_a_ledger_that_is_dropped_leaves_nothing_open() -> None:
    ledger = Ledger()
    await ledger.handle(a_request())
    database = ledger._db
    gone = weakref.ref(ledger)
    # One more task for its thread, so that the thread has let go of the ledger: else it might be the
    # thread that drops it last, and closes the connection while it is looked at here.
    await asyncio.get_running_loop().run_in_executor(ledger._worker, int)
    del ledger
    gc.collect()
    assert gone() is None
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


async def test_a_ledger_can_be_closed_twice() -> None:
    ledger = Ledger()
    await ledger.aclose()
    await ledger.aclose()


async def test_latency_is_time_that_somebody_else_lets_pass() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    sandbox = Sandbox(latency_seconds=0.5, sleep=sleep)
    await sandbox.handle(a_request())
    assert slept == [0.5]
    await sandbox.aclose()


async def test_a_sandbox_that_closes_drops_what_is_late() -> None:
    sandbox = Sandbox(late_seconds=3600)
    await sandbox.handle(a_request(), simulate="payment.execute=late_effect")
    await sandbox.aclose()


async def test_random_trouble_is_the_same_for_the_same_seed() -> None:
    async def run() -> list[int | None]:
        sandbox = Sandbox(failure_rate=0.5, seed=7, late_seconds=0)
        answers = [await sandbox.handle(a_request(reference=f"r{n}")) for n in range(30)]
        await sandbox.settled()
        await sandbox.aclose()
        return [answer.status if answer else None for answer in answers]

    first = await run()
    assert first == await run()
    assert {201, 402, 503, None} <= set(first)
