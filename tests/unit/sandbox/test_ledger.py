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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.gateway.port import Participant
from app.sandbox import Ledger, Sandbox
from app.sandbox.faults import Fault, Rule
from app.sandbox.request import Request, Verb
from app.sandbox.stores.sqlite_store import SqliteStore

CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}


DATABASES = [":memory:", "books.db"]


def a_ledger(database: str, folder: Path) -> Ledger:
    return Ledger(database if database == ":memory:" else str(folder / database))


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


@pytest.mark.parametrize("database", DATABASES)
async def test_what_breaks_within_a_request_leaves_nothing_of_it(database: str, tmp_path: Path) -> None:
    ledger = a_ledger(database, tmp_path)
    with pytest.raises((TypeError, ValueError)):
        await ledger.handle(a_request(metadata={"not JSON": object()}))
    assert await ledger.states() == []
    assert await ledger.records() == []
    await ledger.handle(a_request())
    assert len(await ledger.states()) == 1
    await ledger.aclose()


async def test_a_request_that_breaks_takes_none_of_its_transaction_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(str(tmp_path / "books.db"))
    make, begun = SqliteStore.make, []

    def break_down(store: SqliteStore, request: Request, document: Any) -> None:
        make(store, request, document)
        if request.reference == "r3":  # the books have been written by then
            raise sqlite3.OperationalError("disk I/O error")

    @contextmanager
    def transaction(store: SqliteStore) -> Iterator[None]:
        begun.append(store)
        with whole(store):
            yield

    whole = SqliteStore.transaction
    monkeypatch.setattr(SqliteStore, "make", break_down)
    monkeypatch.setattr(SqliteStore, "transaction", transaction)
    found = await asyncio.gather(
        *(ledger.handle(a_request(reference=f"r{n}")) for n in range(6)), return_exceptions=True
    )
    assert [isinstance(one, sqlite3.OperationalError) for one in found] == [n == 3 for n in range(6)]
    assert [state.reference for state in await ledger.states()] == ["r0", "r1", "r2", "r4", "r5"]
    assert [record.phase for record in await ledger.records()] == ["arrived", "applied", "replied"] * 5
    await ledger.aclose()


async def test_requests_that_come_together_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []
    whole = SqliteStore.transaction

    @contextmanager
    def transaction(store: SqliteStore) -> Iterator[None]:
        begun.append(store)
        with whole(store):
            yield

    monkeypatch.setattr(SqliteStore, "transaction", transaction)
    ledger = Ledger(str(tmp_path / "books.db"))
    await asyncio.gather(*(ledger.handle(a_request(reference=f"r{n}")) for n in range(50)))
    assert len(begun) == 1
    assert len(await ledger.states()) == 50
    await ledger.aclose()


async def test_what_was_asked_before_a_close_is_carried_out(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "books.db"))
    asked = [asyncio.create_task(ledger.handle(a_request(reference=f"r{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    asked[7].cancel()  # its caller hangs up
    await ledger.aclose()
    await asyncio.gather(*asked, return_exceptions=True)
    ledger = Ledger(str(tmp_path / "books.db"))
    assert len(await ledger.states()) == 20
    await ledger.aclose()


async def test_memory_and_a_file_keep_the_same_books(tmp_path: Path) -> None:
    ledgers = [a_ledger(database, tmp_path) for database in DATABASES]
    for ledger in ledgers:
        for request in (
            a_request(),
            a_request(),
            a_request(amount=1),
            a_request(payment_method="tok_declined", reference="declined"),
            a_request(Verb.DELETE),
            a_request(Verb.DELETE, "never"),
            a_request(reference="held", capture="deferred"),
            a_request(Verb.CAPTURE, "held"),
            a_request(Verb.GET, "held"),
        ):
            await ledger.handle(request)
        for fault in Fault:
            await ledger.handle(a_request(reference=fault), ordered=Rule(fault=fault, times=1))
            await ledger.handle(a_request(reference=fault), ordered=Rule(fault=fault, times=1))
        await ledger.apply_late(a_request(reference="late"))
        await ledger.apply_late(a_request(reference="late"))
    in_memory, in_file = [await ledger.states() for ledger in ledgers]
    assert in_memory == in_file
    memory, file = [[replace(record, at=0) for record in await ledger.records()] for ledger in ledgers]
    assert memory == file
    for ledger in ledgers:
        await ledger.aclose()


async def test_memory_forgets_the_oldest_of_what_is_settled_and_nothing_that_is_under_way() -> None:
    ledger = Ledger(services=[Participant.PAYMENT, Participant.SHIPPING], remembered_sagas=3)
    for n in range(4):
        await ledger.handle(a_request(reference=f"under-way-{n}"))
    for n in range(5):
        await ledger.handle(a_request(reference=f"closed-{n}"))
        await ledger.handle(a_request(Verb.DELETE, f"closed-{n}"))
    kept = [state.reference for state in await ledger.states()]
    assert kept == [*(f"closed-{n}" for n in (2, 3, 4)), *(f"under-way-{n}" for n in range(4))]

    async def put(reference: str) -> int | None:
        outcome = await ledger.handle(a_request(reference=reference))
        return outcome.answer.status if outcome.answer else None

    assert [await put(reference) for reference in kept] == [410] * 3 + [200] * 4
    assert await put("closed-0") == 201  # as at a service that has just been started


async def test_memory_is_bounded_whatever_is_asked() -> None:
    ledger = Ledger(remembered_sagas=3)
    for n in range(200):
        rule = Rule(fault=Fault.UNAVAILABLE, times=1)
        await ledger.handle(a_request(reference=f"r{n}"), ordered=rule)
        await ledger.handle(a_request(reference=f"r{n}"))
    assert len(await ledger.states()) == 30
    records = await ledger.records()
    assert len(records) < 50
    assert records[-1].seq == 200 * 5
    assert [record.seq for record in records] == list(range(records[0].seq, 1001))


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


async def test_a_ledger_that_is_dropped_leaves_nothing_open(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "books.db"))
    await ledger.handle(a_request())
    assert ledger._file is not None
    database, thread = ledger._file._store._db, ledger._file._thread
    gone = weakref.ref(ledger)
    # One more task for its thread, so that the thread has let go of the ledger: else it might be the
    # thread that drops it last, and closes the connection while it is looked at here.
    await asyncio.get_running_loop().run_in_executor(thread, int)
    del ledger
    gc.collect()
    assert gone() is None
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


@pytest.mark.parametrize("database", DATABASES)
async def test_a_ledger_can_be_closed_twice(database: str, tmp_path: Path) -> None:
    ledger = a_ledger(database, tmp_path)
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
