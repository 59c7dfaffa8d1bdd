"""A saga's JSON: the bytes of earlier releases, and the members that the API's description has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from app.api.http.json_encoding import encode
from app.api.openapi.__main__ import document
from app.api.openapi.example_sagas import Story
from app.api.schemas.saga_body import SagaBody
from app.api.schemas.saga_json import saga_json
from app.operations.saga_view import SagaView
from app.saga.model.events import EventType, TrailEntry

STORED = Path(__file__).parent / "saga_bytes.jsonl"
"""What release 61f3ec4 answered of each of `views`, one a line."""

_OPERATOR: dict[str, Any] = {"who": "ada", "reason": "Żółć, “quoted” \\ and \t\x7f.", "action": "a1"}
_REFUSED = {"code": "out_of_stock", "message": "TSHIRT-M ist aus — 缺货 🚚.", "kind": "refused"}
_ODD_RESULT = {
    "z": 1e-05,
    "a": [1e16, 1e22, -0.0, 0.1, 123456789.125, 2**53, -1, True, None, {"b": "\u2028/", "a": 5e-324}],
    "ключ": "значение",
    "": {},
}


def views() -> dict[str, SagaView]:
    """Return a saga for each status, and those that are hard to write down."""
    steps = ("payment", "inventory", "shipping")
    stuck = Story().succeeded("payment")
    stuck.then(EventType.STEP_FAILED, "inventory", error=_REFUSED)
    stuck.then(EventType.COMPENSATION_FAILED, "payment", error=_REFUSED)
    stuck.then(EventType.SAGA_NEEDS_ATTENTION)
    retried = (
        Story()
        .succeeded("payment")
        .then(
            EventType.STEP_RETRIED,
            "inventory",
            error=_REFUSED,
            outcome="unavailable",
            next_action_at="2026-01-30T09:30:00.140000Z",
        )
    )
    unknown = (
        Story()
        .succeeded("payment")
        .then(EventType.STEP_UNKNOWN, "inventory", error=_REFUSED, outcome="unknown", looked_up=True)
    )
    cancelled = Story().succeeded("payment").then(EventType.CANCEL_REQUESTED, **_OPERATOR)
    resolved = Story().succeeded("payment").then(EventType.STEP_FAILED, "inventory", error=_REFUSED)
    resolved.then(EventType.COMPENSATION_FAILED, "payment", error=_REFUSED)
    resolved.then(EventType.SAGA_NEEDS_ATTENTION)
    resolved.then(EventType.STEP_RESOLVED, "payment", **_OPERATOR, reference="bank 4711")
    found = {
        "running": Story().view(),
        "completed": Story().succeeded(*steps).then(EventType.SAGA_COMPLETED).view(),
        "compensating": unknown.view(),
        "compensated": unknown.compensated("inventory", "payment").then(EventType.SAGA_COMPENSATED).view(),
        "needs_attention": stuck.view(),
        "retried": retried.view(),
        "cancelled": cancelled.view(),
        "resolved": resolved.then(EventType.SAGA_COMPENSATED).view(),
        "odd numbers": Story().then(EventType.STEP_SUCCEEDED, "payment", result=_ODD_RESULT).view(),
        "surrogate": Story()
        .then(EventType.STEP_SUCCEEDED, "payment", result={"x": "\ud83d", "n": 1e-07})
        .view(),
        "large": Story().then(EventType.STEP_SUCCEEDED, "payment", result={"n": 2**70}).view(),
    }
    completed = found["completed"]
    berlin = timezone(timedelta(hours=1))
    shifted = tuple(
        replace(event, at=event.at.astimezone(berlin) + timedelta(microseconds=index * 7))
        for index, event in enumerate(completed.events)
    )
    newer = TrailEntry(
        seq=6, at=datetime(2026, 2, 1, tzinfo=UTC), type="saga_paused", step="x", data={"error": 5}
    )
    found["another zone"] = replace(completed, events=shifted)
    found["unreadable"] = replace(completed, events=(*completed.events, newer), unreadable="It is newer.")
    return found


@pytest.mark.parametrize("name", views())
def test_a_saga_is_the_bytes_that_earlier_releases_answered(name: str) -> None:
    """A repeat of an Idempotency-Key gets the first answer's bytes, also after an upgrade.

    What blocks a saga that needs attention is no such answer: its sentence may change with a release.
    """
    stored = dict(zip(views(), STORED.read_bytes().splitlines(), strict=True))
    view = views()[name]
    of_then = replace(view, saga=replace(view.saga, version=1))
    assert encode(saga_json(of_then)) == stored[name]


@pytest.mark.parametrize("name", sorted(set(views()) - {"surrogate", "unreadable"}))
def test_a_saga_fits_its_description(name: str) -> None:
    """The description is of the very members that are answered."""
    described = json.loads(document())
    schema = {"$ref": "#/components/schemas/Saga", "components": described["components"]}
    Draft202012Validator(schema).validate(json.loads(encode(saga_json(views()[name]))))


@pytest.mark.parametrize("name", views())
def test_each_object_has_the_described_members_in_their_order(name: str) -> None:
    """Every member is described; one that is left out is one that the description lets miss."""
    assert list(_differences(json.loads(encode(saga_json(views()[name]))), SagaBody, "saga")) == []


def _differences(shown: Any, described: Any, place: str) -> Iterator[str]:
    if shown is None:
        return
    if get_origin(described) is UnionType:
        for one in get_args(described):
            yield from _differences(shown, one, place)
    elif get_origin(described) is list:
        for one in shown:
            yield from _differences(one, get_args(described)[0], f"{place}[]")
    elif is_dataclass(described) and isinstance(described, type):
        hints = get_type_hints(described)
        order = [field.name for field in fields(described)]
        if [name for name in order if name in shown] != list(shown):
            yield f"{place}: {list(shown)} are not {order}"
        needed = {field.name for field in fields(described) if field.default is not None}
        if missing := needed - set(shown):
            yield f"{place} lacks {missing}"
        for name, value in shown.items():
            yield from _differences(value, hints[name], f"{place}.{name}")
