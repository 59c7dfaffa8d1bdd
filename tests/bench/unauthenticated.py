"""What those without a key cost the others: `python -m tests.bench.unauthenticated`, or `make bench-unauthenticated`.

Checkouts come at a steady pace, beside a load that nobody needs a key for. Each kind of load is measured in turns with
as many requests of /livez, which is as little as a request can cost, and told by how much it moves the checkouts'
median. Exits with 1 where one moves it by a tenth or more; with --write puts the figures at the end of docs/load.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from tests.processes import ROOT, a_checkout, an_order

PAGE = ROOT / "docs" / "load.md"
HEADING = "# Without a key"
LIMIT = 1.1
CONNECTIONS = 8
Request = Callable[[], bytes]


def _get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A load: a request that is sent again and again, or a body that is held open, `trickling` or idle."""

    name: str
    request: Request
    held: bool = False
    trickling: bool = False


def _an_upload() -> bytes:
    return b"POST /checkout HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"


LIVEZ = Kind(name="/livez", request=lambda: _get("/livez"))
CLOSED = (
    Kind(name="/readyz", request=lambda: _get("/readyz")),
    Kind(name="no key", request=lambda: _get("/sagas")),
    Kind(
        name="keys that nobody has, each another",
        request=lambda: _get(
            "/sagas", f"Authorization: Bearer ck_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
        ),
    ),
    Kind(
        name="sessions that nobody has, each another",
        request=lambda: _get("/sagas", f"Cookie: checkout_session={secrets.token_urlsafe(32)}"),
    ),
    Kind(
        name="a cookie of 28 KB",
        request=lambda: _get("/sagas", 'Cookie: checkout_session="' + "\\\\" * 14_000 + '"'),
    ),
)
OPEN = (
    Kind(name="idle uploads", request=_an_upload, held=True),
    Kind(name="slow bodies", request=_an_upload, held=True, trickling=True),
)


@dataclass(frozen=True, kw_only=True)
class Turns:
    """When it is whose turn: a slot of /livez, a slot of the load, and so on, by the machine's one monotonic clock."""

    begin: float
    slot: float
    slots: int

    @property
    def end(self) -> float:
        return self.begin + self.slot * self.slots

    def number(self, at: float) -> int:
        return int((at - self.begin) / self.slot)

    def loaded(self, at: float) -> bool:
        """Whether a moment is of the load's turn; which of the two comes first changes, too."""
        number = self.number(at)
        return number % 4 in {1, 2}


async def _repeat(port: int, kind: Kind, rate: float, turns: Turns) -> None:
    """Send requests at a share of the rate over one connection that is kept, or made anew where it was closed."""
    due = turns.begin + secrets.randbelow(1000) / 1000 / rate
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while due < turns.end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        due = max(due + 1 / rate, now - 1)
        if kind.held and turns.loaded(now):
            continue
        try:
            if kind.held:  # each upload needs a connection of its own
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write((kind if turns.loaded(now) else LIVEZ).request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            closed = b"connection: close" in head.lower()
        except (OSError, asyncio.IncompleteReadError):
            closed = True
        if closed:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def _hold(port: int, kind: Kind, rate: float, turns: Turns) -> None:
    """Begin uploads in the load's turns, and end none of them before its turn does."""
    due, number = turns.begin, 0
    held: list[asyncio.StreamWriter] = []
    while due < turns.end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        due += 1 / rate
        number += 1
        if not turns.loaded(now):
            while held:
                held.pop().close()
            continue
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(kind.request())
        held.append(writer)
        if kind.trickling:
            for one in held[number % 10 :: 10]:
                if not one.is_closing():
                    one.write(b" ")


async def _offer(port: int, kind: Kind, rate: float, turns: Turns) -> None:
    share = rate / CONNECTIONS
    loads = [_repeat(port, kind, share, turns) for _ in range(CONNECTIONS)]
    await asyncio.gather(*loads, *([_hold(port, kind, rate, turns)] if kind.held else []))


def _load(port: int, number: int, rate: float, turns: Turns) -> None:
    kind = (LIVEZ, *CLOSED, *OPEN)[number]
    asyncio.run(_offer(port, kind, rate, turns))


@contextmanager
def _loaded(port: int, kind: Kind, rate: float, turns: Turns) -> Iterator[None]:
    """Have a process of its own send the load."""
    number = (LIVEZ, *CLOSED, *OPEN).index(kind)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_load, args=(port, number, rate, turns))
    process.start()
    try:
        yield
    finally:
        process.join(20)
        process.kill()


async def _checkouts(port: int, key: str, pace: float, turns: Turns) -> list[list[float]]:
    """Check out at a steady pace; return how long each took, in milliseconds, turn by turn."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    bearer = f"Authorization: Bearer {key}\r\n" if key else ""
    took: list[list[float]] = [[] for _ in range(turns.slots + 1)]
    due = turns.begin
    while due < turns.end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        due = max(due + 1 / pace, now)
        body = json.dumps(an_order(f"ord-{uuid.uuid4()}")).encode()
        began = time.perf_counter()
        writer.write(
            f"POST /checkout HTTP/1.1\r\nHost: localhost\r\n{bearer}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 201 "):
            raise RuntimeError(f"A checkout was answered {head!r}.")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took[min(turns.number(now), turns.slots)].append((time.perf_counter() - began) * 1000)
    writer.close()
    return took[: turns.slots]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of load: the checkouts' medians in milliseconds beside /livez and beside it, and how many times as long.

    `times` is the median over each two turns that follow one another, as what else a machine does comes and goes.
    """

    name: str
    livez: float
    beside: float
    times: float


def row_of(name: str, took: list[list[float]]) -> Row:
    """Return what turns of checkouts come to: without the load, with, with, without, and so on."""
    first, second = took[0::2], took[1::2]
    pairs = [(a, b) if n % 2 == 0 else (b, a) for n, (a, b) in enumerate(zip(first, second, strict=True))]
    whole = [(livez, beside) for livez, beside in pairs if livez and beside]
    return Row(
        name=name,
        livez=median(one for livez, _ in whole for one in livez),
        beside=median(one for _, beside in whole for one in beside),
        times=median(median(beside) / median(livez) for livez, beside in whole),
    )


def _measured(given: argparse.Namespace, kinds: tuple[Kind, ...], port: int, key: str) -> list[Row]:
    rows = []
    for kind in kinds:
        # The load's process takes a moment to begin. Short turns: whatever else the machine does falls on both.
        slot = given.held_slot if kind.held else given.slot
        turns = Turns(begin=time.monotonic() + 2, slot=slot, slots=4 * round(given.seconds / slot / 4))
        with _loaded(port, kind, given.rate, turns):
            took = asyncio.run(_checkouts(port, key, given.pace, turns))
        rows.append(row_of(kind.name, took))
        print(
            f"{kind.name:40} {rows[-1].livez:6.1f} {rows[-1].beside:6.1f} ms  {rows[-1].times:.2f}",
            flush=True,
        )
    return rows


def _a_key(env: dict[str, str]) -> str:
    words = ["keys", "create", "--caller", "shop", "--who", "bench", "--everyone"]
    scopes = [word for scope in ("checkout", "read", "operate", "keys") for word in ("--scope", scope)]
    made = subprocess.run(
        [sys.executable, "-m", "app", *words, *scopes],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return next(word for word in made.stdout.split() if word.startswith("ck_"))


def measure(given: argparse.Namespace) -> list[Row]:
    """Return a row for each kind of load: on a service with keys, and uploads on one without."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, kinds, keyed in (("closed", CLOSED, True), ("open", OPEN, False)):
            env = {
                "DATABASE_URL": f"sqlite:///{folder}/{name}.db",
                "SANDBOX_DATABASE": ":memory:",
                "CHECKOUT_MAX_IN_FLIGHT": str(given.in_flight),
            }
            with a_checkout(env, Path(folder) / f"{name}.log") as server:
                key = _a_key(env) if keyed else ""
                time.sleep(6 if keyed else 0)  # until the running service has noticed its first key
                rows += _measured(given, kinds, urlsplit(server.url).port or 0, key)
    return rows


def page(given: argparse.Namespace, rows: list[Row]) -> str:
    """Return what docs/load.md says of it."""
    lines = [
        f"{HEADING}",
        "",
        'Measured by `make bench-unauthenticated ARGS="--write"`, on SQLite.',
        f"{given.pace:g} checkouts a second, beside {given.rate:g} requests a second for which nobody needs a key: the checkouts' median beside as many requests of `/livez`, and beside these, in short turns of both, {given.seconds:g} s together; `times` is the median over each two turns that follow one another.",
        f"Idle and slow uploads start as often and are held open, each on a connection of its own as `/livez` beside them, on a service with {given.in_flight} places for checkouts and no keys.",
        "A slow body sends one byte ten times a second until its turn ends. At this rate, the 100 requests are some 2,500 packets a second.",
        "",
        "| load | beside `/livez`, ms | beside it, ms | times |",
        "|---|---|---|---|",
        *(f"| {row.name} | {row.livez:.1f} | {row.beside:.1f} | {row.times:.2f} |" for row in rows),
        "",
        f"Each moves the median by less than a tenth: {'yes' if all(row.times < LIMIT for row in rows) else 'no'}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.unauthenticated", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second without a key")
    parser.add_argument("--pace", type=float, default=25.0, help="checkouts a second")
    parser.add_argument("--seconds", type=float, default=40.0, help="for each kind of load")
    parser.add_argument("--slot", type=float, default=0.5, help="seconds of a turn")
    parser.add_argument("--held-slot", type=float, default=2.5, help="seconds of a turn of uploads")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/load.md")
    given = parser.parse_args()
    rows = measure(given)
    if given.write:
        kept = PAGE.read_text().partition(HEADING)[0].rstrip("\n")
        PAGE.write_text(f"{kept}\n\n{page(given, rows)}")
    if any(row.times >= LIMIT for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
