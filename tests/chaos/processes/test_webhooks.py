"""Webhooks over kills: nothing is lost, each saga's events come in order, and a duplicate has the same id."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.chaos.apps.webhook_receiver import SECRET
from tests.chaos.recording_client import RecordingClient
from tests.processes import a_checkout, an_order, free_port, running

ORDERS = 60
KILLS = 3
SETTLED_SECONDS = 120.0

FIRST_EVENTS = """
CREATE FUNCTION first_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO outbox (saga_id, seq, type, caller, at)
  VALUES (NEW.id, 1, 'checkout.needs_attention', NEW.caller, NEW.created_at);
  RETURN NEW;
END $$;
CREATE TRIGGER first_event AFTER INSERT ON saga FOR EACH ROW EXECUTE FUNCTION first_event();
"""
LEFT = "SELECT count(*) FROM webhook_delivery WHERE status <> 'delivered'"
DELIVERED = "SELECT count(*) FROM webhook_delivery WHERE status = 'delivered'"


def _asked(url: str, sql: str) -> int:
    async def ask() -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(sql) or 0)
        finally:
            await connection.close()

    return asyncio.run(ask())


async def _add_first_events(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FIRST_EVENTS)
    finally:
        await connection.close()


def _arrivals(path: Path) -> list[dict[str, str | int]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_no_event_is_lost_or_out_of_its_sagas_order(
    postgres_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two replicas, a receiver that fails a quarter of the time, and replicas killed while they deliver.

    Only an operator makes a saga end twice; so that each saga has two events, a trigger in the database
    puts a first one into the outbox when the saga starts.
    """
    port, arrivals = free_port(), tmp_path / "arrivals.jsonl"
    endpoint = {"name": "shop", "url": f"http://127.0.0.1:{port}/hooks", "secret": SECRET}
    env = {
        "DATABASE_URL": postgres_url,
        "SANDBOX_DATABASE": ":memory:",
        "CHECKOUT_LEASE_SECONDS": "1",
        "CHECKOUT_WEBHOOKS": json.dumps([endpoint]),
        "CHECKOUT_WEBHOOKS_ALLOW_PRIVATE": "true",
        "CHECKOUT_WEBHOOK_TIMEOUT_SECONDS": "2",
        "CHECKOUT_WEBHOOK_POLL_SECONDS": "0.05",
        "CHECKOUT_WEBHOOK_RETRY_DELAYS": ",".join(["0.2"] * 40),
    }
    command = [sys.executable, "-m", "tests.chaos.apps.webhook_receiver", str(port), str(arrivals)]
    asyncio.run(_add_first_events(postgres_url))
    client, began, kills = RecordingClient(), time.monotonic(), 0
    with ExitStack() as stack:
        stack.enter_context(running(command, port=port, env={}, log=tmp_path / "receiver.log", ready="/"))
        replicas = [stack.enter_context(a_checkout(env, tmp_path / f"{n}.log")) for n in "ab"]
        for number in range(ORDERS):
            body = an_order(f"ord-{number}", payment_method="tok_declined" if number % 4 == 0 else "tok_visa")
            answer = client.placed(replicas[1], body, f"key-{number}")
            assert answer.status_code in {201, 402}, answer.text
            if number % (ORDERS // KILLS) == ORDERS // KILLS - 1:
                seen = len(_arrivals(arrivals))
                give_up = time.monotonic() + 30
                while len(_arrivals(arrivals)) == seen and time.monotonic() < give_up:
                    time.sleep(0.002)  # another process's delivery can only be looked for
                replicas[0].kill()
                kills += 1
                replicas[0] = stack.enter_context(a_checkout(env, tmp_path / f"a{number}.log"))
        give_up = time.monotonic() + SETTLED_SECONDS
        events = _asked(postgres_url, "SELECT count(*) FROM outbox")
        while (_asked(postgres_url, DELIVERED), _asked(postgres_url, LEFT)) != (events, 0):
            assert time.monotonic() < give_up, "not everything was delivered"
            time.sleep(0.1)  # another process's work can only be looked for

    arrived = _arrivals(arrivals)
    taken = [str(one["id"]) for one in arrived if one["status"] == 204]
    first_taken: dict[str, int] = {}
    for number, one in enumerate(arrived):
        if one["status"] == 204:
            first_taken.setdefault(str(one["id"]), number)
    out_of_order = []
    for number, one in enumerate(arrived):
        saga, _, seq = str(one["id"]).rpartition("_")
        if seq != "1" and number < first_taken[f"{saga}_1"]:
            out_of_order.append(one)
    with capsys.disabled():
        print(  # noqa: T201 (figures)
            f"\nwebhooks: {events} events, {len(arrived)} arrivals, "
            f"{len(taken) - len(set(taken))} taken twice, {kills} kills, "
            f"{Counter(str(one['status']) for one in arrived)}, {time.monotonic() - began:.0f} s"
        )
    assert (len(set(taken)), events) == (2 * ORDERS, 2 * ORDERS)
    assert not out_of_order
