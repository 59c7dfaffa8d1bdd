"""What the journal stores, what becomes of it, and the port through which a batch reaches the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.saga.model.errors import LogRefused, SagaFenced
from app.saga.model.events import SagaEvent
from app.saga.model.record import record
from app.saga.ports.log import NewSaga, RowChange, StartResult
from app.storage.engine.faults import Blame


@record(frozen=True, kw_only=True, slots=True)
class StartEntry:
    """A saga to be stored with its first event."""

    saga: NewSaga
    event: SagaEvent
    owner: str


@record(frozen=True, kw_only=True, slots=True)
class AppendEntry:
    """Events to be appended, all or none, under the epoch in which their writer owns the saga."""

    saga_id: str
    epoch: int
    events: Sequence[SagaEvent]
    change: RowChange | None


Entry = StartEntry | AppendEntry
Result = StartResult | SagaFenced | LogRefused
"""What became of an entry: `Stored`, also where it was stored by an earlier try, or why it was not."""


class CommitUnknown(Exception):
    """The batch may or may not have been stored: write it again. `blame` says what may have caused it."""

    def __init__(self, message: str, *, blame: Blame = Blame.MOMENT) -> None:
        super().__init__(message)
        self.blame = blame


class RejectedBatch(Exception):
    """The database refused the batch for what is in it; nothing of it was stored."""


class BatchWriter(Protocol):
    """Writes a batch in one transaction. One implementation per database."""

    async def open(self) -> None:
        """Connect. Raise `CommitUnknown` where that can't be done now."""

    async def write(self, batch: Sequence[Entry], *, hurried: bool = False) -> list[Result | None]:
        """Store a batch and return each entry's result; None: it met a concurrent change, write it again.

        `hurried` waits only a moment for a lock. Raise `CommitUnknown` or `RejectedBatch`.
        """

    async def probe(self) -> None:
        """Return once something else has been stored, which changes nothing. Raise `CommitUnknown` where nothing can be."""

    async def close(self) -> None:
        """Disconnect; never raise."""


def saga_of(entry: Entry) -> str:
    """Return the id of the saga that an entry belongs to."""
    return entry.saga.id if isinstance(entry, StartEntry) else entry.saga_id
