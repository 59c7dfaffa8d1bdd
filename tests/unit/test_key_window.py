"""Nothing is sent again under a key older than its window: proven with the real steps, books and a virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from app.cli.demo import an_order
from app.gateway.port import Call, Gateway, JsonObject, Participant
from app.saga import EventType, MemoryLog, SagaOrchestrator, SagaState, SagaStatus, StepUnavailable
from app.saga.model.retry import RetryPolicy
from app.saga.model.step import Closed
from app.services import (
    Sandbox,
    SandboxGateway,
)
from tests.builders import VirtualClock, a_checkout, an_id, the_most

T = TypeVar("T")
HOUR = 3600.0
PATIENT = RetryPolicy(attempts=100, base=HOUR, cap=HOUR)


@dataclass
class Line:
    """The line to the payment service: it may be down, or lose answers, for some hours."""

    gateway: Gateway
    clock: VirtualClock
    down_until: float = 0.0
    deaf_until: float = 0.0
    sent: list[tuple[str, float]] = field(default_factory=list)

    async def _carry(self, key: str, ask: Callable[[], Awaitable[T]]) -> T:
        self.sent.append((key, self.clock.monotonic()))
        if self.clock.monotonic() < self.down_until:
            raise StepUnavailable("down")
        answer = await ask()
        if self.clock.monotonic() < self.deaf_until:
            raise StepUnavailable("the answer was lost")
        return answer

    async def put(self, call: Call, body: JsonObject) -> JsonObject:
        return await self._carry(call.idempotency_key, lambda: self.gateway.put(call, body))

    async def delete(self, call: Call) -> JsonObject:
        return await self._carry(call.idempotency_key, lambda: self.gateway.delete(call))

    async def get(self, call: Call) -> JsonObject | Closed | None:
        return await self._carry("get", lambda: self.gateway.get(call))

    async def capture(self, call: Call) -> JsonObject:
        return await self.gateway.capture(call)

    async def aclose(self) -> None: ...

    def oldest_key(self) -> float:
        """Return the longest time between a key's first and last use, in seconds."""
        keys = {key for key, _ in self.sent} - {"get"}
        times = {key: [at for name, at in self.sent if name == key] for key in keys}
        return max(max(at) - min(at) for at in times.values())


@dataclass
class Shop:
    sandbox: Sandbox
    clock: VirtualClock
    line: Line

    async def check_out(
        self, *, sku: str = "TSHIRT-M", deadline: float = 300.0
    ) -> tuple[SagaState, list[str]]:
        definition = a_checkout(
            lambda to: self.line if to is Participant.PAYMENT else SandboxGateway(self.sandbox, to),
            policy=PATIENT,
            compensation=PATIENT,
            deadline=deadline,
        )
        log = MemoryLog(self.clock)
        orchestrator = SagaOrchestrator(definition, log, clock=self.clock, jitter=the_most)
        saga_id = an_id()
        items = [{"sku": sku, "quantity": 1, "unit_price": 5}]
        state = await orchestrator.execute({**an_order(1, "window"), "items": items}, saga_id=saga_id)
        stored = await log.load(saga_id)
        assert stored is not None
        looked_up = [event.type.value for event in stored.events if event.data.get("looked_up")]
        return state, looked_up

    async def paid(self) -> bool:
        """Whether any money is with the merchant."""
        return any(row.effect for row in await self.sandbox.ledger.states() if row.service == "payment")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    sandbox, clock = Sandbox(), VirtualClock()
    yield Shop(sandbox, clock, Line(SandboxGateway(sandbox, Participant.PAYMENT), clock))
    await sandbox.aclose()


async def test_a_refund_that_happened_unheard_is_found_by_looking_up(shop: Shop) -> None:
    """The answers to the refund were lost for a day and a half: it is not sent again, it is asked about."""

    async def deaf_from_now_on() -> None:
        shop.line.deaf_until = 36 * HOUR

    shop.line.gateway = _Noticing(shop.line.gateway, on_delete=deaf_from_now_on)
    state, looked_up = await shop.check_out(sku="OUT-OF-STOCK-1")
    assert state.status is SagaStatus.COMPENSATED
    assert looked_up[-1] == EventType.STEP_COMPENSATED
    assert shop.line.oldest_key() < 23 * HOUR
    assert not await shop.paid()


async def test_a_refund_that_never_arrived_is_a_person_s_once_its_key_is_old(shop: Shop) -> None:
    """The money still stands: it shows as needs_attention, and nothing is sent a second time blindly."""

    async def down_from_now_on() -> None:
        shop.line.down_until = 36 * HOUR
        raise StepUnavailable("down")

    shop.line.gateway = _Noticing(shop.line.gateway, on_delete=down_from_now_on)
    state, looked_up = await shop.check_out(sku="OUT-OF-STOCK-1")
    assert state.status is SagaStatus.NEEDS_ATTENTION
    assert looked_up[-1] == EventType.COMPENSATION_FAILED
    error = state.step("payment").compensation
    assert error is not None
    assert error.error is not None
    assert error.error["code"] == "key_expired"
    assert shop.line.oldest_key() < 23 * HOUR
    assert await shop.paid()


async def test_a_charge_whose_answer_was_lost_for_a_day_is_found_and_goes_on(shop: Shop) -> None:
    """Where the saga's deadline is that far away; it is never charged under an old key."""
    shop.line.deaf_until = 30 * HOUR
    state, looked_up = await shop.check_out(deadline=100 * HOUR)
    assert state.status is SagaStatus.COMPLETED
    assert looked_up[-1] == EventType.STEP_SUCCEEDED
    assert shop.line.oldest_key() < 23 * HOUR


async def test_a_charge_that_never_arrived_is_closed_once_its_key_is_old(shop: Shop) -> None:
    """It may still be on its way: its compensation, under a key of its own, sees to it that it comes to nothing."""
    shop.line.down_until = 30 * HOUR
    state, _ = await shop.check_out(deadline=100 * HOUR)
    assert state.status is SagaStatus.COMPENSATED
    assert state.failure is not None
    assert state.failure.code == "key_expired"
    assert shop.line.oldest_key() < 23 * HOUR
    assert not await shop.paid()


class _Noticing:
    """A gateway that tells when the first delete comes."""

    def __init__(self, gateway: Gateway, *, on_delete: Callable[[], Awaitable[None]]) -> None:
        self._gateway = gateway
        self._on_delete = on_delete
        self._noticed = False
        self.put, self.get = gateway.put, gateway.get
        self.capture, self.aclose = gateway.capture, gateway.aclose

    async def delete(self, call: Call) -> JsonObject:
        if not self._noticed:
            self._noticed = True
            await self._on_delete()
        return await self._gateway.delete(call)
