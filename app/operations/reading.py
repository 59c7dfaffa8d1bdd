"""Reading sagas: one, one once it is done, or a list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from app.access.principal import ANONYMOUS, Principal
from app.operations.saga_view import SagaView, view_as_of, view_of, view_of_running
from app.operations.saga_waits import SagaWaits
from app.saga.engine.runner import SagaRunner
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.definition import Definitions
from app.saga.model.status import SagaStatus
from app.saga.ports.changes import ChangeSource, NoChanges
from app.saga.ports.log import ReadSaga, StoredSaga, UnreadableSaga
from app.saga.ports.queries import Kept, SagaFilter, SagaQueries, nothing_kept

T = TypeVar("T")


class SagaReader:
    """Reads sagas as principals may see them."""

    def __init__(
        self,
        runner: SagaRunner,
        queries: SagaQueries,
        definitions: Definitions,
        *,
        lease_until: Callable[[], datetime | None],
        lease_held: Callable[[], bool] = lambda: True,
        changes: ChangeSource | None = None,
    ) -> None:
        self._runner = runner
        self._queries = queries
        self._definitions = definitions
        self._lease_until = lease_until
        self._lease_held = lease_held
        self._waits = SagaWaits(queries, changes or NoChanges())

    async def get(self, saga_id: str, *, caller: Principal = ANONYMOUS) -> SagaView | None:
        """Return a saga as it is durable now; None where it doesn't exist or is another tenant's."""
        view = await self.find(saga_id)
        return view if view is not None and caller.can_see(view.saga.caller) else None

    async def find(self, saga_id: str, *, kept: Kept[T] = nothing_kept) -> SagaView | T | None:
        """Return anybody's saga as it is durable now, or what was `kept` of it; None where there is none.

        One that runs here is read from memory while the lease is held, as no other process can have moved it then;
        except one that needs attention, as an operator may act on it at any replica.
        """
        task = self._runner.get(saga_id)
        stuck = task is not None and task.instance.state.status is SagaStatus.NEEDS_ATTENTION
        if task is not None and not stuck and self._lease_held():
            return self._running(task.instance)
        found = await self._queries.find(saga_id, kept=kept)
        return None if found is None else self._view(found)

    async def wait(self, saga_id: str, *, seconds: float, caller: Principal = ANONYMOUS) -> SagaView | None:
        """Return the saga once it is inactive, or as it is after `seconds`, whichever replica runs it."""
        until = asyncio.get_running_loop().time() + seconds
        done, view = await self._look(saga_id, until, caller)
        if done:
            return view
        with self._waits.until_inactive(saga_id) as inactive:
            await asyncio.wait({inactive}, timeout=until - asyncio.get_running_loop().time())
            if inactive.done():
                inactive.result()
        return (await self._look(saga_id, until, caller))[1]

    async def _look(self, saga_id: str, until: float, caller: Principal) -> tuple[bool, SagaView | None]:
        """Return whether there is nothing more to wait for, and the saga; one that runs here is waited for."""
        loop = asyncio.get_running_loop()
        task = self._runner.get(saga_id)
        if task is not None and not task.inactive:
            await task.wait_done(max(0.0, until - loop.time()))
            if task.inactive:
                view = self._running(task.instance)
                return True, view if caller.can_see(view.saga.caller) else None
        found = await self.get(saga_id, caller=caller)
        return found is None or found.inactive or loop.time() >= until, found

    async def list_sagas(
        self,
        wanted: SagaFilter,
        *,
        before: str | None = None,
        limit: int = 20,
        kept: Kept[T] = nothing_kept,
    ) -> list[SagaView | T]:
        """Return at most `limit` sagas with an id below `before`, newest first, or what was `kept` of each."""
        found = await self._queries.list_sagas(wanted, before=before, limit=limit, kept=kept)
        return [self._view(one) for one in found]

    def as_of(self, read: ReadSaga, seq: int) -> SagaView:
        """Return a saga as it was at an event that made it inactive: the same view at any later time."""
        return view_as_of(read, seq, self._definitions)

    def _view(self, found: ReadSaga | T) -> SagaView | T:
        return view_of(found, self._definitions) if isinstance(found, StoredSaga | UnreadableSaga) else found

    def _running(self, run: SagaInstance) -> SagaView:
        return view_of_running(run, lease_until=self._lease_until())
