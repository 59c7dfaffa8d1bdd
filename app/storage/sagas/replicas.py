"""The replicas' leases: renewing one, releasing it, and which replicas are alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.saga.model.errors import LeaseLost
from app.saga.ports.changes import Change, ChangeKind
from app.storage.engine.changes import LocalChanges
from app.storage.engine.log_clock import LogClock, MachineClock
from app.storage.engine.tables import replica
from app.storage.engine.transactions import Transactions
from app.storage.engine.translation import repeats

DELETE_REPLICAS_AFTER = timedelta(days=1)

LONGEST_LEASE_SECONDS = 600.0
"""A longer lease than this, and than this replica's own, is taken for a clock that was set."""


class _ObservedLease(NamedTuple):
    """Another replica's lease: its end, since when this replica has seen that end, and the seconds it lasts."""

    until: datetime
    since: float
    lasts: float


class Replicas:
    """The rows of `replica`. `transactions` are the lease's own, so that no load delays a renewal."""

    def __init__(
        self, transactions: Transactions, clock: LogClock, machine: MachineClock, changes: LocalChanges
    ) -> None:
        self._transactions = transactions
        self._clock = clock
        self._counted = machine.counted
        self._changes = changes
        self._lease_seconds: float | None = None
        self._observed: dict[str, _ObservedLease] = {}

    @repeats
    async def renew(self, owner: str, *, seconds: float) -> datetime:
        """Give a replica a lease of so many seconds; return the log's time. Raise `LeaseLost` where its last has ended."""
        async with self._transactions.writing() as connection:
            now, shown = await self._clock.keep(connection)
            values = {
                "lease_expires_at": shown + timedelta(seconds=seconds),
                "renewed_at": now,
            }
            dialect = postgresql if self._transactions.is_postgres else sqlite
            granted = await connection.execute(
                dialect.insert(replica)
                .values(id=owner, **values)
                .on_conflict_do_update(
                    index_elements=[replica.c.id],
                    set_=values,
                    where=replica.c.lease_expires_at >= shown,
                )
                .returning(replica.c.id)
            )
            if granted.first() is None:
                raise LeaseLost
        self._lease_seconds = seconds
        return now

    @repeats
    async def release(self, owner: str) -> None:
        """Delete a replica's lease, and those that ended long ago; what it owned can be claimed at once."""
        async with self._transactions.writing() as connection:
            now = await self._clock.shown(connection)
            await connection.execute(
                delete(replica).where(
                    or_(
                        replica.c.id == owner,
                        replica.c.lease_expires_at < now - DELETE_REPLICAS_AFTER,
                    )
                )
            )
            await self._changes.announce(connection, ChangeKind.CLAIMABLE)
        self._changes.report(Change(kind=ChangeKind.CLAIMABLE))

    async def alive(self, connection: AsyncConnection) -> Select[Any]:
        """Return the query of the replicas whose leases are valid, by the clock that all replicas see alike.

        After the database's clock was set back, a lease may seem to end much later than it does. So it no longer
        counts once this replica has seen it unchanged for as long as it lasts, or as a lease of its own lasts where
        that is longer.
        """
        shown, counted = await self._clock.shown(connection), self._counted()
        query = select(replica.c.id, replica.c.lease_expires_at, replica.c.renewed_at)
        leases = (await connection.execute(query.where(replica.c.lease_expires_at > shown))).all()
        seen, self._observed = self._observed, {}
        for owner, until, renewed_at in leases:
            known = seen.get(owner)
            if known is None or known.until != until:
                # What is left of it, and all of it: each can be too much by what a clock was set, seldom both.
                lasts = min((until - shown).total_seconds(), (until - renewed_at).total_seconds())
                known = _ObservedLease(until=until, since=counted, lasts=min(lasts, LONGEST_LEASE_SECONDS))
            self._observed[owner] = known
        alive = select(replica.c.id).where(replica.c.lease_expires_at > shown)
        own = self._lease_seconds
        stale = [
            (owner, one.until)
            for owner, one in self._observed.items()
            if own is not None and counted - one.since > max(own, one.lasts)
        ]
        if stale:
            alive = alive.where(tuple_(replica.c.id, replica.c.lease_expires_at).not_in(stale))
        return alive
