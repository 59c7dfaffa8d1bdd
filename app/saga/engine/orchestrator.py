"""The orchestrator: decide, do, append; again, until the saga rests.

    decide(definition, state, now) ──▶ Execute / Compensate ──▶ the step asks its service
          ▲                                                          │ answer
          └── state = apply(state, event) ◀── log.append(event) ◀────┘

There is one durable point at each boundary, not two: "step k succeeded" is its result and also the
intent of step k+1, so a saga of three steps needs four commits. Recovery is this same loop on what
the log holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from app.saga.engine.lease import Lease
from app.saga.engine.saga_instance import SagaInstance
from app.saga.model.decide import (
    Compensate,
    Execute,
    LookUp,
    Record,
    Rest,
    Wait,
    after_compensate,
    after_execute,
    after_look_up,
    cancelled,
    decide,
)
from app.saga.model.definition import SagaDefinition, StepDefinition
from app.saga.model.errors import FailureKind, LogError, LogUnavailable, StepError, StepOutcomeUnknown
from app.saga.model.events import EventType, Observer, SagaEvent
from app.saga.model.retry import Jitter
from app.saga.model.state import INACTIVE, SagaState, apply
from app.saga.model.step import JSON, Closed, Context, LooksUp, SagaStep, storable
from app.saga.ports.clock import Clock, SystemClock
from app.saga.ports.log import NewSaga, RowChange, SagaLog, StartResult, Stored
from app.saga.ports.memory_log import MemoryLog

Answer = Mapping[str, JSON] | Closed | None
"""What a step answers."""


class SagaOrchestrator:
    """Runs sagas to their end over a log.

    `lease` tells whether this process may act; without one it may always. A pause longer than
    `park_after` seconds isn't waited for in memory: the saga is given back until it is due.
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
        """`definition` may be the bare steps in their order; without a log the saga lives in memory."""
        if not isinstance(definition, SagaDefinition):
            definition = _of(definition)
        self.definition = definition.validated()
        self._clock = clock or SystemClock()
        self._log = log or MemoryLog(self._clock)
        self._lease = lease
        self._jitter = jitter
        self._park_after = park_after
        self._observers = observers

    async def execute(self, context: Context, *, saga_id: str) -> SagaState:
        """Run a new saga on `context` to its end and return how it ended.

        The steps' results are put into `context` under the steps' names. Raise `LogError` where the
        log has that saga already.
        """
        new = NewSaga(
            id=saga_id,
            definition=self.definition.name,
            version=self.definition.version,
            input=dict(context),
        )
        run = SagaInstance(new, self.definition)
        if await self._log.load(saga_id) is not None or not isinstance(await self.start(run), Stored):
            raise LogError(f"Saga {saga_id} has been started already.")
        await self.run(run)
        context.update(run.results())
        return run.state

    async def start(self, run: SagaInstance) -> StartResult:
        """Make a new saga durable, before anything is sent; return what the log says to it."""
        if self._lease and not self._lease.held:
            raise LogUnavailable("The lease has lapsed.", stored=False)
        event = SagaEvent(seq=1, at=self._clock.now(), type=EventType.SAGA_STARTED)
        run.owner = self._lease.owner if self._lease else None
        result = await self._log.start(run.saga, event, owner=run.owner or "local")
        if isinstance(result, Stored):
            self._note(run, apply(run.state, event), [event])
        return result

    async def run(self, run: SagaInstance) -> None:
        """Move the saga until it rests, is parked, or isn't ours any more.

        Raise `SagaFenced` or `LeaseLost` where another process may have it; the log tells how it stands.
        """
        while not run.parked:
            stop = run.wish and cancelled(run.state, run.wish, self._clock.now())
            if stop:  # nothing is under way here, so what is undone next is undone in order
                await self._append(run, stop)
                continue
            match decide(run.definition, run.state, self._clock.now()):
                case Rest():
                    return
                case Wait(until=until):
                    await run.pause(self._clock.sleep(max(0.0, (until - self._clock.now()).total_seconds())))
                case Record(event=event):
                    await self._append(run, event)
                case Execute() | Compensate() | LookUp() as action:
                    await self._append(run, await self._carry_out(run, action))

    async def _carry_out(self, run: SagaInstance, action: Execute | Compensate | LookUp) -> SagaEvent:
        """Send one action and return the event that its answer makes."""
        if self._lease:
            self._lease.check(run.owner)
        began = self._clock.monotonic()
        answer = await _ask(action, run.context())
        duration_ms = round((self._clock.monotonic() - began) * 1000, 3)
        now, state, jitter = self._clock.now(), run.state, self._jitter
        if isinstance(action, LookUp):
            return after_look_up(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)
        if answer is None or isinstance(answer, Closed):
            answer = {}
        if isinstance(action, Execute):
            return after_execute(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)
        return after_compensate(action, state, answer, now=now, duration_ms=duration_ms, jitter=jitter)

    async def _append(self, run: SagaInstance, event: SagaEvent) -> None:
        """Make an event durable, together with all that follows from it without asking anybody."""
        state, events = apply(run.state, event), [event]
        now = self._clock.now()
        while isinstance(following := decide(run.definition, state, now), Record):
            state = apply(state, following.event)
            events.append(following.event)
        heeding = run.wish is not None and state.cancellable
        park = (
            isinstance(following, Wait)
            and not heeding
            and (following.until - now).total_seconds() > self._park_after
        )
        change = None
        if park or state.status is not run.state.status:
            due = following.until if isinstance(following, Wait) else now
            change = RowChange(
                status=state.status,
                next_action_at=None if state.status in INACTIVE else due,
                finished_at=state.finished_at,
                park=park,
                cancellable=park and state.cancellable,
            )
        await self._log.append(run.saga.id, epoch=run.epoch, events=events, change=change)
        run.parked = park
        self._note(run, state, events)

    def notify(self, saga_id: str, events: Sequence[SagaEvent]) -> None:
        """Tell the observers of events that are durable, whoever stored them; what an observer raises is swallowed."""
        for event in events:
            for observer in self._observers:
                with contextlib.suppress(Exception):
                    observer(saga_id, event)

    def _note(self, run: SagaInstance, state: SagaState, events: list[SagaEvent]) -> None:
        run.advance(state, events)
        self.notify(run.saga.id, events)


async def _ask(
    action: Execute | Compensate | LookUp, context: Context
) -> dict[str, JSON] | Closed | StepError | None:
    """Ask the step and return its answer; anything unforeseen is an unknown outcome."""
    step = action.step.step
    ask: Callable[[Context], Awaitable[Answer]] = _cannot_look_up
    back = isinstance(action, Compensate) or (isinstance(action, LookUp) and action.undoing)
    policy = action.step.compensation if back else action.step.policy
    match action:
        case Execute():
            ask = step.execute
        case Compensate():
            ask = step.compensate
        case LookUp() if isinstance(step, LooksUp):
            ask = step.look_up
    try:
        async with asyncio.timeout(policy.timeout):
            answer = await ask(context)
        if answer is None or isinstance(answer, Closed):
            return answer
        result = dict(answer)
        if not storable(result):
            return StepOutcomeUnknown("The step's answer isn't JSON.", code="unforeseen")
    except StepError as error:
        return error
    except TimeoutError:
        return StepOutcomeUnknown(
            f"No answer within {policy.timeout:g} s.",
            code="timeout",
            kind=FailureKind.TIMEOUT,
        )
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # this process stops; the log has all that others need
        return StepOutcomeUnknown("The step was cancelled from inside.", code="unforeseen")
    except Exception as error:  # noqa: BLE001 (a step is somebody else's code: whatever it raises is an answer)
        return StepOutcomeUnknown(f"The step raised {type(error).__name__}.", code="unforeseen")
    return result


async def _cannot_look_up(_context: Context) -> Answer:
    return None


def _of(steps: Iterable[SagaStep]) -> SagaDefinition:
    return SagaDefinition(name="saga", steps=tuple(StepDefinition(step=step) for step in steps))
