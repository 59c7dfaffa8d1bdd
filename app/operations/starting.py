"""Starting a saga: once for each idempotency key, and one at a time for each business key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from app.operations.reading import SagaReader
from app.operations.saga_view import SagaView, view_of_running
from app.saga.engine.runner import SagaRunner
from app.saga.engine.waiting import Closing, wait_until_done
from app.saga.model.definition import SagaDefinition
from app.saga.model.errors import LogUnavailable, SagaError
from app.saga.model.status import SagaStatus
from app.saga.model.step import JSON
from app.saga.ports.log import (
    BusinessKeyConflict,
    IdempotencyConflict,
    NewSaga,
    SagaLog,
    Stored,
    load,
)


class StartRefused(SagaError):
    """The saga can't be started, and nothing was stored."""


class KeyReused(StartRefused):
    """The Idempotency-Key belongs to another request: use a new key for a new checkout."""


class BusinessKeyTaken(StartRefused):
    """Another saga has this order: look at that one instead.

    `blocks` is what that saga needs attention for, as a sentence; empty where it doesn't.
    """

    def __init__(self, saga_id: str, status: SagaStatus, blocks: str = "") -> None:
        super().__init__()
        self.saga_id = saga_id
        self.status = status
        self.blocks = blocks


class AlreadyInProgress(BusinessKeyTaken):
    """A checkout of this order is in progress: wait for it instead of starting another."""


class AlreadyCompleted(BusinessKeyTaken):
    """This order has been checked out: there is nothing left to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedSaga:
    """A durable saga. `replayed` says that an earlier request with the same key started it.

    `view` is the saga where it became inactive while its start was waited for; None where it has still to be read.
    """

    saga_id: str
    replayed: bool
    view: SagaView | None = None


class SagaStarter:
    """Starts sagas of one definition."""

    def __init__(
        self,
        runner: SagaRunner,
        log: SagaLog,
        reader: SagaReader,
        *,
        definition: SagaDefinition,
        new_id: Callable[[], str],
    ) -> None:
        self._runner = runner
        self._log = log
        self._reader = reader
        self._new_id = new_id
        self.definition = definition

    async def start(
        self,
        order: dict[str, JSON],
        *,
        caller: str = "",
        idempotency_key: str | None = None,
        fingerprint: str | None = None,
        is_of_earlier_release: Callable[[str, dict[str, JSON]], bool] = lambda _known, _input: False,
        request_id: str | None = None,
        log_timeout: float = 10.0,
        seconds: float = 0.0,
        closing: Closing | None = None,
    ) -> StartedSaga:
        """Start a saga and return once it is durable, or also inactive where `seconds` allow to wait for that.

        It then runs by itself, with or without a waiting client. At `closing` nobody waits for its end any longer.

        `order` is its input: order_id, customer_id, currency, amount, items, payment_method, shipping_address,
        metadata and, with the sandbox, simulate. Where the idempotency key was used with another fingerprint,
        `is_of_earlier_release(fingerprint, input)` says whether that request is this one all the same. Raise
        `KeyReused`, `AlreadyInProgress` or `AlreadyCompleted`; `LogUnavailable` where the log has not answered within
        `log_timeout` seconds, with `stored` None where the saga may still be stored.
        """
        new = NewSaga(
            id=self._new_id(),
            definition=self.definition.name,
            version=self.definition.version,
            input=order,
            caller=caller,
            idempotency_key=idempotency_key,
            fingerprint=fingerprint,
            order_id=order["order_id"],
            customer_id=order["customer_id"],
            request_id=request_id,
        )
        loop = asyncio.get_running_loop()
        while True:
            task = self._runner.launch(new)
            # One wait for both: most are durable, and inactive, in less time than either limit.
            until = loop.time() + log_timeout
            await wait_until_done(task.done, min(seconds, log_timeout), closing=closing)
            await wait_until_done(task.started, until - loop.time())
            if not task.started.done():
                raise LogUnavailable("The saga log has not answered in time.", stored=None)
            match task.started.result():
                case Stored():
                    view = view_of_running(task.instance, lease_until=None) if task.inactive else None
                    return StartedSaga(saga_id=new.id, replayed=False, view=view)
                case IdempotencyConflict(saga_id=saga_id, fingerprint=known):
                    if known != fingerprint and not await self._is_same_request(
                        saga_id, known, is_of_earlier_release, log_timeout
                    ):
                        raise KeyReused
                    return StartedSaga(saga_id=saga_id, replayed=True)
                case BusinessKeyConflict(saga_id=saga_id, status=SagaStatus.COMPLETED):
                    raise AlreadyCompleted(saga_id, SagaStatus.COMPLETED)
                case BusinessKeyConflict(saga_id=saga_id, status=status) if (
                    status is not SagaStatus.COMPENSATED
                ):
                    raise AlreadyInProgress(saga_id, status, await self._blocks(saga_id, status, log_timeout))
            # The other saga has just been compensated, so the business key is free: try again.

    async def _blocks(self, saga_id: str, status: SagaStatus, log_timeout: float) -> str:
        """Return what a saga needs attention for; "" where it doesn't, or where that can't be read now."""
        if status is not SagaStatus.NEEDS_ATTENTION:
            return ""
        try:
            async with asyncio.timeout(log_timeout):
                view = await self._reader.get(saga_id)
        except (LogUnavailable, TimeoutError):
            return ""
        return view.attention.message if view and view.attention else ""

    async def _is_same_request(
        self,
        saga_id: str,
        known: str | None,
        is_of_earlier_release: Callable[[str, dict[str, JSON]], bool],
        log_timeout: float,
    ) -> bool:
        """Whether the request that used the key is this one, though its fingerprint differs. Raise `LogUnavailable`."""
        try:
            async with asyncio.timeout(log_timeout):
                stored = await load(self._log, saga_id)
        except TimeoutError:
            raise LogUnavailable("The saga log has not answered in time.", stored=None) from None
        return known is not None and stored is not None and is_of_earlier_release(known, stored.saga.input)
