"""Checkouts sent when they are due, whether or not earlier ones were answered: `python -m tests.bench.open_loop`.

With `--rate` the sends are a Poisson process, and a latency counts from when its order was due: a server that
stalls can't hide that by holding the client up (no coordinated omission). With `--clients` each client waits for
its answer (a closed loop), and sends what was refused again: at once, or with `--patient` after Retry-After. Prints
one JSON object, `FeedItem`.

It shares the cores with what it measures, so it speaks HTTP/1.1 itself: about 50 µs an order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict, cast
from urllib.parse import urlsplit

import uvloop

from tests.processes import an_order

SLOW = "slow-"
"""How the id of an order begins that meets the slow service."""

MOST_CONNECTIONS = 4_000
IDLE_SECONDS = 3.0
"""Shorter than a server keeps a connection that nobody uses: none is closed under a request."""

UNDER_WAY_SHARE = 0.2
"""Of a phase, in which as much is taken on as is in flight for the rest of it, and answers are not yet counted."""

LAST_ANSWER_SECONDS = 40.0
"""How long after the last send answers are waited for."""


class Quantiles(TypedDict):
    """Of latencies, in ms."""

    count: int
    p50: float
    p99: float


class FeedItem(TypedDict):
    """What one phase saw. `answers` are by status, and by code where there is one."""

    sent: int
    seconds: float
    goodput: float  # 201 a second, once it is under way and until its end
    answers: dict[str, int]
    failed: dict[str, int]  # connections that broke, and what was never answered
    without_retry_after: int
    took: dict[str, Quantiles]  # accepted, slow (accepted, of the slow orders), refused
    late_p99: float  # ms that an order was sent after it was due: the generator's own delay
    cpu: float  # seconds of the generator's own
    accepted: dict[str, str]  # order to saga
    refused: list[str]  # orders that a 503 said no saga was made of, and that were not sent again


RETRY_AFTER_SECONDS = 1.0
"""What a refusal's Retry-After says."""

NEVER_TAKEN = frozenset({"over_capacity", "shutting_down"})
"""The refusals that promise that there is no saga."""


@dataclass(slots=True)
class Order:
    """One order on its way."""

    id: str
    due: float
    done: Callable[[Order, bool], None] | None = None
    """Called with the order, and whether it may be sent again."""


class Connection(asyncio.Protocol):
    """One connection, with one order on it at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._order: Order | None = None
        self._received = b""
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it

    def send(self, order: Order, request: bytes) -> None:
        """Send an order on a connection that has none."""
        assert self._transport is not None
        self._order = order
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0 or self._order is None:
            return
        head = received[:end].lower()
        length = head.index(b"content-length:") + 15
        size = int(head[length : head.find(b"\r", length) if b"\r" in head[length:] else end])
        if len(received) < end + 4 + size:
            return
        order, self._order, self._received = self._order, None, b""
        self._load.answered(order, int(head[9:12]), b"\r\nretry-after:" in head, received[end + 4 :])
        if b"connection: close" in head:
            self.close()
        else:
            self._load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._load.gone(self)
        if (order := self._order) is not None:
            self._order = None
            self._load.failed(order, type(error).__name__ if error else "closed")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


@dataclass(kw_only=True)
class Load:
    """Sends orders and keeps what came of them."""

    host: str
    port: int
    prefix: str
    slow_share: float
    sent: int = 0
    counted_from: float = 0.0
    until: float = 0.0
    in_time: int = 0
    without_retry_after: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(
        default_factory=lambda: {"accepted": [], "slow": [], "refused": [], "late": []}
    )
    accepted: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    _idle: list[Connection] = field(default_factory=list)
    _waiting: deque[Order] = field(default_factory=deque)
    _dialling: set[asyncio.Task[None]] = field(default_factory=set)
    _connections: int = 0
    _outstanding: int = 0
    _all_answered: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._random = random.Random(self.prefix)
        body = json.dumps(an_order("@@"), separators=(",", ":"))
        self._head, self._middle, self._tail = (
            (
                f"POST /checkout HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
                "Content-Type: application/json\r\nContent-Length: {}\r\nIdempotency-Key: "
            ),
            *f"\r\n\r\n{body}".split("@@"),
        )
        self._fixed = len(body) - 2

    async def open(self, connections: int) -> None:
        """Open connections beforehand, as a proxy has them that keeps them."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
            self._connections += 1
            self.free(connection)
            connection.idle_since = math.inf  # a server's patience counts from the first answer

    async def offer(self, rate: float, seconds: float) -> None:
        """Send so many orders a second, whatever comes back."""
        due = self._begin(seconds)
        while due < self.until:
            now = time.perf_counter()
            while due <= now and due < self.until:
                self._send(Order(self._new_id(), due))
                due += self._random.expovariate(rate)
            await asyncio.sleep(max(0.001, due - now))
        await self._last_answers()

    async def keep_asking(self, clients: int, seconds: float, *, patient: bool) -> None:
        """Have so many clients send again as soon as they are answered; what was refused, once they may."""
        self._begin(seconds)
        loop = asyncio.get_running_loop()

        def send(order_id: str) -> None:
            if (now := time.perf_counter()) < self.until:
                self._send(Order(order_id, now, answered))

        def answered(order: Order, refused: bool) -> None:
            if refused and patient:
                loop.call_later(RETRY_AFTER_SECONDS, send, order.id)
            else:
                send(order.id if refused else self._new_id())

        for _ in range(clients):
            send(self._new_id())
        await asyncio.sleep(seconds)
        await self._last_answers()

    def answered(self, order: Order, status: int, retry_after: bool, body: bytes) -> None:
        """Take down an answer."""
        now = time.perf_counter()
        told = json.loads(body)
        if status == 201:
            self.answers["201"] += 1
            self.in_time += self.counted_from <= now <= self.until
            self.accepted[order.id] = told["id"]
            self.refused.discard(order.id)
            self.took["slow" if order.id.startswith(SLOW) else "accepted"].append(now - order.due)
        else:
            code = told.get("code", "")
            self.answers[f"{status} {code}".strip()] += 1
            if status == 503:
                self.without_retry_after += not retry_after
                self.took["refused"].append(now - order.due)
            if code in NEVER_TAKEN:
                self.refused.add(order.id)
        self._over(order, refused=status == 503)

    def failed(self, order: Order, why: str) -> None:
        """Take down that an order's connection broke: what came of it is not known."""
        self.failures[why] += 1
        self._over(order, refused=False)

    def free(self, connection: Connection) -> None:
        """Have a connection for the next order."""
        if self._waiting:
            self._write(connection, self._waiting.popleft())
            return
        connection.idle_since = time.perf_counter()
        self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    def _over(self, order: Order, *, refused: bool) -> None:
        self._outstanding -= 1
        if order.done is not None:
            order.done(order, refused)
        if not self._outstanding and time.perf_counter() >= self.until:
            self._all_answered.set()

    def _begin(self, seconds: float) -> float:
        now = time.perf_counter()
        self.counted_from, self.until = now + seconds * UNDER_WAY_SHARE, now + seconds
        return now

    def _new_id(self) -> str:
        self.sent += 1
        slow = self.slow_share and self._random.random() < self.slow_share
        return f"{SLOW if slow else ''}{self.prefix}-{self.sent}"

    def _send(self, order: Order) -> None:
        self._outstanding += 1
        while self._idle:
            connection = self._idle.pop()
            if time.perf_counter() - connection.idle_since < IDLE_SECONDS:
                self._write(connection, order)
                return
            connection.close()
        if self._connections < MOST_CONNECTIONS:
            self._connections += 1
            task = asyncio.get_running_loop().create_task(self._dial(order))
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)
        else:
            self._waiting.append(order)

    async def _dial(self, order: Order) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
        except OSError as error:
            self._connections -= 1
            self.failed(order, type(error).__name__)
        else:
            self._write(connection, order)

    def _write(self, connection: Connection, order: Order) -> None:
        self.took["late"].append(time.perf_counter() - order.due)
        head = self._head.format(self._fixed + len(order.id))
        connection.send(order, f"{head}{order.id}{self._middle}{order.id}{self._tail}".encode())

    async def _last_answers(self) -> None:
        if self._outstanding:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_ANSWER_SECONDS):
                    await self._all_answered.wait()
        if self._outstanding:
            self.failures["never answered"] += self._outstanding

    def told(self, seconds: float) -> FeedItem:
        """Return what the phase saw."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "sent": self.sent,
            "seconds": seconds,
            "goodput": self.in_time / (self.until - self.counted_from),
            "answers": dict(self.answers),
            "failed": dict(self.failures),
            "without_retry_after": self.without_retry_after,
            "took": {name: quantiles(self.took[name]) for name in ("accepted", "slow", "refused")},
            "late_p99": quantiles(self.took["late"])["p99"],
            "cpu": used.ru_utime + used.ru_stime,
            "accepted": self.accepted,
            "refused": sorted(self.refused),
        }


def quantiles(seconds: list[float]) -> Quantiles:
    """Return the quantiles of latencies; zeros where there are none."""
    if not seconds:
        return {"count": 0, "p50": 0.0, "p99": 0.0}
    ordered = sorted(seconds)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.99))
    return {"count": len(ordered), "p50": p50, "p99": p99}


async def main() -> None:
    """Send, wait for the last answer, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rate", type=float, help="orders a second, sent when they are due")
    how.add_argument("--clients", type=int, help="clients that wait for their answers")
    parser.add_argument("--prefix", required=True, help="of the orders' ids, another for each run")
    parser.add_argument("--slow-share", type=float, default=0.0, help="of the orders, for the slow service")
    parser.add_argument("--open", type=int, default=0, help="connections that are open beforehand")
    parser.add_argument(
        "--patient", action="store_true", help="clients send what was refused after Retry-After, not at once"
    )
    given = parser.parse_args()
    address = urlsplit(given.url)
    load = Load(
        host=address.hostname or "",
        port=address.port or 80,
        prefix=given.prefix,
        slow_share=given.slow_share,
    )
    await load.open(given.open)
    if given.clients:
        await load.keep_asking(given.clients, given.seconds, patient=given.patient)
    else:
        await load.offer(given.rate, given.seconds)
    sys.stdout.write(json.dumps(load.told(given.seconds)) + "\n")


if __name__ == "__main__":
    uvloop.run(main())
