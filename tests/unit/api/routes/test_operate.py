"""POST /sagas/{id}/cancel, retry and resolve."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import FastAPI

from app.access.principal import Principal
from app.access.scopes import Scope
from app.api.schemas.operator_requests import seen_by
from app.saga import LogUnavailable, StepRejected
from tests.builders import an_id, settle
from tests.unit.api.routes.test_checkout import gate
from tests.unit.api.served import Served, an_order, problem, served

NO = StepRejected("No.", code="no")
ACTIONS = ("cancel", "retry", "resolve")


async def act(
    api: Served, url: str, action: str, body: Mapping[str, Any] | None = None, **headers: str
) -> httpx.Response:
    """Act on a saga, for a reason unless told otherwise."""
    given = {"reason": "The customer called."} if body is None else body
    named = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
    return await api.client.post(f"{url}/{action}", content=json.dumps(given).encode(), headers=named)


def settling(step: str = "payment", **members: str) -> dict[str, str]:
    return {"step": step, "reason": "Paid back by hand.", **members}


class _Named:
    """The API as it is asked by a caller of that name, whom a key would have told."""

    def __init__(self, app: FastAPI, caller: Principal) -> None:
        self._app = app
        self._caller = caller

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        state = {**scope.get("state", {}), "caller": self._caller}
        await self._app({**scope, "state": state}, receive, send)


def words(saga: Mapping[str, Any]) -> list[str]:
    return [" ".join(filter(None, (line["event"], line.get("step")))) for line in saga["trail"]]


async def stuck(api: Served) -> str:
    """Return the URL of a saga that needs attention."""
    placed = await api.post()
    assert placed.json()["status"] == "needs_attention"
    return str(placed.headers["location"])


async def test_a_refund_that_can_never_succeed_is_tried_again_and_then_settled_outside() -> None:
    """The others were undone all the while, and the trail says who did what, and why."""
    async with served(shipping=[NO], undo_payment=[NO, NO]) as api:
        url = await stuck(api)
        assert "inventory.compensate" in api.sends
        again = await act(api, url, "retry", {"reason": "The provider is back."})
        assert (again.status_code, again.json()["status"]) == (200, "needs_attention")
        assert api.sends.count("payment.compensate") == 2
        body, attention = again.json(), again.json()["attention"]
        assert attention == {
            "step": "payment",
            "action": "compensate",
            "code": "no",
            "message": "The payment step took effect and can't be compensated: No.",
            "since": body["trail"][-1]["at"],
        }
        assert body["failure"]["step"] == "shipping"
        answer = await act(api, url, "resolve", settling(reference="transfer 4711"))
        saga = answer.json()
        assert (answer.status_code, saga["status"]) == (200, "compensated")
        assert saga["attention"] is None
        assert words(saga)[-6:] == [
            "saga_needs_attention",
            "retry_requested",
            "compensation_failed payment",
            "saga_needs_attention",
            "step_resolved payment",
            "saga_compensated",
        ]
        told = [
            (line["who"], line["reason"], line.get("reference")) for line in saga["trail"] if "who" in line
        ]
        assert told == [
            ("local", "The provider is back.", None),
            ("local", "Paid back by hand.", "transfer 4711"),
        ]
        (payment,) = [step for step in saga["steps"] if step["name"] == "payment"]
        assert payment["status"] == "compensated"
        assert payment["resolved_by"]["reference"] == "transfer 4711"
        assert answer.headers["etag"] == (await api.get(url)).headers["etag"]


async def test_a_retry_that_succeeds_ends_the_saga() -> None:
    async with served(shipping=[NO], undo_inventory=[NO]) as api:
        url = await stuck(api)
        answer = await act(api, url, "retry")
        assert (answer.status_code, answer.json()["status"]) == (200, "compensated")


async def test_a_cancelled_saga_is_undone_and_says_by_whom() -> None:
    """What is under way is waited for; until then the saga shows who wants it stopped."""
    opened, waits = gate()
    async with served(inventory=[waits]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        await settle()
        asked = await act(api, url, "cancel", Prefer="respond-async")
        assert asked.status_code == 202
        assert asked.headers["location"] == url
        assert asked.headers["preference-applied"] == "respond-async"
        assert asked.json()["cancel"]["reason"] == "The customer called."
        assert asked.json()["status"] == "running"
        opened.set()
        answer = await act(api, url, "cancel", {"reason": "Again."})
        saga = answer.json()
        assert (answer.status_code, saga["status"], saga["failure"]["code"]) == (
            200,
            "compensated",
            "cancelled",
        )
        assert saga["cancel"]["who"] == "local"
        assert saga["cancel"]["reason"] == "The customer called."
        assert words(saga) == [
            "saga_started",
            "step_succeeded payment",
            "step_succeeded inventory",
            "cancel_requested",
            "step_failed shipping",
            "step_compensated inventory",
            "step_compensated payment",
            "saga_compensated",
        ]
        assert [line for line in api.sends if line.startswith("shipping")] == []
        for action in ("cancel", "retry", "resolve"):
            given = {"step": "payment", "reason": "So."} if action == "resolve" else None
            refused = problem(await act(api, url, action, given), 409, "saga_finished")
            assert refused["saga_url"] == url
        assert (await api.get(url)).json() == saga


async def test_the_checkout_of_a_cancelled_saga_is_a_problem_that_says_so() -> None:
    """Whoever waits for it hears that a person stopped it, and the order is free again."""
    opened, waits = gate()
    async with served(inventory=[waits]) as api:
        waiting = asyncio.create_task(api.post(key="k"))
        await settle()
        (saga_id,) = api.log.ids
        cancelling = asyncio.create_task(act(api, f"/sagas/{saga_id}", "cancel"))
        await settle()
        opened.set()
        assert (await cancelling).status_code == 200
        problem(await waiting, 409, "checkout_cancelled", "cancelled")
        problem(await api.post(key="k"), 409, "checkout_cancelled", "cancelled")
        assert (await api.post(key="another")).status_code == 201


async def test_a_cancel_that_comes_to_another_replica_is_read_by_the_owner() -> None:
    """It waits on the saga's row; here the owner is told by hand, as its poll would."""
    opened, waits = gate()
    async with served(inventory=[waits]) as api:
        owner = api.runner
        url = (await api.post(Prefer="respond-async")).headers["location"]
        await settle()
        runner = api.serve_from_another_replica()
        object.__setattr__(api.service, "operator", api.an_operator(runner))
        asked = await act(api, url, "cancel", Prefer="respond-async")
        assert (asked.status_code, asked.json()["status"]) == (202, "running")
        assert asked.json()["cancel"]["who"] == "local"
        for saga_id, request in (await api.log.pending_cancellations("local")).items():
            owner.cancel(saga_id, request)
        opened.set()
        assert (await api.get(url, Prefer="wait=5")).json()["status"] == "compensated"


async def test_past_its_pivot_a_saga_is_not_cancelled() -> None:
    """Nor where its last step succeeds while the wish is waiting."""
    opened, waits = gate()
    async with served(shipping=[waits]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        await settle()
        waiting = asyncio.create_task(act(api, url, "cancel"))
        await settle()
        opened.set()
        body = problem(await waiting, 409, "past_pivot")
        assert body["saga_url"] == url
        saga = (await api.get(url)).json()
        assert (saga["status"], saga["cancel"]) == ("completed", None)
        problem(await act(api, url, "cancel"), 409, "saga_finished")


async def test_the_page_says_so_too_where_the_last_step_succeeds_while_the_wish_is_waiting() -> None:
    opened, waits = gate()
    async with served(shipping=[waits]) as api:
        url = (await api.post(Prefer="respond-async")).headers["location"]
        await settle()
        seen = len((await api.get(url)).json()["trail"])
        sending = api.client.post(
            f"/dashboard{url}/cancel",
            data={"seen": str(seen), "reason": "The customer called."},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        waiting = asyncio.create_task(sending)
        await settle()
        opened.set()
        page = await waiting
        assert page.status_code == 409
        assert "The saga is past its pivot" in page.text


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_finished_saga_is_left_alone(action: str) -> None:
    async with served() as api:
        placed = await api.post()
        url = placed.headers["location"]
        body = settling() if action == "resolve" else None
        assert problem(await act(api, url, action, body), 409, "saga_finished")["saga_url"] == url
        assert (await api.get(url)).content == placed.content


async def test_what_does_not_fit_the_saga_is_refused_in_clear_words() -> None:
    opened, waits = gate()
    async with served(script={"payment": [None, waits], "shipping": [NO], "undo_payment": [NO]}) as api:
        url = await stuck(api)
        blocks = (await api.get(url)).json()["attention"]["message"]
        assert blocks in problem(await act(api, url, "cancel"), 409, "not_cancellable")["detail"]
        other = await act(api, url, "resolve", settling("inventory"))
        assert blocks in problem(other, 409, "step_not_stuck")["detail"]
        body = problem(await act(api, url, "resolve", settling("loyalty")), 422, "invalid_request")
        assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("/step", "unknown_step")]
        assert "Nothing was changed." in body["detail"]
        another = await api.post(an_order(order_id="another"), Prefer="respond-async")
        running = another.headers["location"]
        problem(await act(api, running, "retry"), 409, "no_attention_needed")
        problem(await act(api, running, "resolve", settling()), 409, "no_attention_needed")
        opened.set()


async def test_an_if_match_keeps_people_from_acting_on_what_they_did_not_see() -> None:
    """Any tag of the saga as it stands will do, `*` too; one from before, or no tag at all, won't."""
    async with served(shipping=[NO], undo_payment=[NO, NO]) as api:
        url = await stuck(api)
        before = (await api.get(url)).headers["etag"]
        for named in ('"7"', "nonsense", '"99-abc"', '"1-ab"'):
            refused = problem(await act(api, url, "retry", If_Match=named), 412, "precondition_failed")
            assert refused["saga_url"] == url
        assert (await act(api, url, "retry", If_Match=f'"1-ab", {before}')).status_code == 200
        problem(await act(api, url, "resolve", settling(), If_Match=before), 412, "precondition_failed")
        assert (await act(api, url, "resolve", settling(), If_Match="*")).status_code == 200


def test_the_lengths_that_an_if_match_names() -> None:
    assert seen_by([]) is None
    assert seen_by(["*"]) is None
    assert seen_by(['"7-ab"', 'W/"8-cd", "x"']) == frozenset({7, 8})
    assert seen_by([""]) == frozenset()


async def test_of_two_people_at_once_one_is_told_that_the_saga_moved() -> None:
    async with served(shipping=[NO], undo_payment=[NO]) as api:
        url = await stuck(api)
        etag = (await api.get(url)).headers["etag"]
        told = await asyncio.gather(
            *(act(api, url, "resolve", settling(reason=f"{n}"), If_Match=etag) for n in range(4))
        )
        assert sorted(answer.status_code for answer in told) == [200, 412, 412, 412]
        saga = (await api.get(url)).json()
        assert words(saga).count("step_resolved payment") == 1


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("/reason", "missing")]),
        ({"reason": ""}, [("/reason", "too_short")]),
        ({"reason": " so"}, [("/reason", "surrounding_space")]),
        ({"reason": "a\nb"}, [("/reason", "control_character")]),
        ({"reason": "x" * 1001}, [("/reason", "too_long")]),
        ({"reason": 7}, [("/reason", "not_a_string")]),
        ({"reason": None}, [("/reason", "not_a_string")]),
        ({"reason": "So.", "raeson": "So."}, [("/raeson", "unknown_member")]),
        ([], [("", "not_an_object")]),
    ],
)
async def test_a_body_that_breaks_the_schema_is_422_and_does_nothing(
    action: str, body: Any, errors: list[tuple[str, str]]
) -> None:
    """Each place that is wrong is pointed at."""
    async with served(shipping=[NO], undo_payment=[NO]) as api:
        url = await stuck(api)
        before = (await api.get(url)).content
        given = {**body, "step": "payment"} if action == "resolve" and isinstance(body, dict) else body
        told = problem(await act(api, url, action, given), 422, "invalid_request")
        assert [(error["pointer"], error["code"]) for error in told["errors"]] == errors
        assert (await api.get(url)).content == before


async def test_the_reason_of_a_thousand_characters_in_any_script_is_kept() -> None:
    async with served(shipping=[NO], undo_payment=[NO]) as api:
        url = await stuck(api)
        reason = "Ü😀 " + "x" * 997
        saga = (await act(api, url, "resolve", settling() | {"reason": reason})).json()
        assert next(line["reason"] for line in saga["trail"] if "who" in line) == reason


@pytest.mark.parametrize("action", ACTIONS)
async def test_only_an_operator_acts_and_only_on_what_they_see(action: str) -> None:
    """Another caller's saga answers as one that there isn't, to the byte but for the request's id."""
    async with served(shipping=[NO], undo_payment=[NO]) as api:
        url = await stuck(api)
        before = (await api.get(url)).content
        body = settling() if action == "resolve" else None
        for caller, status, name in (
            (Principal(tenant="", subject="shop", scopes=frozenset({Scope.CHECKOUT})), 403, "forbidden"),
            (Principal(tenant="other", subject="bob", scopes=frozenset({Scope.OPERATE})), 404, "not_found"),
        ):
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app=_Named(api.app, caller)), base_url="http://checkout.test"
            ) as client:
                told = [
                    await client.post(
                        f"{which}/{action}",
                        json=body or {"reason": "So."},
                        headers={"X-Request-ID": "r"},
                    )
                    for which in (url, f"/sagas/{an_id()}", "/sagas/nonsense")
                ]
            problem(told[0], status, name)
            assert len({answer.content for answer in told}) == 1
        assert (await api.get(url)).content == before


async def test_the_transport_rules_are_those_of_every_route() -> None:
    """A body type with and without its charset, no other method, no query, a size limit."""
    async with served(shipping=[NO], undo_payment=[NO, NO, NO]) as api:
        url = await stuck(api)
        for content_type in ("application/json", "application/json; charset=utf-8"):
            assert (await act(api, url, "retry", Content_Type=content_type)).status_code == 200
        problem(await act(api, url, "retry", Content_Type="text/plain"), 415, "unsupported_media_type")
        problem(await act(api, url, "retry", {"reason": "x" * 70_000}), 413, "body_too_large")
        refused = await api.client.post(f"{url}/retry?now=true", json={"reason": "So."})
        problem(refused, 422, "invalid_request")
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = await api.client.request(method, f"{url}/retry")
            assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
        options = await api.client.request("OPTIONS", f"{url}/retry")
        assert (options.status_code, options.headers["allow"]) == (204, "OPTIONS, POST")


@pytest.mark.parametrize("stored", [False, None])
async def test_where_storage_is_away_it_is_said_whether_anything_was_done(stored: bool | None) -> None:
    async with served(shipping=[NO], undo_payment=[NO]) as api:
        url = await stuck(api)

        async def away(*_: object, **__: object) -> None:
            raise LogUnavailable(stored=stored)

        api.log.operate = away  # type: ignore[method-assign]
        told = problem(await act(api, url, "retry"), 503, "storage_unavailable")
        assert ("Nothing was stored" in told["detail"]) is (stored is False)
        assert told["saga_url"] == url


@pytest.mark.parametrize("action", ["cancel", "retry", "resolve"])
@pytest.mark.parametrize("body", [b"", b"{", b'{"other": 1}'])
async def test_a_malformed_id_is_404_whatever_the_body(action: str, body: bytes) -> None:
    async with served() as api:
        answer = await api.client.post(
            f"/sagas/none/{action}", content=body, headers={"Content-Type": "application/json"}
        )
        problem(answer, 404, "not_found")
