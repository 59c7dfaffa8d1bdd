"""The port to a service: every gateway passes these cases, in this process and over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from app.saga.model.errors import FailureKind, StepError, StepOutcomeUnknown, StepRejected, StepUnavailable
from app.sandbox import Ledger
from app.sandbox.server import sandbox_app
from app.services import Call, Closed, Gateway, GatewayVerb, HttpGateway, Participant, Sandbox, SandboxGateway
from tests.builders import VirtualClock, an_id
from tests.unit.gateway.network import serving

LINES = [{"sku": "TSHIRT-M", "quantity": 2}]
BODIES: dict[Participant, dict[str, Any]] = {
    Participant.PAYMENT: {
        "order_id": "ord-1",
        "customer_id": "cus-7",
        "amount": 3998,
        "currency": "EUR",
        "payment_method": "tok_visa",
        "capture": "immediate",
    },
    Participant.INVENTORY: {"order_id": "ord-1", "items": LINES},
    Participant.SHIPPING: {"order_id": "ord-1", "items": LINES, "address": {"country": "FR"}},
}
EFFECTS = {
    Participant.PAYMENT: {"EUR": 3998},
    Participant.INVENTORY: {"TSHIRT-M": 2},
    Participant.SHIPPING: {"parcels": 1},
}
UNDONE = {
    Participant.PAYMENT: "refunded",
    Participant.INVENTORY: "released",
    Participant.SHIPPING: "cancelled",
}
REFUSALS = {
    Participant.PAYMENT: "card_declined",
    Participant.INVENTORY: "out_of_stock",
    Participant.SHIPPING: "address_unserviceable",
}


class Outside:
    """A service, the gateway to it, and what it knows."""

    def __init__(self, gateway: Gateway, service: Participant, sandbox: Sandbox, clock: VirtualClock) -> None:
        self.gateway = gateway
        self.service = service
        self.sandbox = sandbox
        self.clock = clock
        self.reference = an_id()
        self.body = dict(BODIES[service])

    def call(self, action: GatewayVerb, simulate: str | None = None) -> Call:
        return Call.to(self.service, action, reference=self.reference, simulate=simulate)

    async def put(self, fault: str | None = None, **changes: Any) -> dict[str, Any]:
        simulate = f"{self.service}.execute={fault}" if fault else None
        return await self.gateway.put(self.call(GatewayVerb.EXECUTE, simulate), {**self.body, **changes})

    async def delete(self, fault: str | None = None) -> dict[str, Any]:
        simulate = f"{self.service}.compensate={fault}" if fault else None
        return await self.gateway.delete(self.call(GatewayVerb.COMPENSATE, simulate))

    async def get(self) -> dict[str, Any] | Closed | None:
        return await self.gateway.get(self.call(GatewayVerb.EXECUTE))

    async def capture(self, fault: str | None = None) -> dict[str, Any]:
        simulate = f"{self.service}.confirm={fault}" if fault else None
        return await self.gateway.capture(self.call(GatewayVerb.CONFIRM, simulate))

    async def effect(self) -> dict[str, int]:
        """Return what the reference has come to, from the service's own entries."""
        states = [s for s in await self.sandbox.ledger.states() if s.reference == self.reference]
        return states[0].effect if states else {}

    async def phases(self) -> list[str]:
        return [record.phase for record in await self.sandbox.ledger.records()]


@pytest.fixture(params=["sandbox", "workers", "file", "http"])
async def build(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[Participant], Awaitable[Outside]]]:
    """Give what makes a service with a gateway to it."""
    async with AsyncExitStack() as stack:

        async def make(service: Participant) -> Outside:
            clock = VirtualClock(self_winding=False)
            database = str(tmp_path / f"{service}.db") if request.param == "file" else ":memory:"
            shared_by = str(tmp_path / f"{service}.books") if request.param == "workers" else None
            ledger = Ledger(database, stock={"RARE": 1}, shared_by=shared_by)
            sandbox = Sandbox(ledger, sleep=clock.sleep)
            stack.push_async_callback(sandbox.aclose)
            gateway: Gateway = SandboxGateway(sandbox, service)
            if request.param == "http":
                # A silent service answers 504 at once, as a proxy's time-out would, so that no test waits.
                url = await stack.enter_async_context(serving(sandbox_app(service, sandbox, hang_seconds=0)))
                gateway = HttpGateway(service, url, timeout=30, forward_simulate=True)
            stack.push_async_callback(gateway.aclose)
            return Outside(gateway, service, sandbox, clock)

        yield make


Build = Callable[[Participant], Awaitable[Outside]]


@pytest.fixture(params=list(Participant))
async def outside(request: pytest.FixtureRequest, build: Build) -> Outside:
    """Give each service in turn."""
    return await build(request.param)


async def error_of(asked: Awaitable[Any]) -> StepError:
    with pytest.raises(StepError) as caught:
        await asked
    return caught.value


async def test_a_put_does_the_work_once_however_often_it_is_sent(outside: Outside) -> None:
    assert await outside.put() == await outside.put() == await outside.get()
    assert await outside.effect() == EFFECTS[outside.service]
    assert (await outside.phases()).count("applied") == 1


async def test_a_reference_belongs_to_one_body(outside: Outside) -> None:
    await outside.put()
    error = await error_of(outside.put(order_id="another"))
    assert isinstance(error, StepRejected)
    assert (error.code, error.kind) == ("reference_reused", FailureKind.UNUSABLE)
    assert await outside.effect() == EFFECTS[outside.service]


async def test_the_members_order_makes_no_other_body(outside: Outside) -> None:
    first = await outside.put()
    outside.body = dict(reversed(outside.body.items()))
    assert await outside.put() == first


async def test_the_spelling_of_a_number_makes_no_other_body(outside: Outside) -> None:
    outside.body = {**outside.body, "metadata": {"weight": 1, "depth": 0}}
    first = await outside.put()
    outside.body = {**outside.body, "metadata": {"weight": 1.0, "depth": -0.0}}
    assert await outside.put() == first


async def test_a_delete_undoes_however_often_it_is_sent(outside: Outside) -> None:
    await outside.put()
    assert await outside.delete() == await outside.delete() == {"status": UNDONE[outside.service]}
    assert await outside.effect() == {}


async def test_an_empty_compensation_succeeds_and_closes(outside: Outside) -> None:
    assert await outside.delete() == await outside.delete() == {"status": "closed"}
    error = await error_of(outside.put())
    assert isinstance(error, StepRejected)
    assert error.code == "reference_closed"
    assert await outside.effect() == {}


async def test_a_look_up_tells_nothing_then_what_stands_then_closed(outside: Outside) -> None:
    assert await outside.get() is None
    stands = await outside.put()
    assert await outside.get() == stands
    await outside.delete()
    assert await outside.get() == Closed()


async def test_a_refusal_is_definite_and_without_effect(outside: Outside) -> None:
    error = await error_of(outside.put("rejected:1"))
    assert isinstance(error, StepRejected)
    assert (error.code, error.kind) == (REFUSALS[outside.service], FailureKind.REFUSED)
    assert await outside.effect() == {}
    await outside.put("rejected:1")


async def test_what_stands_is_never_refused(outside: Outside) -> None:
    stands = await outside.put()
    assert await outside.put("rejected") == stands


async def test_a_service_that_is_down_comes_back(outside: Outside) -> None:
    for _ in range(2):
        error = await error_of(outside.put("unavailable:2"))
        assert isinstance(error, StepUnavailable | StepOutcomeUnknown)
        assert (error.code, error.kind) == ("unavailable", FailureKind.UNAVAILABLE)
    assert await outside.effect() == {}
    await outside.put("unavailable:2")
    assert await outside.effect() == EFFECTS[outside.service]


@pytest.mark.parametrize("fault", ["timeout_before_effect:1", "timeout_after_effect:1"])
async def test_a_time_out_leaves_the_outcome_unknown_until_it_is_sent_again(
    outside: Outside, fault: str
) -> None:
    error = await error_of(outside.put(fault))
    assert isinstance(error, StepOutcomeUnknown)
    assert (error.code, error.kind) == ("timeout", FailureKind.TIMEOUT)
    assert await outside.effect() == (EFFECTS[outside.service] if "after" in fault else {})
    await outside.put(fault)
    assert await outside.effect() == EFFECTS[outside.service]


async def test_a_late_effect_comes_later(outside: Outside) -> None:
    error = await error_of(outside.put("late_effect:1"))
    assert isinstance(error, StepOutcomeUnknown)
    assert error.kind is FailureKind.TIMEOUT
    assert await outside.effect() == {}
    outside.clock.advance(2)
    await outside.sandbox.settled()
    assert await outside.effect() == EFFECTS[outside.service]


async def test_a_late_effect_comes_to_nothing_once_the_reference_is_closed(outside: Outside) -> None:
    await error_of(outside.put("late_effect:1"))
    await outside.delete()
    outside.clock.advance(2)
    await outside.sandbox.settled()
    assert await outside.effect() == {}
    assert await outside.get() == Closed()


async def test_a_compensation_of_unknown_outcome_can_be_sent_again(outside: Outside) -> None:
    await outside.put()
    error = await error_of(outside.delete("timeout_after_effect:1"))
    assert isinstance(error, StepOutcomeUnknown)
    assert await outside.delete("timeout_after_effect:1") == {"status": UNDONE[outside.service]}


async def test_what_is_not_reversible_needs_a_person(outside: Outside) -> None:
    await outside.put()
    error = await error_of(outside.delete("not_reversible:1"))
    assert isinstance(error, StepRejected)
    assert (error.code, error.kind) == ("not_reversible", FailureKind.UNUSABLE)
    assert await outside.effect() == EFFECTS[outside.service]
    await outside.delete("not_reversible:1")
    assert await outside.effect() == {}


async def test_a_body_that_breaks_the_contract_is_our_fault(outside: Outside) -> None:
    for changes in ({"order_id": 7}, {"order_id": None}, {"order_id": "\ud800"}):
        error = await error_of(outside.put(**changes))
        assert isinstance(error, StepRejected)
        assert (error.code, error.kind) == ("invalid_request", FailureKind.UNUSABLE)
        assert "order_id" in str(error)


async def test_a_simulation_that_cannot_be_read_is_rejected(outside: Outside) -> None:
    error = await error_of(outside.put("nonsense"))
    assert isinstance(error, StepRejected)
    assert error.code == "bad_simulation"


async def test_every_request_is_recorded_with_its_key(outside: Outside) -> None:
    await outside.put()
    await outside.delete()
    records = await outside.sandbox.ledger.records()
    assert [(r.phase, r.action, r.status) for r in records] == [
        ("arrived", "execute", None),
        ("applied", "execute", None),
        ("replied", "execute", 201),
        ("arrived", "compensate", None),
        ("applied", "compensate", None),
        ("replied", "compensate", 200),
    ]
    keys = {r.idempotency_key for r in records}
    assert keys == {f"{outside.reference}:{outside.service}:{a}" for a in ("execute", "compensate")}


@pytest.mark.parametrize("reference", ["a/b", "a?b#c", "a%2Fb", "A..", "x~"])
async def test_any_reference_that_can_be_sent_arrives_as_it_is(outside: Outside, reference: str) -> None:
    outside.reference = reference
    await outside.put()
    assert [s.reference for s in await outside.sandbox.ledger.states()] == [reference]


async def test_a_deferred_payment_is_held_then_captured_however_often(build: Build) -> None:
    outside = await build(Participant.PAYMENT)
    assert (await outside.put(capture="deferred"))["status"] == "authorized"
    error = await error_of(outside.capture("timeout_after_effect:1"))
    assert isinstance(error, StepOutcomeUnknown)
    assert (await outside.capture())["status"] == "captured"
    assert (await outside.put(capture="deferred"))["status"] == "captured"
    assert await outside.delete() == {"status": "refunded"}
    assert isinstance(await error_of(outside.capture()), StepRejected)


async def test_a_held_payment_is_voided(build: Build) -> None:
    outside = await build(Participant.PAYMENT)
    await outside.put(capture="deferred")
    assert await outside.delete() == {"status": "voided"}


async def test_nothing_can_be_captured_where_nothing_stands(build: Build) -> None:
    outside = await build(Participant.PAYMENT)
    assert isinstance(await error_of(outside.capture()), StepRejected)


@pytest.mark.parametrize(
    ("service", "changes"),
    [
        (Participant.PAYMENT, {"payment_method": "tok_declined"}),
        (Participant.INVENTORY, {"items": [*LINES, {"sku": "OUT-OF-STOCK-1", "quantity": 1}]}),
        (Participant.INVENTORY, {"items": [{"sku": "RARE", "quantity": 1}, {"sku": "RARE", "quantity": 1}]}),
        (Participant.SHIPPING, {"address": {"country": "XX"}}),
    ],
)
async def test_the_order_itself_can_ask_for_a_refusal(
    build: Build, service: Participant, changes: dict[str, Any]
) -> None:
    outside = await build(service)
    error = await error_of(outside.put(**changes))
    assert (error.code, error.kind) == (REFUSALS[service], FailureKind.REFUSED)
    assert await outside.effect() == {}


async def test_stock_runs_out_and_comes_back(build: Build) -> None:
    outside = await build(Participant.INVENTORY)
    outside.body["items"] = [{"sku": "RARE", "quantity": 1}]
    await outside.put()
    first, outside.reference = outside.reference, an_id()
    assert (await error_of(outside.put())).code == "out_of_stock"
    outside.reference, second = first, outside.reference
    await outside.delete()
    outside.reference = second
    await outside.put()


@pytest.mark.parametrize("reference", ["", "x" * 65, "..", "a b", "ü", "-x", "a\n"])
def test_a_reference_that_cannot_be_sent_is_rejected_before_it_is(reference: str) -> None:
    with pytest.raises(StepRejected) as caught:
        Call.to(Participant.PAYMENT, GatewayVerb.EXECUTE, reference=reference)
    assert (caught.value.code, caught.value.kind) == ("invalid_reference", FailureKind.UNUSABLE)
