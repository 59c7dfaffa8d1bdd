"""Changes that other processes make, heard with PostgreSQL's LISTEN on one reserved connection of this process.

    journal ── batch is durable ──▶ events_stored ── at most every 50 ms ──▶ NOTIFY on the reserved connection
    operate, request_cancel, release ── NOTIFY in their own transaction

Never in the journal's transaction: one that notifies holds a lock of the whole server cluster through its commit, so
that the replicas' commits would be flushed one after another (`PreCommit_Notify` in PostgreSQL's async.c). A NOTIFY
alone writes nothing, and waits for no flush. If this process dies between the two, polling finds the change.

Behind a pooler that gives each transaction another connection, LISTEN hears nothing: only polling is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable

import asyncpg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.background.background_loop import BackgroundLoop
from app.saga.background.outage_reporter import OutageReporter
from app.saga.ports.changes import Change, ChangeKind
from app.storage.engine.changes import LocalChanges
from app.storage.engine.postgres_session import NoCancelConnection
from app.storage.engine.translation import translated

_logger = logging.getLogger(__name__)

CHANNEL = "checkout_changes"
HEARTBEAT_SECONDS = 10.0
"""How often an idle connection is tried, as one that broke silently would report nothing for ever."""

RETRY_SECONDS = 1.0
POOLED_RETRY_SECONDS = 3600.0
CLOSE_SECONDS = 1.0
MAX_IDS = 200
"""PostgreSQL takes less than 8,000 bytes in a notification; more sagas than this are any."""

_NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"


class ChangeListener(LocalChanges):
    """A `ChangeSource` over PostgreSQL. `connect` returns a connection of its own, to the primary."""

    def __init__(self, connect: Callable[[], Awaitable[NoCancelConnection]]) -> None:
        super().__init__()
        self._connect = connect
        self._origin = secrets.token_hex(4)
        self._link: NoCancelConnection | None = None
        self._loop: BackgroundLoop | None = None
        self._unsent: list[str] = []

    @property
    def live(self) -> bool:
        return self._link is not None and not self._link.is_closed()

    async def announce(self, connection: AsyncConnection, kind: ChangeKind) -> None:
        payload = encode_change(self._origin, Change(kind=kind))
        await connection.execute(select(func.pg_notify(CHANNEL, payload)))

    @property
    def _heard(self) -> bool:
        return bool(self._subscribers) or self.live

    def _send(self, change: Change) -> None:
        if self._loop is not None and self.live:
            self._unsent.append(encode_change(self._origin, change))
            self._loop.wake()

    async def _on_start(self) -> None:
        outage = OutageReporter(_logger, "change_listening")
        self._loop = self._run_loop(BackgroundLoop(self._turn, outage, retry_seconds=RETRY_SECONDS))

    def _default_grace(self) -> float:
        return CLOSE_SECONDS  # a notification that is being sent is the last of a saga that ended here

    async def _on_stop(self) -> None:
        """Send what waits, then close: others wait for the ends of the last sagas."""
        self._report_what_waits()
        payloads, self._unsent = self._unsent, []
        link, self._link, self._loop = self._link, None, None
        if link is None:
            return
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                if payloads and not link.is_closed():
                    await link.execute(_NOTIFY, CHANNEL, payloads)
            await link.close(timeout=CLOSE_SECONDS)

    async def _turn(self) -> float:
        """Send what is to be sent, or try the connection; return when to try it again. Raise `LogUnavailable`."""
        try:
            async with translated():
                link = self._link if self.live else await self._listen()
                if link is None:
                    return POOLED_RETRY_SECONDS
                payloads, self._unsent = self._unsent, []
                await link.execute(_NOTIFY, CHANNEL, payloads)  # with none, a heartbeat
        except BaseException:
            self._disconnect()
            raise
        return HEARTBEAT_SECONDS

    async def _listen(self) -> NoCancelConnection | None:
        """Connect, listen and return the connection; None where a connection can't listen."""
        self._disconnect()
        link = await self._connect()
        if link.pooled:
            link.terminate()
            _logger.info(
                "change_listening_unavailable",
                extra={"hint": "A pooler is in between: changes of other replicas are found by polling."},
            )
            return None
        try:
            await link.add_listener(CHANNEL, self._heard_of)
            link.add_termination_listener(self._terminated)
        except BaseException:
            link.terminate()
            raise
        self._link = link
        anything = [
            Change(kind=kind, elsewhere=True) for kind in ChangeKind
        ]  # both sides may have missed some
        self._unsent = [encode_change(self._origin, change) for change in anything]
        for change in anything:
            self.report(change)
        return link

    def _disconnect(self) -> None:
        link, self._link = self._link, None
        self._unsent.clear()
        if link is not None:
            link.terminate()

    def _heard_of(self, _link: object, _pid: int, _channel: str, payload: str) -> None:
        change = decode_change(self._origin, payload)
        if change is not None:
            self.report(change)

    def _terminated(self, link: object) -> None:
        if self._loop is not None and link is self._link:
            self._loop.wake()


def encode_change(origin: str, change: Change) -> str:
    """Return a change as the payload of a notification: `<origin> <kind> [<id>,<id>…]`, ids without hyphens."""
    ids = change.saga_ids
    if ids is None or len(ids) > MAX_IDS:
        return f"{origin} {change.kind.value}"
    return f"{origin} {change.kind.value} {','.join(sorted(one.replace('-', '') for one in ids))}"


def decode_change(origin: str, payload: str) -> Change | None:
    """Return the change of a payload; None for one that is of `origin` itself, or that this release doesn't know."""
    sender, _, rest = payload.partition(" ")
    kind, _, ids = rest.partition(" ")
    if sender == origin or kind not in list(ChangeKind):
        return None
    saga_ids = frozenset(map(_hyphenated, ids.split(","))) if ids else None
    return Change(kind=ChangeKind(kind), saga_ids=saga_ids, elsewhere=True)


def _hyphenated(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
