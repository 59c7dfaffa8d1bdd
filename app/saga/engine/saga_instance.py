"""A saga in this process's hands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from app.saga.model.definition import SagaDefinition
from app.saga.model.events import SagaEvent
from app.saga.model.operator_action import OperatorAction
from app.saga.model.state import SagaState, fold, initial
from app.saga.model.step import JSON, Context, copied
from app.saga.ports.log import NewSaga, StoredSaga


class SagaInstance:
    """What this process knows of a saga that it runs: always exactly what is durable.

    `owner` is whom the log names as its owner, where a lease is kept. `parked` says that it has been
    given back to the log until it is due again. `wish` is a person's, to cancel it.
    """

    def __init__(
        self, saga: NewSaga, definition: SagaDefinition, *, epoch: int = 1, owner: str | None = None
    ) -> None:
        self.saga = saga
        self.owner = owner
        self.definition = definition
        self.epoch = epoch
        self.state: SagaState = initial(definition)
        self.events: list[SagaEvent] = []
        self.parked = False
        self.wish: OperatorAction | None = None
        self._pause: asyncio.Timeout | None = None
        self._changed: asyncio.Event | None = None  # made for whoever waits

    @classmethod
    def of(cls, stored: StoredSaga, definition: SagaDefinition, *, owner: str | None = None) -> SagaInstance:
        """Return the run that goes on from what the log holds."""
        run = cls(stored.saga, definition, epoch=stored.epoch, owner=owner)
        run.wish = stored.cancel
        run.advance(fold(definition, stored.events), list(stored.events))
        return run

    def advance(self, state: SagaState, events: list[SagaEvent]) -> None:
        """Note events that have become durable, and tell those who wait for a change."""
        self.state = state
        self.events.extend(events)
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def cancel(self, wish: OperatorAction) -> None:
        """Have the saga stopped at its next boundary, where that can still be; a pause ends at once."""
        if self.wish is not None:
            return
        self.wish = wish
        if self._pause is not None and self.state.cancellable:
            self._pause.reschedule(asyncio.get_running_loop().time())

    async def pause(self, sleep: Awaitable[None]) -> None:
        """Sleep until the sleep ends, or the saga is to be stopped."""
        try:
            async with asyncio.timeout(None) as self._pause:
                await sleep
        except TimeoutError:
            pass  # woken
        finally:
            self._pause = None

    async def changed(self) -> None:
        """Return when the next event has become durable."""
        if self._changed is None:
            self._changed = asyncio.Event()
        await self._changed.wait()

    def results(self) -> dict[str, JSON]:
        """Return each succeeded step's result under the step's name."""
        return {step.name: dict(step.result) for step in self.state.steps if step.result is not None}

    def context(self) -> Context:
        """Return the steps' shared context, made anew: what a step writes into it isn't kept."""
        return {
            name: copied(value)
            for name, value in {**self.saga.input, "saga_id": self.saga.id, **self.results()}.items()
        }
