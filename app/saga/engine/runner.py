"""The sagas that this process runs, each in a task of its own, not of the request that began it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.outage_reporter import OutageReporter
from app.saga.engine.saga_instance import SagaInstance
from app.saga.engine.tasks import end_tasks
from app.saga.model.definition import Definitions
from app.saga.model.errors import LeaseLost, LogError, LogUnavailable, SagaFenced
from app.saga.model.events import EventType
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import INACTIVE
from app.saga.ports.clock import Clock
from app.saga.ports.log import SUSPECT_AFTER, NewSaga, SagaLog, StartResult, Stored, StoredSaga

_logger = logging.getLogger(__name__)

AFTER_CRASH_SECONDS = 1.0
"""How long a saga whose loop broke down rests before any replica takes it over."""


class SagaTask:
    """A saga's task. `started` resolves with the log's answer, `done` when this process is through with it."""

    def __init__(self, run: SagaInstance, *, resumed: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.run = run
        self.resumed = resumed
        self.started: asyncio.Future[StartResult] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.started.add_done_callback(_retrieve)

    @property
    def suspect(self) -> bool:
        """Whether it was taken over and has made no progress yet: it may be what takes processes down."""
        return self.resumed and not self.done.done() and self.run.state.recoveries >= SUSPECT_AFTER

    @property
    def at_rest(self) -> bool:
        """Whether the saga is finished or waits for a person."""
        return self.run.state.status in INACTIVE

    async def wait_done(self, seconds: float) -> None:
        """Return when this process is through with the saga, at the latest after `seconds`; never cancel it."""
        await asyncio.wait({self.done}, timeout=seconds)


def _retrieve(future: asyncio.Future[StartResult]) -> None:
    """Nobody need be waiting for it: a request may have gone."""
    if not future.cancelled():
        future.exception()


class SagaRunner:
    """Starts, resumes and counts sagas; knows those that run here.

    `around` is entered around each run, in the saga's own task; it must not raise.
    """

    def __init__(
        self,
        definitions: Definitions,
        log: SagaLog,
        orchestrator: SagaOrchestrator,
        *,
        clock: Clock,
        around: Callable[[SagaInstance], AbstractContextManager[None]] = lambda _run: nullcontext(),
    ) -> None:
        self._around = around
        self._definitions = definitions
        self._log = log
        self._orchestrator = orchestrator
        self._clock = clock
        self._running: dict[str, SagaTask] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}  # in their order, which a set doesn't keep

    @property
    def in_flight(self) -> int:
        """How many sagas this process has in hand."""
        return len(self._running)

    @property
    def resumed_in_flight(self) -> int:
        """How many of them were taken over."""
        return sum(1 for running in self._running.values() if running.resumed)

    @property
    def has_suspects(self) -> bool:
        """Whether something runs here beside which nothing else should be taken over."""
        return any(running.suspect for running in self._running.values())

    @property
    def has_cancellable(self) -> bool:
        """Whether something runs here that a person may want to stop."""
        return any(
            running.run.wish is None and running.run.state.cancellable for running in self._running.values()
        )

    def cancel(self, saga_id: str, wish: OperatorAction) -> None:
        """Have a saga stopped at its next boundary, where it runs here."""
        if running := self.get(saga_id):
            running.run.cancel(wish)

    def get(self, saga_id: str) -> SagaTask | None:
        """Return a saga that runs here and is durable, or None."""
        running = self._running.get(saga_id)
        return running if running is not None and running.run.events else None

    def launch(self, saga: NewSaga) -> SagaTask:
        """Start a new saga in a task of its own. Raise `DefinitionUnknown` for one that can't be run here."""
        running = SagaTask(SagaInstance(saga, self._definitions.get(saga.definition, saga.version)))
        self._spawn(running, new=True)
        return running

    def resume(self, stored: StoredSaga, *, owner: str | None = None) -> SagaTask:
        """Go on with a saga that this process has claimed as `owner`."""
        definition = self._definitions.get(stored.saga.definition, stored.saga.version)
        running = SagaTask(SagaInstance.of(stored, definition, owner=owner), resumed=True)
        running.started.set_result(Stored())
        if stored.events[-1].type is EventType.SAGA_RECOVERED:  # stored by the claim itself
            self._orchestrator.notify(stored.saga.id, stored.events[-1:])
        self._spawn(running, new=False)
        return running

    async def idle(self, seconds: float) -> None:
        """Return when nothing runs here, at the latest after `seconds`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)

    async def drain(self, seconds: float) -> None:
        """Let what runs here finish for at most `seconds`, then stop the rest where it is."""
        await self.idle(seconds)
        await self.drop()

    async def drop(self) -> None:
        """Stop everything that runs here, where it is: the log has all that others need to go on."""
        await end_tasks(self._tasks)

    def _spawn(self, running: SagaTask, *, new: bool) -> None:
        self._running[running.run.saga.id] = running
        task = asyncio.create_task(self._run(running, new=new))
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._ended(task, running))

    def _ended(self, task: asyncio.Task[None], running: SagaTask) -> None:
        """Let go of a saga; also where its task was cancelled before it began, so that no `finally` could."""
        self._tasks.pop(task)
        if self._running.get(running.run.saga.id) is running:
            del self._running[running.run.saga.id]
        if not running.started.done():
            running.started.set_exception(
                LogUnavailable("The process stopped before the log had answered.", stored=None)
            )
        if not running.done.done():
            running.done.set_result(None)

    async def _run(self, running: SagaTask, *, new: bool) -> None:
        with self._around(running.run):
            await self._live(running, new=new)

    async def _live(self, running: SagaTask, *, new: bool) -> None:
        run = running.run
        try:
            if new:
                result = await self._orchestrator.start(run)
                running.started.set_result(result)
                if not isinstance(result, Stored):
                    return
            await self._orchestrator.run(run)
        except LeaseLost:
            _logger.warning("saga_ownership_lost", extra={"saga": run.saga.id})
        except SagaFenced:
            # Another's by now; or, after a failover that lost commits, still ours and not to be gone on with.
            _logger.warning("saga_fenced", extra={"saga": run.saga.id})
            await self._abandon(run)
        except LogError as error:
            acknowledged = running.started.done()
            if not acknowledged:
                running.started.set_exception(error)
            if acknowledged or (isinstance(error, LogUnavailable) and error.stored is None):
                await self._abandon(run)  # it may stand, in the name of a living owner that doesn't run it
        except Exception:
            _logger.exception("saga_loop_failed", extra={"saga": run.saga.id})
            await self._abandon(run)

    async def _abandon(self, run: SagaInstance) -> None:
        """Give the saga up until that is stored: a living owner must not own what nobody runs."""
        outage = OutageReporter(_logger, "saga_abandon", saga=run.saga.id)
        while True:
            until = self._clock.now() + timedelta(seconds=AFTER_CRASH_SECONDS)
            try:
                await self._log.abandon(run.saga.id, epoch=run.epoch, until=until)
            except Exception as error:  # noqa: BLE001 (whatever it is, nobody would run the saga)
                outage.failed(error, expected=isinstance(error, LogError))
                await self._clock.sleep(AFTER_CRASH_SECONDS)
            else:
                return
