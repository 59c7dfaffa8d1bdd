"""Traces: one tree for each saga, in its caller's trace, over takeovers, and never in a saga's way."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, StatusCode
from uuid_utils import uuid7

from app.saga import NewSaga, SagaStatus, StepOutcomeUnknown, StepRejected
from app.saga.model.step import Context
from app.telemetry.trace_context import first_span_of, trace_id_of
from app.telemetry.traces import Traces
from tests.builders import HANG, a_saga, settle
from tests.unit.telemetry.traced import House, Replica

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
PATIENCE = 60.0


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext = span.context
    return context


def hexes(span: ReadableSpan) -> tuple[str, str]:
    """Return a span's trace and its own id."""
    return f"{context_of(span).trace_id:032x}", f"{context_of(span).span_id:016x}"


def told(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("checkout."): value for name, value in (span.attributes or {}).items()}


async def run(replica: Replica, **members: Any) -> NewSaga:
    """Run a new saga to its end."""
    saga = a_saga(**members)
    await replica.runner.launch(saga).wait_done(PATIENCE)
    await settle()
    return saga


async def test_a_saga_is_a_tree_of_its_run_and_its_calls() -> None:
    """Each attempt and each compensation below the run, in the trace that the saga's id names."""
    house = House()
    refused = StepRejected("No.", code="address_unserviceable")
    replica = house.a_replica(payment=[StepOutcomeUnknown("?", code="timeout")], shipping=[refused])
    saga = await run(replica, id=str(uuid7()))
    root = replica.span("checkout")
    assert hexes(root) == (uuid.UUID(saga.id).hex, first_span_of(saga.id))
    assert root.parent is None
    assert told(root) == {
        "saga": saga.id,
        "resumed": False,
        "outcome": "compensated",
        "error.type": "address_unserviceable",
    }
    calls = [span for span in replica.spans if span is not root]
    assert [(s.name, told(s)["attempt"], told(s)["outcome"], told(s).get("error.type")) for s in calls] == [
        ("payment.execute", 1, "retried", "timeout"),
        ("payment.execute", 2, "succeeded", None),
        ("inventory.execute", 1, "succeeded", None),
        ("shipping.execute", 1, "failed", "address_unserviceable"),
        ("inventory.compensate", 1, "succeeded", None),
        ("payment.compensate", 1, "succeeded", None),
    ]
    for span in calls:
        assert span.parent is not None
        assert span.parent.span_id == context_of(root).span_id
        assert context_of(span).trace_id == context_of(root).trace_id
        assert root.start_time is not None and root.end_time is not None  # noqa: PT018
        assert span.start_time is not None and span.end_time is not None  # noqa: PT018
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time
        assert (span.status.status_code is StatusCode.ERROR) is (
            told(span)["outcome"] in {"retried", "failed"}
        )


async def test_a_given_trace_is_the_sagas_and_the_caller_its_parent() -> None:
    """Whoever called sees the checkout below its own span."""
    replica = House().a_replica()
    await run(replica, input={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    root = replica.span("checkout")
    assert hexes(root)[0] == TRACE
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == CALLER
    assert {hexes(span)[0] for span in replica.spans} == {TRACE}


async def test_a_call_carries_the_span_that_the_trace_shows_for_it() -> None:
    """So that what the service traces stands below it; two calls of one step stand below the same."""
    sent: list[str | None] = []

    async def calling(_context: Context) -> None:
        sent.extend([replica.traces.header(), replica.traces.header()])

    replica = House().a_replica(payment=[calling], inventory=[calling])
    saga = await run(replica, input={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert saga.id
    headers = [f"00-{trace}-{span}-01" for trace, span in map(hexes, replica.spans[:2])]
    assert sent == [headers[0], headers[0], headers[1], headers[1]]
    assert replica.traces.header() is None


async def test_a_caller_that_is_not_sampled_leaves_no_span_and_services_hear_so() -> None:
    """The flag goes on as it came."""
    sent: list[str | None] = []

    async def calling(_context: Context) -> None:
        sent.append(replica.traces.header())

    replica = House().a_replica(payment=[calling])
    await run(replica, input={"traceparent": f"00-{TRACE}-{CALLER}-00"})
    assert replica.spans == ()
    (header,) = sent
    assert header is not None
    assert header.startswith(f"00-{TRACE}-")
    assert header.endswith("-00")


@pytest.mark.parametrize("header", [None, f"00-{TRACE}-{CALLER}-01"])
async def test_who_takes_a_saga_over_links_to_its_first_run(header: str | None) -> None:
    """Of a process that was killed nobody may have got the end of its span, so no span can be its child."""
    house = House()
    first, other = house.a_replica(inventory=[HANG]), house.a_replica()
    saga = a_saga(id=str(uuid7()), input={"traceparent": header} if header else {})
    first.runner.launch(saga)
    await settle()
    await first.runner.drop()
    await house.log.release("local")
    await house.log.renew("other", seconds=10.0)
    (stored,) = await house.log.claim(owner="other", definitions=[("checkout", 2)], limit=10)
    await other.runner.resume(stored).wait_done(PATIENCE)
    await settle()
    assert told(first.span("checkout"))["outcome"] == "left"
    again = other.span("checkout")
    assert (told(again)["resumed"], told(again)["outcome"]) == (True, "completed")
    (link,) = again.links
    assert link.context.trace_id == context_of(first.span("checkout")).trace_id
    assert link.context.span_id == context_of(first.span("checkout")).span_id
    assert hexes(again)[0] == hexes(first.span("checkout"))[0] == trace_id_of(header, saga.id)
    assert hexes(again)[1] != hexes(first.span("checkout"))[1]
    assert {span.name for span in other.spans} == {"checkout", "inventory.execute", "shipping.execute"}


async def test_a_run_that_gives_its_saga_back_until_later_says_so() -> None:
    """Parked is not lost."""
    down = StepOutcomeUnknown("Later.", retry_after=8.0)
    replica = House().a_replica(park_after=1.0, payment=[down])
    await run(replica)
    assert told(replica.span("checkout"))["outcome"] == "parked"


async def test_a_saga_that_was_never_stored_leaves_no_trace() -> None:
    """A repeat under the same order, for example."""
    replica = House().a_replica(shipping=[HANG])
    saga = a_saga()
    replica.runner.launch(saga)
    await settle()
    await run(replica, order_id=saga.order_id)
    await replica.runner.drop()
    assert {told(span)["saga"] for span in replica.spans} == {saga.id}


async def test_a_saga_that_needs_attention_is_an_error() -> None:
    """It is what one looks for."""
    never = [StepRejected("Never.", code="not_reversible")]
    replica = House().a_replica(shipping=[StepRejected("No.")], undo_payment=never)
    await run(replica)
    root = replica.span("checkout")
    assert (told(root)["outcome"], root.status.status_code) == ("needs_attention", StatusCode.ERROR)


async def test_no_span_tells_what_a_customer_entrusted_to_the_saga() -> None:
    """Nor what a service said in words."""
    house = House()
    replica = house.a_replica(
        payment=[StepOutcomeUnknown("Ada Lovelace did not answer."), {"payment_id": "Ada"}],
        shipping=[StepRejected("Ada has moved.")],
    )
    await run(replica, input={"shipping_address": {"name": "Ada"}, "customer_id": "Ada", "order_id": "Ada"})
    text = "".join(span.to_json() for span in replica.spans)
    assert "payment.execute" in text
    assert "Ada" not in text


async def test_traces_that_break_down_harm_no_saga(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watching never harms a saga."""

    def broken(*_args: object, **_named: object) -> None:
        raise RuntimeError

    for name in ("_begun", "_end", "observe"):
        monkeypatch.setattr(Traces, name, broken)
    replica = House().a_replica()
    running = replica.runner.launch(a_saga())
    await running.wait_done(PATIENCE)
    assert running.instance.state.status is SagaStatus.COMPLETED


async def test_a_share_of_the_sagas_is_sampled_whatever_their_ids_begin_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A saga's id begins with the time, and half its other bits are fixed places: a plain ratio would see that."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    replica = House().a_replica()
    for number in range(200):
        await run(replica, id=f"01a208a2-b4aa-7ab8-a464-{number:012x}")
    roots = [span for span in replica.spans if span.name == "checkout"]
    assert 25 <= len(roots) <= 75
    assert len(replica.spans) == 4 * len(roots)


async def test_what_is_left_is_sent_at_the_end() -> None:
    """The exporter is told that it is over."""
    replica = House().a_replica()
    await run(replica)
    await replica.traces.close()
    await run(replica)
    assert len(replica.spans) == 4
