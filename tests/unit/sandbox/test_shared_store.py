"""The sandbox's books in the memory of several workers: the same in all, whoever writes, and whoever dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from app.gateway.port import Participant
from app.sandbox import Ledger
from app.sandbox.faults import Fault, Rule
from app.sandbox.request import Request, Verb
from app.sandbox.stores.shared_store import SharedStore
from tests.processes import ROOT

CHARGE = {
    "order_id": "o",
    "customer_id": "c",
    "amount": 3998,
    "currency": "EUR",
    "payment_method": "tok_visa",
    "capture": "immediate",
}
PROGRAM = """
import asyncio, sys
from app.gateway.port import Participant
from app.sandbox import Ledger
from app.sandbox.request import Request, Verb
from tests.unit.sandbox.test_shared_store import a_request

async def main():
    ledger = Ledger(shared_by=sys.argv[1])
    sys.stdin.readline()
    made = 0
    for n in range(200):
        outcome = await ledger.handle(a_request(reference=f"r{n}"))
        made += outcome.answer.status == 201
    print(made)

asyncio.run(main())
"""


def a_request(verb: Verb = Verb.PUT, reference: str = "r", **changes: object) -> Request:
    body = {**CHARGE, **changes} if verb is Verb.PUT else None
    return Request(service=Participant.PAYMENT, verb=verb, reference=reference, body=body)


def requests() -> Iterator[tuple[Request, Rule | None]]:
    """Yield requests of every kind, some with a fault that strikes once."""
    yield a_request(), None
    yield a_request(), None
    yield a_request(amount=1), None
    yield a_request(Verb.DELETE), None
    yield a_request(), None
    yield a_request(Verb.DELETE, "never"), None
    yield a_request(reference="held", capture="deferred"), None
    yield a_request(Verb.CAPTURE, "held"), None
    yield a_request(Verb.GET, "held"), None
    for fault in Fault:
        for _ in range(2):
            yield a_request(reference=fault.value), Rule(fault=fault, times=1)
    for service in (Participant.INVENTORY, Participant.SHIPPING):
        items = [{"sku": "TSHIRT-M", "quantity": 2}]
        body = {"order_id": "o", "items": items, "address": {"country": "FR"}}
        for verb in (Verb.PUT, Verb.DELETE):
            yield (
                Request(
                    service=service, verb=verb, reference="both", body=body if verb is Verb.PUT else None
                ),
                None,
            )


async def answers_of(*ledgers: Ledger) -> list[object]:
    """Return what the requests are answered, each sent to the next of the ledgers."""
    found: list[object] = []
    for (request, rule), ledger in zip(requests(), cycle(ledgers)):
        found.append((await ledger.handle(request, ordered=rule)).answer)
    return found


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_workers_answer_as_one_would_and_have_the_same_books(workers: int, tmp_path: Path) -> None:
    """Whichever is asked: a reference is worked on once, a fault strikes as often as it should."""
    alone = Ledger()
    ledgers = [Ledger(shared_by=str(tmp_path / "books")) for _ in range(workers)]
    assert await answers_of(*ledgers) == await answers_of(alone)
    for ledger in ledgers:
        assert await ledger.states() == await alone.states()
        await ledger.aclose()


async def test_a_worker_that_starts_later_knows_what_was_done_before(tmp_path: Path) -> None:
    """It is started in the place of one that died, and continues that one's sagas."""
    first = Ledger(shared_by=str(tmp_path / "books"))
    await answers_of(first)
    later = Ledger(shared_by=str(tmp_path / "books"))
    assert await later.states() == await first.states()
    for ledger in (first, later):
        await ledger.aclose()


async def test_what_a_killed_worker_has_half_written_is_as_if_it_never_was(tmp_path: Path) -> None:
    """Nobody was told that it was done."""
    ledgers = [Ledger(shared_by=str(tmp_path / "books")) for _ in range(2)]
    await answers_of(*ledgers)
    whole = (tmp_path / "books").read_bytes()
    with (tmp_path / "books").open("ab") as books:
        books.write(whole[:9])
    await ledgers[0].handle(a_request(reference="new"))
    states = await ledgers[1].states()
    assert "new" in [state.reference for state in states]
    assert states == await ledgers[0].states()
    for ledger in ledgers:
        await ledger.aclose()


def test_a_file_that_has_grown_long_is_replaced_under_all_workers(tmp_path: Path) -> None:
    """By a shorter one, from which those that are there and those that come know the same as before."""
    path = str(tmp_path / "books")

    def a_store() -> SharedStore:
        return SharedStore(path, tuple(Participant), limit=5, most_bytes=2_000)

    stores = [a_store(), a_store()]
    for n in range(100):
        request = a_request(reference=f"r{n}")
        stores[n % 2].run(lambda store, request=request: store.make(request, {"n": 1}))  # type: ignore[misc]
        assert (tmp_path / "books").stat().st_size < 20_000
    stores.append(a_store())
    known = [[reference for _, reference, _ in store.run(lambda it: it.resources())] for store in stores]
    assert len(known[0]) == 50
    assert known[0] == known[1] == known[2]
    for store in stores:
        store.close_file()


def test_processes_that_ask_at_once_do_the_work_of_a_reference_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "books")]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    made = 0
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=120)
        made += int(out)
    assert made == 200
    assert len(asyncio.run(_states(tmp_path / "books"))) == 200


async def _states(path: Path) -> list[object]:
    ledger = Ledger(shared_by=str(path))
    try:
        return list(await ledger.states())
    finally:
        await ledger.aclose()
