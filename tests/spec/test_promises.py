"""What a caller is promised, through HTTP, on the real service over either database with its sandbox."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from app.settings.settings import Settings
from app.values.canonical_json import as_written
from tests.in_process import a_service
from tests.processes import ADDRESS, an_order

Client = httpx.AsyncClient
Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def serve(database_url: str) -> Serve:
    """Give a way to run the service; run twice in a test, it finds what the first one left."""

    @asynccontextmanager
    async def served(**members: Any) -> AsyncIterator[Client]:
        quick = {"retry_base_seconds": 0.001, "retry_cap_seconds": 0.002, "sandbox_database": ":memory:"}
        settings = Settings(database_url=SecretStr(database_url), **{**quick, **members})
        async with a_service(settings, "http://checkout") as client:
            yield client

    return served


def trail(saga: dict[str, Any]) -> list[str]:
    """Return a saga's trail as one word an event, with its step."""
    return [f"{event['event']} {event.get('step', '')}".strip() for event in saga["trail"]]


async def test_given_all_goes_well_the_checkout_is_completed(serve: Serve) -> None:
    """Then each step ran once, and the saga can be read where the answer says."""
    async with serve() as client:
        answer = await client.post("/checkout", json=an_order("ord-1"))
        saga = answer.json()
        assert answer.status_code == 201
        assert (saga["amount"], saga["currency"]) == (3998, "EUR")
        assert trail(saga) == [
            "saga_started",
            "step_succeeded payment",
            "step_succeeded inventory",
            "step_succeeded shipping",
            "saga_completed",
        ]
        assert (await client.get(answer.headers["Location"])).json() == saga


@pytest.mark.parametrize(
    ("order", "status", "code", "undone"),
    [
        ({"payment_method": "tok_declined"}, 402, "card_declined", []),
        (
            {"items": [{"sku": "OUT-OF-STOCK-1", "quantity": 1, "unit_price": 1}]},
            409,
            "out_of_stock",
            ["payment"],
        ),
        (
            {"shipping_address": {**ADDRESS, "country": "XX"}},
            422,
            "address_unserviceable",
            ["inventory", "payment"],
        ),
    ],
)
async def test_given_a_service_says_no_all_that_was_done_is_undone_in_reverse(
    serve: Serve, order: dict[str, Any], status: int, code: str, undone: list[str]
) -> None:
    """Then the answer says why, and the step that was refused isn't undone: it did nothing."""
    async with serve() as client:
        answer = await client.post("/checkout", json=an_order("ord-1", **order))
        problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == problem["saga"]["failure"]["code"] == code
    assert problem["saga"]["status"] == "compensated"
    compensated = [e["step"] for e in problem["saga"]["trail"] if e["event"] == "step_compensated"]
    assert compensated == undone


@pytest.mark.parametrize(
    ("fault", "status", "ends", "undone"),
    [
        ("shipping.execute=unavailable", 503, "step_failed shipping", ["inventory", "payment"]),
        (
            "shipping.execute=timeout_before_effect",
            504,
            "step_unknown shipping",
            ["shipping", "inventory", "payment"],
        ),
        (
            "shipping.execute=timeout_after_effect",
            504,
            "step_unknown shipping",
            ["shipping", "inventory", "payment"],
        ),
        ("payment.execute=late_effect", 504, "step_unknown payment", ["payment"]),
    ],
)
async def test_given_a_service_gives_no_answer_what_may_have_happened_is_undone_too(
    serve: Serve, fault: str, status: int, ends: str, undone: list[str]
) -> None:
    """Then it was asked as often as the setting says; what certainly had no effect isn't undone."""
    async with serve() as client:
        answer = await client.post("/checkout", json=an_order("ord-1"), headers={"X-Simulate": fault})
    saga = answer.json()["saga"]
    assert answer.status_code == status
    assert ends in trail(saga)
    assert [e["step"] for e in saga["trail"] if e["event"] == "step_compensated"] == undone
    given_up = next(step for step in saga["steps"] if step["name"] == ends.split()[1])
    assert given_up["attempts"] == 4


async def test_given_an_answer_is_lost_once_the_step_is_asked_again_and_done_once(serve: Serve) -> None:
    """Then the checkout is completed, and its trail shows the attempt whose outcome was unknown."""
    async with serve() as client:
        headers = {"X-Simulate": "payment.execute=timeout_after_effect:1"}
        answer = await client.post("/checkout", json=an_order("ord-1"), headers=headers)
    assert answer.status_code == 201
    retried = [event for event in answer.json()["trail"] if event["event"] == "step_retried"]
    assert [(event["step"], event["outcome"]) for event in retried] == [("payment", "unknown")]
    assert answer.json()["steps"][0]["attempts"] == 2


async def test_given_a_compensation_fails_for_a_while_it_is_asked_until_it_succeeds(serve: Serve) -> None:
    """The contract's own example of X-Simulate."""
    async with serve() as client:
        headers = {"X-Simulate": "shipping.execute=timeout_after_effect, payment.compensate=unavailable:2"}
        answer = await client.post("/checkout", json=an_order("ord-1"), headers=headers)
    assert answer.status_code == 504
    payment = answer.json()["saga"]["steps"][0]
    assert (payment["status"], payment["compensation"]["attempts"]) == ("compensated", 3)


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [("inventory.compensate=not_reversible", 1), ("inventory.compensate=unavailable", 3)],
)
async def test_given_a_compensation_can_never_succeed_the_others_still_run(
    serve: Serve, fault: str, attempts: int
) -> None:
    """Then the money is back, and the saga waits for a person, who sees what is wrong."""
    async with serve(compensation_max_attempts=3) as client:
        order = an_order("ord-1", shipping_address={**ADDRESS, "country": "XX"})
        answer = await client.post("/checkout", json=order, headers={"X-Simulate": fault})
        listed = (await client.get("/sagas", params={"status": "needs_attention"})).json()["data"]
    saga = answer.json()
    assert answer.status_code == 202
    assert (saga["status"], saga["finished_at"]) == ("needs_attention", None)
    assert {step["name"]: step["status"] for step in saga["steps"]} == {
        "payment": "compensated",
        "inventory": "compensation_failed",
        "shipping": "failed",
    }
    assert saga["steps"][1]["compensation"]["attempts"] == attempts
    assert trail(saga)[-1] == "saga_needs_attention"
    assert [one["id"] for one in listed] == [saga["id"]]


async def test_given_the_deadline_passes_the_saga_is_compensated(serve: Serve) -> None:
    """Then the failure says so, whatever the step would have answered."""
    slow = {"sandbox_latency_seconds": 0.05, "deadline_seconds": 0.08, "step_max_attempts": 100}
    async with serve(**slow) as client:
        headers = {"X-Simulate": "shipping.execute=unavailable"}
        answer = await client.post("/checkout", json=an_order("ord-1"), headers=headers)
    assert answer.status_code == 504
    assert answer.json()["saga"]["failure"]["code"] == "deadline_exceeded"


async def test_given_the_same_key_again_nothing_is_done_twice_also_after_a_restart(serve: Serve) -> None:
    """Then the same status and the same bytes come back, marked as a replay."""
    for number, order in enumerate([an_order("ord-1"), an_order("ord-2", payment_method="tok_declined")]):
        headers = {"Idempotency-Key": f"key-{number}"}
        async with serve() as client:
            first = await client.post("/checkout", json=order, headers=headers)
        async with serve() as client:
            again = await client.post("/checkout", json=order, headers=headers)
            other = await client.post("/checkout", json={**order, "customer_id": "x"}, headers=headers)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_given_ten_requests_at_once_with_one_key_there_is_one_saga(serve: Serve) -> None:
    """Then all get the same answer."""
    async with serve() as client:
        posts = [
            client.post("/checkout", json=an_order("ord-1"), headers={"Idempotency-Key": "k"})
            for _ in range(10)
        ]
        answers = await asyncio.gather(*posts)
        assert len((await client.get("/sagas")).json()["data"]) == 1
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1


async def test_given_an_order_was_checked_out_a_second_checkout_of_it_is_refused(serve: Serve) -> None:
    """Then it is told where the first one is; after a compensated one the order is free."""
    async with serve() as client:
        declined = an_order("ord-1", payment_method="tok_declined")
        assert (await client.post("/checkout", json=declined)).status_code == 402
        first = await client.post("/checkout", json=an_order("ord-1"))
        assert first.status_code == 201
        second = await client.post("/checkout", json=an_order("ord-1"))
    assert (second.status_code, second.json()["code"]) == (409, "order_already_checked_out")
    assert second.json()["saga_url"] == first.headers["Location"]


async def test_given_bad_input_nothing_is_stored_and_the_key_is_not_burnt(serve: Serve) -> None:
    """Then the problem names the field, and the same key works for the mended request."""
    async with serve() as client:
        headers = {"Idempotency-Key": "key"}
        bad = an_order("ord-1", items=[{"sku": "A", "quantity": 0, "unit_price": 1}])
        refused = await client.post("/checkout", json=bad, headers=headers)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/items/0/quantity"
        assert (await client.get("/sagas")).json()["data"] == []
        assert (await client.post("/checkout", json=an_order("ord-1"), headers=headers)).status_code == 201


@pytest.mark.parametrize("postal_code", [{}, {"postal_code": None}], ids=["left out", "null"])
async def test_given_a_place_without_postal_codes_it_is_shipped_to(
    serve: Serve, postal_code: dict[str, None]
) -> None:
    """And every reader of the saga gets it: the list, the page and its own."""
    address = {
        "name": "A. Reader",
        "line1": "88 Harbour Rd",
        "city": "Kowloon",
        "country": "HK",
        **postal_code,
    }
    async with serve(allow_unauthenticated=True) as client:
        answer = await client.post("/checkout", json=an_order("ord-1", shipping_address=address))
        assert answer.status_code == 201
        saga_id = answer.json()["id"]
        for path in (f"/sagas/{saga_id}", "/sagas", f"/dashboard/sagas/{saga_id}", "/", "/events"):
            assert (await client.get(path)).status_code == 200


async def test_given_windows_that_meet_each_saga_is_in_one_of_them(serve: Serve) -> None:
    """Also the one that began at the very time where they meet, on either database."""
    async with serve(allow_unauthenticated=True) as client:
        sagas = [(await client.post("/checkout", json=an_order(f"ord-{n}"))).json() for n in range(3)]
        for saga in sagas:
            seen = [
                [
                    one["id"]
                    for one in (await client.get("/sagas", params={name: saga["created_at"]})).json()["data"]
                ]
                for name in ("created_before", "created_after")
            ]
            assert saga["id"] in seen[1]
            assert sorted(seen[0] + seen[1]) == sorted(one["id"] for one in sagas)


async def test_given_a_key_its_body_may_come_again_with_its_numbers_spelt_otherwise(serve: Serve) -> None:
    async with serve() as client:
        body = json.dumps(an_order("ord-1", metadata={"weight": 17}))
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        answers = [
            await client.post("/checkout", content=body.replace("17", number), headers=headers)
            for number in ("1.0", "1", "1e0")
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 201]
        assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true", "true"]


async def test_given_a_key_of_the_release_before_its_body_is_known_by_the_stored_spelling(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which either database gives back as it was written, a negative zero too."""
    body = json.dumps(an_order("ord-1", metadata={"weight": 17, "depth": 18}))
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    async with serve() as client:
        with monkeypatch.context() as before:
            before.setattr("app.api.http.headers.idempotency.canonical", as_written)
            first = body.replace("17", "1.0").replace("18", "-0.0")
            assert (await client.post("/checkout", content=first, headers=headers)).status_code == 201
        for weight, depth, status in (
            ("1.0", "-0.0", 201),
            ("1", "0", 201),
            ("1e0", "-0", 201),
            ("1", "1", 422),
        ):
            again = body.replace("17", weight).replace("18", depth)
            assert (await client.post("/checkout", content=again, headers=headers)).status_code == status


@pytest.mark.parametrize("name", ["order_id", "customer_id"])
async def test_given_any_name_that_is_taken_it_can_be_looked_for(serve: Serve, name: str) -> None:
    """With every character that the API takes, as both databases store it."""
    async with serve(allow_unauthenticated=True) as client:
        for number, value in enumerate(
            ("👩‍💻", "a\u202eb", "\ufeffa", "\U0010ffff", "e\u0301", "é", "a\u2028'\"\\%_b")
        ):
            order = an_order(**{"order_id": f"ord-{number}", "customer_id": f"cus-{number}", name: value})
            assert (await client.post("/checkout", json=order)).status_code == 201
            found = await client.get("/sagas", params={name: value})
            assert [saga[name] for saga in found.json()["data"]] == [value]
            page = await client.get("/", params={"q": value})
            assert (page.status_code, found.json()["data"][0]["id"] in page.text) == (200, True)
