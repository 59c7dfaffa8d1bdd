"""The orchestrator: decide, act, append; again, until nothing is due.

    decide(definition, state, now) ──▶ Execute / Compensate ──▶ the step calls its service
          ▲                                                          │ answer
          └── state = apply(state, event) ◀── log.append(event) ◀────┘

There is one durable point at each boundary, not two: "step k succeeded" stores its result and also says that step
k+1 may have started. So a saga of three steps needs four commits. Recovery runs the same loop on what is stored.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from app.saga.engine.call_timeouts import CallTimeouts
from app.saga.engine.lease import Lease
from app.saga.engine.saga_instance import SagaInstance
from app.saga.engine.step_call import call
from app.saga.model.definition import SagaDefinition, StepDefinition
from app.saga.model.errors import LogError, LogUnavailable
from app.saga.model.events import EventType, Observer, SagaEvent
from app.saga.model.retry import Jitter
from app.saga.model.state import SagaState
from app.saga.model.status import INACTIVE
from app.saga.model.step import Closed, Context, SagaStep
from app.saga.ports.clock import Clock, SystemClock
from app.saga.ports.log import NewSaga, RowChange, SagaLog, StartResult, Stored
from app.saga.ports.memory_log import MemoryLog
from app.saga.rules.answers import after_compensate, after_execute, after_look_up
from app.saga.rules.decide import decide
from app.saga.rules.decisions import Compensate, Execute, Inactive, LookUp, Record, Wait
from app.saga.rules.fold import apply
from app.saga.rules.next_event import cancellation_event


class SagaOrchestrator:
    """Runs sagas to their end, and stores each event in a log.

    `lease` says whether this process may act; without one it always may. A saga whose next pause is longer than
    `park_after` seconds doesn't wait in memory: it is parked in the log until it is due.
    """

    def __init__(
        self,
        definition: SagaDefinition | Iterable[SagaStep],
        log: SagaLog | None = None,
        *,
        clock: Clock | None = None,
        lease: Lease | None = None,
        jitter: Jitter = random.random,
        park_after: float = float("inf"),
        observers: Sequence[Observer] = (),
    ) -> None:
        """`definition` may also be just the steps, in order. Without a log the saga is kept in memory."""
        if not isinstance(definition, SagaDefinition):
            definition = _of(definition)
        self.definition = definition.validated()
        self._clock = clock or SystemClock()
        self._log = log or MemoryLog(self._clock)
        self._lease = lease
        self._jitter = jitter
        self._park_after = park_after
        self._observers = observers
        self._timeouts = CallTimeouts()

    async def execute(self, context: Context, *, saga_id: str) -> SagaState:
        """Run a new saga on `context` to its end and return its last state.

        Each step's result is put into `context` under the step's name. Raise `LogError` if the log has that saga already.
        """
        new = NewSaga(
            id=saga_id,
            definition=self.definition.name,
            version=self.definition.version,
            input=dict(context),
        )
        instance = SagaInstance(new, self.definition)
        if await self._log.load(saga_id) is not None or not isinstance(await self.start(instance), Stored):
            raise LogError(f"Saga {saga_id} has been started already.")
        await self.run(instance)
        context.update(instance.results())
        return instance.state

    async def start(self, instance: SagaInstance) -> StartResult:
        """Store a new saga, before any request is sent. Return the log's answer."""
        if self._lease and not self._lease.held:
            raise LogUnavailable("The lease has lapsed.", stored=False)
        event = SagaEvent(seq=1, at=self._clock.now(), type=EventType.SAGA_STARTED)
        instance.owner = self._lease.owner if self._lease else None
        result = await self._log.start(instance.saga, event, owner=instance.owner or "local")
        if isinstance(result, Stored):
            self._note(instance, apply(instance.state, event), [event])
        return result

    async def run(self, instance: SagaInstance) -> None:
        """Run the saga until it is inactive or parked.

        Raise `SagaFenced` or `LeaseLost` if another process may own it. The log then has its state.
        """
        while not instance.parked:
            request = instance.cancel_request
            if request and (event := cancellation_event(instance.state, request, self._clock.now())):
                await self._append(
                    instance, event
                )  # nothing is under way here, so the order of compensation is kept
                continue
            match decide(instance.definition, instance.state, self._clock.now()):
                case Execute() | Compensate() | LookUp() as action:
                    await self._append(instance, await self._carry_out(instance, action))
                case Inactive():
                    return
                case Record(event=event):
                    await self._append(instance, event)
                case Wait(until=until):
                    await instance.pause(
                        self._clock.sleep(max(0.0, (until - self._clock.now()).total_seconds()))
                    )

    async def _carry_out(self, instance: SagaInstance, action: Execute | Compensate | LookUp) -> SagaEvent:
        """Send one action and return the event that its answer makes."""
        if self._lease:
            self._lease.check(instance.owner)
        started = self._clock.monotonic()
        answer = await call(action, instance.context(), self._timeouts)
        duration_ms = round((self._clock.monotonic() - started) * 1000, 3)
        now, state, jitter = self._clock.now(), instance.state, self._jitter
        if isinstance(action, LookUp):
            return after_look_up(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)
        if answer is None or isinstance(answer, Closed):
            answer = {}
        if isinstance(action, Execute):
            return after_execute(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)
        return after_compensate(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)

    async def _append(self, instance: SagaInstance, event: SagaEvent) -> None:
        """Store an event, together with all that follows from it without a request."""
        state, events, now = apply(instance.state, event), [event], event.at
        while isinstance(following := decide(instance.definition, state, now), Record):
            state = apply(state, following.event)
            events.append(following.event)
        cancelling = instance.cancel_request is not None and state.cancellable
        park = (
            isinstance(following, Wait)
            and not cancelling
            and (following.until - now).total_seconds() > self._park_after
        )
        change = None
        if park or state.status is not instance.state.status:
            due = following.until if isinstance(following, Wait) else now
            change = RowChange(
                status=state.status,
                next_action_at=None if state.status in INACTIVE else due,
                finished_at=state.finished_at,
                park=park,
                cancellable=park and state.cancellable,
            )
        await self._log.append(instance.saga.id, epoch=instance.epoch, events=events, change=change)
        instance.parked = park
        self._note(instance, state, events)

    def notify(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        """Pass durable events to the observers, whichever process stored them. What an observer raises is ignored."""
        for observer in self._observers:
            try:  # noqa: SIM105 (`suppress` costs more than most observers)
                observer(saga_id, events)
            except Exception:  # noqa: BLE001, S110 (an observer never harms a saga)
                pass

    def _note(self, instance: SagaInstance, state: SagaState, events: list[SagaEvent]) -> None:
        instance.advance(state, events)
        self.notify(instance.saga.id, events)


def _of(steps: Iterable[SagaStep]) -> SagaDefinition:
    return SagaDefinition(name="saga", steps=tuple(StepDefinition(step=step) for step in steps))
