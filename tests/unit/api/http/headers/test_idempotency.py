"""A repeat is recognised, answered as the first was, and never done again."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.datastructures import Headers

from app.api import ApiSettings
from app.api.http.headers.idempotency import fingerprint, idempotency_key
from app.api.problems.problem import Problem
from app.saga import StepRejected
from app.values.canonical_json import as_written
from tests.builders import HANG, Answer, settle
from tests.unit.api.routes.test_checkout import gate
from tests.unit.api.served import Served, an_order, problem, served


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({}, 201),
        ({"payment": [StepRejected("No.", code="card_declined")]}, 402),
        ({"inventory": [StepRejected()], "undo_payment": [StepRejected()]}, 202),
    ],
    ids=["completed", "compensated", "needs_attention"],
)
async def test_a_repeat_gets_the_same_status_and_the_same_bytes(
    answers: dict[str, list[Answer]], status: int
) -> None:
    async with served(script=answers) as api:
        first = await api.post(key="k", X_Request_ID="first")
        sent = list(api.sends)
        again = await api.post(key="k", X_Request_ID="second")
        assert (first.status_code, again.status_code) == (status, status)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["x-request-id"] == "second"
        assert api.sends == sent


async def test_a_repeat_at_another_replica_gets_the_same_bytes() -> None:
    async with served() as api:
        first = await api.post(key="k")
        runner = api.serve_from_another_replica()
        again = await api.post(key="k")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        await runner.drop()


async def test_the_order_of_members_and_white_space_do_not_matter() -> None:
    async with served() as api:
        await api.post(key="k")
        backwards = dict(reversed(an_order().items()))
        again = await api.client.post("/checkout", json=backwards, headers={"Idempotency-Key": "k"})
        assert again.headers["idempotent-replayed"] == "true"


async def test_a_key_with_another_body_is_refused() -> None:
    async with served() as api:
        await api.post(key="k")
        problem(await api.post(an_order(order_id="ord-2"), key="k"), 422, "idempotency_key_reused")
        assert len(api.log.ids) == 1


async def test_a_repeat_while_the_first_is_under_way_is_409_and_says_where_to_look() -> None:
    opened, waits = gate()
    async with served(ApiSettings(wait_seconds=0), payment=[waits]) as api:
        first = await api.post(key="k")
        again = await api.post(key="k")
        body = problem(again, 409, "checkout_in_progress")
        assert body["saga_url"] == again.headers["location"] == first.headers["location"]
        assert again.headers["retry-after"] == "1"
        opened.set()
        assert (await api.post(key="k", Prefer="wait=5")).status_code == 201


async def test_a_repeat_that_would_rather_not_wait_gets_202_like_the_first() -> None:
    async with served(payment=[HANG]) as api:
        first = await api.post(key="k", Prefer="respond-async")
        again = await api.post(key="k", Prefer="respond-async")
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotent-replayed"] == "true"


async def test_two_at_once_make_one_saga_and_both_learn_its_outcome() -> None:
    opened, waits = gate()
    async with served(payment=[waits]) as api:
        both = [asyncio.create_task(api.post(key="k")) for _ in range(2)]
        await settle()
        opened.set()
        one, other = await asyncio.gather(*both)
        assert (one.status_code, one.content) == (other.status_code, other.content)
        assert len(api.log.ids) == 1


async def test_without_a_key_a_repeat_is_another_checkout_of_the_order() -> None:
    async with served() as api:
        await api.post()
        problem(await api.post(), 409, "order_already_checked_out")


async def test_a_key_in_quotes_is_the_same_key() -> None:
    async with served() as api:
        await api.post(key="k")
        assert (await api.post(key='"k"')).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 256, '"open', '""', '"a" "b"', '"a";x=1', "a\tb"])
async def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    async with served() as api:
        named = [(b"Idempotency-Key", key.encode())]
        problem(
            await api.client.post("/checkout", json=an_order(), headers=named), 400, "invalid_idempotency_key"
        )
        assert api.stored_nothing()


@pytest.mark.parametrize("key", ["a", "a" * 255, '"a\\"b"', "a,b", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'])
def test_a_key_that_can_be_one_is_taken(key: str) -> None:
    assert idempotency_key([key], required=True)


async def test_two_keys_are_refused() -> None:
    async with served() as api:
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
        problem(
            await api.client.post("/checkout", json=an_order(), headers=headers),
            400,
            "invalid_idempotency_key",
        )


async def test_a_missing_key_is_refused_where_one_is_required() -> None:
    async with served(ApiSettings(require_idempotency_key=True)) as api:
        problem(await api.post(), 400, "idempotency_key_required")
        assert api.stored_nothing()
        assert (await api.post(key="k")).status_code == 201


def test_the_fingerprint_covers_caller_method_path_and_body() -> None:
    same = fingerprint(caller="a", method="POST", path="/checkout", body={"a": 1, "b": 2})
    assert same == fingerprint(caller="a", method="POST", path="/checkout", body={"b": 2, "a": 1})
    others = [
        fingerprint(caller="b", method="POST", path="/checkout", body={"a": 1, "b": 2}),
        fingerprint(caller="a", method="PUT", path="/checkout", body={"a": 1, "b": 2}),
        fingerprint(caller="a", method="POST", path="/other", body={"a": 1, "b": 2}),
        fingerprint(caller="a", method="POST", path="/checkout", body={"a": 1, "b": 3}),
    ]
    assert same not in others


def test_no_header_is_no_key() -> None:
    assert idempotency_key(Headers({}).getlist("idempotency-key"), required=False) is None
    with pytest.raises(Problem):
        idempotency_key([], required=True)


SPELLINGS = [("1.0", "1"), ("1", "1e0"), ("-0.0", "0"), ("1e2", "100"), ("25.0", "2.5e1"), ("4.50", "4.5")]


def weighing(number: str) -> bytes:
    """Return an order whose metadata has a number in this very spelling."""
    return json.dumps(an_order(metadata={"weight": 17})).replace("17", number).encode()


@pytest.mark.parametrize(("first", "again"), SPELLINGS)
async def test_a_number_spelt_otherwise_is_the_same_body(first: str, again: str) -> None:
    """A queue or a gateway that writes the body anew changes just that."""
    async with served() as api:
        assert (await api.post_bytes(weighing(first), Idempotency_Key="k")).status_code == 201
        repeated = await api.post_bytes(weighing(again), Idempotency_Key="k")
        assert repeated.headers["idempotent-replayed"] == "true"
        problem(await api.post_bytes(weighing("1.5"), Idempotency_Key="k"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(("first", "again"), SPELLINGS)
async def test_a_fingerprint_of_the_release_before_is_known(
    first: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It told spellings apart: the first one is the stored saga's."""
    async with served() as api:
        with monkeypatch.context() as before:
            before.setattr("app.api.http.headers.idempotency.canonical", as_written)
            await api.post_bytes(weighing(first), Idempotency_Key="k")
        for number in (first, again):
            repeated = await api.post_bytes(weighing(number), Idempotency_Key="k")
            assert (repeated.status_code, repeated.headers["idempotent-replayed"]) == (201, "true")
        problem(await api.post_bytes(weighing("1.5"), Idempotency_Key="k"), 422, "idempotency_key_reused")
        assert len(api.log.ids) == 1


def test_a_body_without_a_decimal_point_keeps_the_fingerprint_that_it_had() -> None:
    """It stands in databases, and replicas of two releases read one another's."""
    assert (
        fingerprint(
            caller="shop", method="POST", path="/checkout", body=an_order(metadata={"n": 7, "é": "😀"})
        )
        == "7441b1a12b531ba878b3cd0c546f08a50a5d2fa5a9298351d4c3f9e4f1208591"
    )


async def a_failed_request_leaves_the_key_free(api: Served, key: str) -> None:
    """Fail where the key was burnt, or anything stored."""
    assert api.stored_nothing()
    assert (await api.post(key=key)).status_code == 201
