"""POST /checkout, row by row of the contract's table of answers."""

from __future__ import annotations

import asyncio
import inspect
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.routing import APIRoute

from app.api import ApiSettings
from app.api.routes import checkout
from app.saga import Context, FailureKind, LogUnavailable, StepOutcomeUnknown, StepRejected, StepUnavailable
from app.saga.ports.queries import BacklogStats
from app.telemetry.metrics import Metrics
from tests.builders import HANG, Answer, settle, times
from tests.unit.api.served import ListedLog, an_order, problem, served


def gate() -> tuple[asyncio.Event, Answer]:
    """Return a step's answer that comes once the event is set."""
    opened = asyncio.Event()

    async def answer(context: Context) -> dict[str, Any]:
        await opened.wait()
        return {"payment_id": context["saga_id"]}

    return opened, answer


async def no_backlog() -> BacklogStats:
    raise LogUnavailable("There is no database.")


async def test_a_completed_checkout_is_201_with_the_saga_and_its_place() -> None:
    async with served() as api:
        answer = await api.post()
        saga = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/sagas/{saga['id']}"
        assert answer.headers["cache-control"] == "no-store"
        assert list(saga) == [
            "id", "definition", "version", "status", "order_id", "customer_id", "amount", "currency", "created_at",
            "updated_at", "finished_at", "next_action_at", "failure", "attention", "cancel", "steps", "trail",
        ]  # fmt: skip
        assert (saga["status"], saga["amount"], saga["currency"]) == ("completed", 3998, "EUR")
        assert [step["status"] for step in saga["steps"]] == ["succeeded"] * 3
        assert [line["event"] for line in saga["trail"]] == [
            "saga_started", "step_succeeded", "step_succeeded", "step_succeeded", "saga_completed",
        ]  # fmt: skip
        assert saga["next_action_at"] is None
        assert saga["failure"] is None
        assert saga["finished_at"] == saga["updated_at"] == saga["trail"][-1]["at"]
        assert saga["created_at"].endswith("Z")


def test_the_endpoint_needs_nothing_that_the_framework_would_have_to_solve() -> None:
    """It is called past the router: a dependency, or a parameter beside the request, would be left out."""
    (route,) = checkout.router.routes
    assert isinstance(route, APIRoute)
    assert list(inspect.signature(route.endpoint).parameters) == ["request"]
    assert route.dependencies == []


async def test_nothing_that_was_entrusted_is_shown() -> None:
    async with served() as api:
        shown = (await api.post(an_order(metadata={"note": "for-us-only"}))).text
        for secret in ("tok_visa", "1 Main St", "Ada L.", "for-us-only", "TSHIRT-M"):
            assert secret not in shown


async def test_the_steps_get_the_whole_order() -> None:
    async with served() as api:
        await api.post(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        context = api.payment.executed[0]
        assert context["amount"] == 3998
        assert context["payment_method"] == "tok_visa"
        assert context["shipping_address"]["line2"] is None
        assert context["metadata"] == {"campaign": "spring"}
        assert context["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


UNUSABLE = StepOutcomeUnknown("The service answered 500.", code="unusable_answer", kind=FailureKind.UNUSABLE)
TIMED_OUT = StepOutcomeUnknown("No answer within 5 s.", code="timeout", kind=FailureKind.TIMEOUT)


@pytest.mark.parametrize(
    ("step", "answers", "status", "name", "code"),
    [
        ("payment", [StepRejected("No.", code="card_declined")], 402, "payment_declined", "card_declined"),
        (
            "payment",
            [StepRejected("No.", code="insufficient_funds")],
            402,
            "payment_declined",
            "insufficient_funds",
        ),
        ("inventory", [StepRejected("No.", code="out_of_stock")], 409, "inventory_refused", "out_of_stock"),
        (
            "shipping",
            [StepRejected(code="address_unserviceable")],
            422,
            "shipping_refused",
            "address_unserviceable",
        ),
        ("payment", times(2, UNUSABLE), 502, "unusable_answer", "unusable_answer"),
        ("inventory", times(2, StepUnavailable()), 503, "service_unavailable", "unavailable"),
        ("shipping", times(2, TIMED_OUT), 504, "service_timeout", "timeout"),
    ],
)
async def test_a_failed_checkout_is_a_problem_that_says_who_failed_and_carries_the_saga(
    step: str, answers: list[Answer], status: int, name: str, code: str
) -> None:
    async with served(script={step: answers}) as api:
        answer = await api.post(X_Request_ID="req-1")
        body = problem(answer, status, name, code)
        assert body["saga"]["status"] == "compensated"
        assert body["saga"]["failure"]["step"] == step
        assert body["saga"]["failure"]["code"] == code
        assert body["saga"]["failure"]["retryable"] is (status > 500)
        assert body["request_id"] == "req-1"
        assert body["instance"] == answer.headers["location"] == f"/sagas/{body['saga']['id']}"
        assert ("retry-after" in answer.headers) is (status == 503)
        assert "Idempotency-Key" in body["detail"]


async def test_a_checkout_past_its_deadline_is_504() -> None:
    async with served(payment=[StepUnavailable(retry_after=8)]) as api:
        object.__setattr__(api.definition, "deadline", 1.0)
        problem(await api.post(), 504, "deadline_exceeded")


async def test_a_checkout_still_running_when_the_wait_ends_is_202() -> None:
    async with served(ApiSettings(wait_seconds=0), payment=[HANG]) as api:
        answer = await api.post()
        assert answer.status_code == 202
        assert answer.json()["status"] == "running"
        assert answer.json()["next_action_at"] is not None
        assert answer.headers["location"] == f"/sagas/{answer.json()['id']}"
        assert answer.headers["retry-after"] == "1"


async def test_a_saga_that_needs_attention_is_202_at_once_and_says_so() -> None:
    async with served(inventory=[StepRejected()], undo_payment=[StepRejected(code="not_reversible")]) as api:
        answer = await api.post()
        assert answer.status_code == 202
        assert answer.json()["status"] == "needs_attention"
        assert answer.json()["finished_at"] is None
        assert answer.json()["steps"][0]["compensation"]["error"]["code"] == "not_reversible"
        assert int(answer.headers["retry-after"]) > 1


async def test_respond_async_answers_as_soon_as_the_saga_is_durable() -> None:
    opened, waits = gate()
    async with served(payment=[waits]) as api:
        answer = await api.post(Prefer="respond-async")
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == "respond-async"
        assert answer.json()["status"] == "running"
        opened.set()
        url = answer.headers["location"]
        assert (await api.get(url, Prefer="wait=5")).json()["status"] == "completed"


async def test_wait_is_capped_and_says_so() -> None:
    async with served(ApiSettings(max_wait_seconds=0), payment=[HANG]) as api:
        answer = await api.post(Prefer="wait=1000000000000")
        assert answer.status_code == 202
        assert answer.headers["preference-applied"] == "wait=0"


async def test_a_second_checkout_of_a_stuck_order_is_told_what_the_first_waits_for() -> None:
    """Following it would be in vain until an operator has acted."""
    no = StepRejected("Too late.", code="too_late")
    async with served(shipping=[no], undo_payment=[no]) as api:
        first = (await api.post()).json()
        body = problem(await api.post(), 409, "order_in_checkout")
        assert f"It waits for an operator: {first['attention']['message']} " in body["detail"]


async def test_a_second_checkout_of_a_running_order_points_at_the_first() -> None:
    async with served(payment=[HANG]) as api:
        first = await api.post(key="tab-1", Prefer="respond-async")
        second = await api.post(key="tab-2")
        body = problem(second, 409, "order_in_checkout")
        assert body["saga_url"] == second.headers["location"] == first.headers["location"]
        assert len(api.log.ids) == 1


async def test_a_second_checkout_of_a_completed_order_points_at_the_first() -> None:
    async with served() as api:
        first = await api.post(key="tab-1")
        body = problem(await api.post(key="webhook"), 409, "order_already_checked_out")
        assert body["saga_url"] == first.headers["location"]
        assert api.sends.count("payment.execute") == 1


async def test_after_a_compensated_checkout_the_order_can_be_tried_again_under_a_new_key() -> None:
    async with served(payment=[StepRejected(code="card_declined")]) as api:
        assert (await api.post(key="first")).status_code == 402
        assert (await api.post(key="second")).status_code == 201


async def test_over_the_limit_no_body_is_read_and_no_saga_made() -> None:
    read: list[bytes] = []

    async def noted() -> AsyncIterator[bytes]:
        read.append(b"{}")
        yield b"{}"

    async with served(ApiSettings(max_in_flight=1), payment=[HANG]) as api:
        await api.post(key="k", Prefer="respond-async")
        answer = await api.client.post(
            "/checkout", content=noted(), headers={"Content-Type": "application/json"}
        )
        problem(answer, 503, "over_capacity")
        assert answer.headers["retry-after"] == "1"
        assert (len(api.log.ids), read) == (1, [])


async def test_over_the_limit_a_repeat_whose_saga_runs_here_is_recognised() -> None:
    """It starts nothing, and who repeats it wants to know what became of it."""
    async with served(ApiSettings(max_in_flight=1), payment=[HANG]) as api:
        first = await api.post(key="k", Prefer="respond-async")
        problem(await api.post(an_order(order_id="other"), key="other"), 503, "over_capacity")
        repeated = await api.post(key='"k"')  # which waits for the outcome
        assert (repeated.status_code, repeated.headers["idempotent-replayed"]) == (201, "true")
        assert repeated.json()["id"] == first.json()["id"]
        assert len(api.log.ids) == 1


async def test_over_the_limit_a_key_of_another_caller_is_no_repeat() -> None:
    async with served(ApiSettings(max_in_flight=1), payment=[HANG]) as api:
        await api.post(key="k", Prefer="respond-async")
        runs_key = api.service.runs_key
        api.app.state.service = replace(
            api.service, runs_key=lambda key, caller: runs_key(key, None if caller is None else "another")
        )
        problem(await api.post(an_order(order_id="other"), key="k"), 503, "over_capacity")


async def test_a_checkout_that_is_being_made_durable_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And every place is given: two sagas at a limit of two."""
    stored = asyncio.Event()
    start = ListedLog.start

    async def slow(log: ListedLog, *given: Any, **more: Any) -> Any:
        await stored.wait()
        return await start(log, *given, **more)

    monkeypatch.setattr(ListedLog, "start", slow)
    async with served(ApiSettings(max_in_flight=2)) as api:
        placed = [asyncio.create_task(api.post(an_order(order_id=f"o{n}"))) for n in range(3)]
        await settle()
        stored.set()
        answers = [(await one).status_code for one in placed]
        assert sorted(answers) == [201, 201, 503]


async def test_a_full_house_says_so_to_who_may_ask_and_counts_it_as_a_checkout() -> None:
    metrics = Metrics(steps=[], problems=["over_capacity"], backlog=no_backlog)
    async with served(ApiSettings(max_in_flight=1), payment=[HANG]) as api:
        api.app.state.service = replace(api.service, metrics=metrics)
        await api.post(key="k", Prefer="respond-async")
        answer = await api.post(X_Request_ID="mine")
        assert problem(answer, 503, "over_capacity")["request_id"] == "mine"
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["x-content-type-options"] == "nosniff"
        count = metrics.registry.get_sample_value
        assert count("checkout_problems_total", {"problem": "over_capacity"}) == 1
        labels = {"route": "/checkout", "method": "POST", "status": "5xx"}
        assert count("checkout_http_requests_total", labels) == 1


async def test_a_full_house_still_plans_and_shows() -> None:
    async with served(ApiSettings(max_in_flight=1), payment=[HANG]) as api:
        saga = (await api.post(key="k", Prefer="respond-async")).json()
        assert (await api.client.post("/checkout?dry_run=true", json=an_order())).status_code == 200
        assert (await api.client.get(f"/sagas/{saga['id']}")).status_code == 200


async def test_checkouts_being_made_durable_count_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those whose body is on its way: see test_uploads."""
    stored = asyncio.Event()
    start = ListedLog.start

    async def slow(log: ListedLog, *given: Any, **more: Any) -> Any:
        await stored.wait()
        return await start(log, *given, **more)

    monkeypatch.setattr(ListedLog, "start", slow)
    async with served(ApiSettings(max_in_flight=1)) as api:
        first = asyncio.create_task(api.post())
        await settle()
        problem(await api.post(an_order(order_id="other")), 503, "over_capacity")
        stored.set()
        assert (await first).status_code == 201


async def test_a_draining_process_takes_no_new_checkout() -> None:
    async with served() as api:
        api.service.draining.set()
        answer = await api.post()
        problem(answer, 503, "shutting_down")
        assert "retry-after" in answer.headers
        assert api.stored_nothing()


async def test_a_body_that_outlasts_the_drain_begins_nothing() -> None:
    """It was admitted while the process was open, and isn't any more once it has come."""
    more = asyncio.Event()
    body = json.dumps(an_order()).encode()

    async def slow() -> AsyncIterator[bytes]:
        yield body[:10]
        await more.wait()
        yield body[10:]

    async with served() as api:
        sent = asyncio.create_task(
            api.client.post("/checkout", content=slow(), headers={"Content-Type": "application/json"})
        )
        await settle()
        api.service.draining.set()
        more.set()
        problem(await sent, 503, "shutting_down")
        assert api.stored_nothing()


async def test_a_closing_process_answers_who_waits_with_how_the_saga_stands() -> None:
    async with served(payment=[HANG]) as api:
        waiting = asyncio.create_task(api.post())
        await settle()
        assert not waiting.done()
        api.service.closing.set()
        answer = await waiting
        assert (answer.status_code, answer.json()["status"]) == (202, "running")


async def test_a_dead_storage_says_that_nothing_was_stored() -> None:
    async with served() as api:
        api.log.broken = LogUnavailable()
        answer = await api.post(key="k")
        body = problem(answer, 503, "storage_unavailable")
        assert "Nothing was stored" in body["detail"]
        assert "retry-after" in answer.headers
        api.log.broken = None
        assert (await api.post(key="k")).status_code == 201


async def test_a_doubtful_storage_says_how_to_find_out() -> None:
    async with served() as api:
        api.log.broken = LogUnavailable(stored=None)
        assert (
            "same Idempotency-Key" in problem(await api.post(key="k"), 503, "storage_unavailable")["detail"]
        )
        assert "/sagas?order_id=" in problem(await api.post(), 503, "storage_unavailable")["detail"]


async def test_a_storage_that_dies_after_the_start_says_that_the_checkout_goes_on() -> None:
    async with served() as api:
        first = await api.post(key="k")
        load = api.log.load

        async def broken(saga_id: str) -> Any:
            await load(saga_id)
            raise LogUnavailable

        api.log.load = broken  # type: ignore[method-assign]
        body = problem(await api.post(key="k"), 503, "storage_unavailable")
        assert body["saga_url"] == first.headers["location"]


async def test_a_caller_who_hangs_up_does_not_harm_the_saga() -> None:
    opened, waits = gate()
    async with served(payment=[waits]) as api:
        request = asyncio.create_task(api.post(key="k"))
        await settle()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        opened.set()
        answer = await api.post(key="k")
        assert answer.status_code == 201
        assert api.sends.count("payment.execute") == 1


async def test_a_dry_run_answers_with_the_plan_and_does_nothing() -> None:
    async with served(ApiSettings(require_idempotency_key=True)) as api:
        answer = await api.post(url="/checkout?dry_run=true")
        plan = answer.json()
        assert answer.status_code == 200
        assert {**plan, "steps": []} == {
            "dry_run": True, "definition": "checkout", "version": 2, "order_id": "ord-1001", "amount": 3998,
            "currency": "EUR", "steps": [],
        }  # fmt: skip
        assert [step["name"] for step in plan["steps"]] == ["payment", "inventory", "shipping"]
        assert [step["kind"] for step in plan["steps"]] == ["compensatable", "compensatable", "pivot"]
        assert [step["undone_by"] for step in plan["steps"]] == [
            "payment.compensate", "inventory.compensate", "shipping.compensate",
        ]  # fmt: skip
        assert plan["steps"][0]["attempts"] == 2
        assert api.stored_nothing()


async def test_a_dry_run_validates() -> None:
    async with served() as api:
        problem(await api.post({}, url="/checkout?dry_run=true"), 422, "invalid_request")


@pytest.mark.parametrize(
    "query", ["dry_run=1", "dry_run=True", "dry_run=", "dryrun=true", "dry_run=true&dry_run=false"]
)
async def test_a_dry_run_that_is_not_certainly_one_never_charges(query: str) -> None:
    async with served() as api:
        body = problem(await api.post(url=f"/checkout?{query}"), 422, "invalid_request")
        assert body["errors"][0]["parameter"] in {"dry_run", "dryrun"}
        assert api.stored_nothing()


async def test_a_request_without_an_id_gets_one() -> None:
    async with served() as api:
        answer = await api.post({})
        assert uuid.UUID(answer.headers["x-request-id"]).version == 4
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ({}, 201, "completed"),
        ({"payment": [StepRejected("No.", code="card_declined")]}, 402, "compensated"),
        ({"inventory": [StepRejected()], "undo_payment": [StepRejected()]}, 202, "needs_attention"),
        ({"payment": [HANG]}, 202, "running"),
    ],
)
async def test_every_answer_about_a_saga_says_how_it_stands(
    script: dict[str, list[Answer]], status: int, said: str
) -> None:
    """So a client that polls can tell apart what goes on and what waits for an operator."""
    async with served(ApiSettings(wait_seconds=0.05), script=script) as api:
        answer = await api.post()
        assert (answer.status_code, answer.headers["saga-status"]) == (status, said)
        assert (await api.get(answer.headers["location"])).headers["saga-status"] == said
        assert (answer.headers.get("link") is not None) == (said == "needs_attention")
        other = problem(await api.post(), 409, "order_in_checkout") if status == 202 else None
        assert other is None or other["saga_url"] == answer.headers["location"]
