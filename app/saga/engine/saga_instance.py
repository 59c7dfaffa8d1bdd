"""A saga in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from app.saga.model.definition import SagaDefinition
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaState
from app.saga.model.step import JSON, Context, copied
from app.saga.ports.log import NewSaga, StoredSaga
from app.saga.rules.fold import fold


class SagaInstance:
    """A saga that this process runs: exactly what is stored of it.

    `owner` is its owner in the log, if there is a lease. `parked` says that it was given back to the log until it is
    due again. `cancel_request` is an operator's, until the saga has it as an event.
    """

    def __init__(
        self, saga: NewSaga, definition: SagaDefinition, *, epoch: int = 1, owner: str | None = None
    ) -> None:
        self.saga = saga
        self.owner = owner
        self.definition = definition
        self.epoch = epoch
        self.state: SagaState = definition.initial_state
        self.events: list[SagaEvent] = []
        self.parked = False
        self.cancel_request: OperatorAction | None = None
        self._pause: asyncio.Timeout | None = None
        self._changed: asyncio.Event | None = None  # made for the first that waits

    @classmethod
    def of(cls, stored: StoredSaga, definition: SagaDefinition, *, owner: str | None = None) -> SagaInstance:
        """Return an instance that continues a stored saga."""
        instance = cls(stored.saga, definition, epoch=stored.epoch, owner=owner)
        instance.cancel_request = stored.cancel_request
        instance.advance(fold(definition, stored.events), list(stored.events))
        return instance

    def advance(self, state: SagaState, events: list[SagaEvent]) -> None:
        """Record events that are stored now, and wake those that wait for a change."""
        self.state = state
        self.events.extend(events)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def cancel(self, request: OperatorAction) -> None:
        """Cancel the saga at its next boundary, if it can still be cancelled. A pause ends at once."""
        if self.cancel_request is not None:
            return
        self.cancel_request = request
        if self._pause is not None and self.state.cancellable:
            self._pause.reschedule(asyncio.get_running_loop().time())

    async def pause(self, sleep: Awaitable[None]) -> None:
        """Return when the sleep ends, or the saga is to be cancelled."""
        try:
            async with asyncio.timeout(None) as self._pause:
                await sleep
        except TimeoutError:
            pass  # woken
        finally:
            self._pause = None

    async def changed(self) -> None:
        """Wait until the next event is stored."""
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()

    def results(self) -> dict[str, JSON]:
        """Return each succeeded step's result under the step's name."""
        return {step.name: dict(step.result) for step in self.state.steps if step.result is not None}

    def context(self) -> Context:
        """Return a new copy of the steps' shared context: what a step writes into it isn't stored."""
        context: Context = copied(self.saga.input)
        context["saga_id"] = self.saga.id
        for step in self.state.steps:
            if step.result is not None:
                context[step.name] = copied(step.result)
        return context
