"""The ports of a process with the gate in front: the log, the gateways, the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from app.gateway.port import JsonObject
from app.saga.model.errors import LogUnavailable, StepOutcomeUnknown
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.status import SagaStatus
from app.saga.ports.clock import SystemClock
from app.saga.ports.log import NewSaga, RowChange, SagaLog, StartResult, StoredSaga
from app.services import Call, Closed, Gateway, Participant
from app.storage.journal.journal import FIRST_PAUSE_SECONDS
from tests.builders import told
from tests.crash.boundary import Gate, Mode
from tests.crash.loop import OUTSIDE, WorldClock

T = TypeVar("T")


class GatedLog:
    """The saga log as one process reaches it. `breaks` names an append over which the journal breaks down once."""

    def __init__(self, log: SagaLog, gate: Gate, breaks: list[str]) -> None:
        self._log = log
        self._gate = gate
        self._breaks = breaks
        self.abandoned = 0

    async def start(self, saga: NewSaga, event: SagaEvent, *, owner: str) -> StartResult:
        return await self._gate.go(
            "log.start", lambda: self._log.start(saga, event, owner=owner), in_doubt=_unanswered
        )

    async def append(
        self, saga_id: str, *, epoch: int, events: Sequence[SagaEvent], change: RowChange | None = None
    ) -> None:
        async def append() -> None:
            await self._log.append(saga_id, epoch=epoch, events=events, change=change)
            if name in self._breaks:
                self._breaks.remove(name)
                raise LogUnavailable("The journal stopped in the middle of this.", stored=None)

        park = ", park" if change is not None and change.park else ""
        name = "log.append " + " + ".join(told(events)) + park
        await self._gate.go(name, append, in_doubt=_written_again)

    async def load(self, saga_id: str) -> StoredSaga | None:
        return await self._gate.go("log.load", lambda: self._log.load(saga_id), in_doubt=_unanswered)

    async def claim(
        self, *, owner: str, definitions: Sequence[tuple[str, int]], limit: int
    ) -> list[StoredSaga]:
        return await self._gate.go(
            "log.claim",
            lambda: self._log.claim(owner=owner, definitions=definitions, limit=limit),
            in_doubt=_unanswered,
        )

    async def request_cancel(
        self, saga_id: str, request: OperatorAction, *, seen: int | None = None
    ) -> OperatorAction | None:
        return await self._gate.go(
            "log.request_cancel",
            lambda: self._log.request_cancel(saga_id, request, seen=seen),
            in_doubt=_unanswered,
        )

    async def pending_cancellations(self, owner: str) -> dict[str, OperatorAction]:
        return await self._gate.go(
            "log.pending_cancellations", lambda: self._log.pending_cancellations(owner), in_doubt=_unanswered
        )

    async def operate(self, saga_id: str, *, epoch: int, event: SagaEvent, status: SagaStatus) -> None:
        await self._gate.go(
            f"log.operate {event.type}",
            lambda: self._log.operate(saga_id, epoch=epoch, event=event, status=status),
            in_doubt=_unanswered,
        )

    async def abandon(self, saga_id: str, *, epoch: int, until: datetime) -> None:
        self.abandoned += 1
        await self._gate.go(
            "log.abandon",
            lambda: self._log.abandon(saga_id, epoch=epoch, until=until),
            in_doubt=_unanswered,
        )

    async def renew(self, owner: str, *, seconds: float) -> datetime:
        return await self._gate.go(
            "log.renew", lambda: self._log.renew(owner, seconds=seconds), in_doubt=_unanswered
        )

    async def release(self, owner: str) -> None:
        await self._gate.go("log.release", lambda: self._log.release(owner), in_doubt=_unanswered)


async def _unanswered(mode: Mode, call: Callable[[], Awaitable[T]]) -> T:
    """The connection broke in COMMIT, or before it: nobody here can tell."""
    if mode is Mode.UNHEARD:
        await call()
    raise LogUnavailable("The database did not answer.", stored=None)


async def _written_again(mode: Mode, call: Callable[[], Awaitable[T]]) -> T:
    """The journal writes a batch again whose answer was lost, unless it breaks down itself."""
    if mode in {Mode.UNHEARD, Mode.BROKEN}:
        await call()
    if mode in {Mode.BROKEN, Mode.BROKEN_UNDONE}:
        raise LogUnavailable("The journal stopped in the middle of this.", stored=None)
    await asyncio.sleep(FIRST_PAUSE_SECONDS)
    return await call()


class GatedGateway:
    """A service as one process reaches it. What was sent arrives, whatever becomes of its sender."""

    def __init__(self, gateway: Gateway, service: Participant, gate: Gate) -> None:
        self._gateway = gateway
        self._service = service
        self._gate = gate

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        return await self._send("put", lambda: self._gateway.put(call, body))

    async def delete(self, call: Call) -> JsonObject:
        return await self._send("delete", lambda: self._gateway.delete(call))

    async def get(self, call: Call) -> JsonObject | Closed | None:
        return await self._send("get", lambda: self._gateway.get(call))

    async def capture(self, call: Call) -> JsonObject:
        return await self._send("capture", lambda: self._gateway.capture(call))

    async def aclose(self) -> None:
        """Do nothing: the services outlive the process."""

    async def _send(self, verb: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def over_the_wire() -> T:
            return await asyncio.shield(asyncio.get_running_loop().create_task(call(), context=OUTSIDE))

        return await self._gate.go(f"{self._service}.{verb}", over_the_wire, in_doubt=_silent)


async def _silent(mode: Mode, call: Callable[[], Awaitable[T]]) -> T:
    if mode is Mode.UNHEARD:
        await call()
    raise StepOutcomeUnknown("The connection broke.")


class GatedClock(SystemClock):
    """Time as one process has it."""

    def __init__(self, source: SystemClock | WorldClock, gate: Gate) -> None:
        super().__init__()
        self._source = source
        self._gate = gate

    def now(self) -> datetime:
        return self._source.now()

    def monotonic(self) -> float:
        return self._source.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._gate.go("clock.sleep", lambda: self._source.sleep(seconds))

    def set_right(self, now: datetime) -> None:
        self._source.set_right(now)
