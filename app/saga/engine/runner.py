"""The sagas that this process runs, each in a task of its own, not of the request that started it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from app.saga.background.outage_reporter import OutageReporter
from app.saga.background.tasks import end_tasks
from app.saga.engine.orchestrator import SagaOrchestrator
from app.saga.engine.saga_instance import SagaInstance
from app.saga.engine.saga_task import SagaTask
from app.saga.model.definition import Definitions
from app.saga.model.errors import LeaseLost, LogError, LogUnavailable, SagaFenced
from app.saga.model.events import EventType
from app.saga.model.operator_action import OperatorAction
from app.saga.ports.clock import Clock
from app.saga.ports.log import NewSaga, SagaLog, Stored, StoredSaga

_logger = logging.getLogger(__name__)

ABANDON_SECONDS = 1.0
"""How long a saga whose loop failed is left alone before any replica takes it over."""


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
        around: Callable[[SagaInstance], AbstractContextManager[None]] = lambda _instance: nullcontext(),
    ) -> None:
        self._around = around
        self._definitions = definitions
        self._log = log
        self._orchestrator = orchestrator
        self._clock = clock
        self._sagas: dict[str, SagaTask] = {}
        self._keys: dict[str, dict[str, str]] = {}  # idempotency key to caller to saga
        self._tasks: dict[asyncio.Task[None], None] = {}  # in their order, which a set does not keep

    @property
    def in_flight(self) -> int:
        """How many sagas this process runs."""
        return len(self._sagas)

    @property
    def resumed_in_flight(self) -> int:
        """How many of them were taken over."""
        return sum(1 for saga in self._sagas.values() if saga.resumed)

    @property
    def has_suspects(self) -> bool:
        """Whether one of them may kill this process: nothing else should be taken over next to it."""
        return any(saga.suspect for saga in self._sagas.values())

    @property
    def has_cancellable(self) -> bool:
        """Whether one of them can be cancelled, and nobody has requested that yet."""
        return any(
            saga.instance.cancel_request is None and saga.instance.state.cancellable
            for saga in self._sagas.values()
        )

    def cancel(self, saga_id: str, request: OperatorAction) -> None:
        """Have a saga cancelled at its next boundary, if it runs here."""
        if saga := self.get(saga_id):
            saga.instance.cancel(request)

    def get(self, saga_id: str) -> SagaTask | None:
        """Return a saga that runs here and is durable, or None."""
        saga = self._sagas.get(saga_id)
        return saga if saga is not None and saga.instance.events else None

    def runs_key(self, key: str, caller: str | None = None) -> bool:
        """Whether a saga of this idempotency key, and of this caller, runs here or is being made durable."""
        callers = self._keys.get(key)
        return callers is not None and (caller is None or caller in callers)

    def launch(self, new: NewSaga) -> SagaTask:
        """Start a new saga in a task of its own. Raise `DefinitionUnknown` for one that can't be run here."""
        saga = SagaTask(SagaInstance(new, self._definitions.get(new.definition, new.version)))
        self._spawn(saga, new=True)
        return saga

    def resume(self, stored: StoredSaga, *, owner: str | None = None) -> SagaTask:
        """Continue a saga that this process has claimed as `owner`."""
        definition = self._definitions.get(stored.saga.definition, stored.saga.version)
        saga = SagaTask(SagaInstance.of(stored, definition, owner=owner), resumed=True)
        saga.started.set_result(Stored())
        if stored.events[-1].type is EventType.SAGA_RECOVERED:  # stored by the claim itself
            self._orchestrator.notify(stored.saga.id, stored.events[-1:])
        self._spawn(saga, new=False)
        return saga

    async def idle(self, seconds: float) -> None:
        """Return when nothing runs here, at the latest after `seconds`."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self._tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)

    async def drain(self, seconds: float) -> None:
        """Let what runs here finish within `seconds`, then drop the rest."""
        await self.idle(seconds)
        await self.drop()

    async def drop(self) -> None:
        """Stop everything that runs here, at once: the log has all that another process needs to continue it."""
        await end_tasks(self._tasks)

    def _spawn(self, saga: SagaTask, *, new: bool) -> None:
        identity = saga.instance.saga
        self._sagas[identity.id] = saga
        if identity.idempotency_key is not None:
            self._keys.setdefault(identity.idempotency_key, {}).setdefault(identity.caller, identity.id)
        task = asyncio.create_task(self._run(saga, new=new))
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._ended(task, saga))

    def _ended(self, task: asyncio.Task[None], saga: SagaTask) -> None:
        """Forget a saga; also one whose task was cancelled before its first step, so that no `finally` could."""
        self._tasks.pop(task)
        saga_id = saga.instance.saga.id
        if self._sagas.get(saga_id) is saga:
            del self._sagas[saga_id]
            self._forget_key(saga.instance.saga)
        if not saga.started.done():
            saga.fail_start(LogUnavailable("The process stopped before the log had answered.", stored=None))
        if not saga.done.done():
            saga.done.set_result(None)

    def _forget_key(self, saga: NewSaga) -> None:
        """Forget its idempotency key, unless that is another one's, which this was a repeat of."""
        callers = self._keys.get(saga.idempotency_key or "", {})
        if callers.get(saga.caller) == saga.id:
            del callers[saga.caller]
            if not callers:
                del self._keys[saga.idempotency_key or ""]

    async def _run(self, saga: SagaTask, *, new: bool) -> None:
        with self._around(saga.instance):
            await self._start_and_run(saga, new=new)

    async def _start_and_run(self, saga: SagaTask, *, new: bool) -> None:
        instance = saga.instance
        fields = {"saga": instance.saga.id}
        try:
            if new:
                result = await self._orchestrator.start(instance)
                saga.started.set_result(result)
                if not isinstance(result, Stored):
                    return
            await self._orchestrator.run(instance)
        except LeaseLost:
            _logger.warning("saga_ownership_lost", extra=fields)
        except SagaFenced:
            # Another process owns it; or, after a failover that lost commits, this one, and can't continue it.
            _logger.warning("saga_fenced", extra=fields)
            await self._abandon(instance)
        except LogError as error:
            acknowledged = saga.started.done()
            if not acknowledged:
                saga.fail_start(error)
            if acknowledged or (isinstance(error, LogUnavailable) and error.stored is None):
                await self._abandon(
                    instance
                )  # it may be stored, and owned by a living owner that doesn't run it
        except Exception:
            _logger.exception("saga_loop_failed", extra=fields)
            await self._abandon(instance)

    async def _abandon(self, instance: SagaInstance) -> None:
        """Abandon the saga, again until that is stored: a living owner must not own what nobody runs."""
        outage = OutageReporter(_logger, "saga_abandon", saga=instance.saga.id)
        while True:
            until = self._clock.now() + timedelta(seconds=ABANDON_SECONDS)
            try:
                await self._log.abandon(instance.saga.id, epoch=instance.epoch, until=until)
            except Exception as error:  # noqa: BLE001 (whatever it is, nobody would run the saga)
                outage.failed(error, expected=isinstance(error, LogError))
                await self._clock.sleep(ABANDON_SECONDS)
            else:
                outage.recovered()
                return
