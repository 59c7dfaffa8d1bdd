"""The checker: a run damaged in one place has the violation of that name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.proof.damage import (
    Change,
    a_get,
    a_strangers_line,
    a_strangers_money,
    added,
    all_of,
    answered,
    documents,
    dropped,
    each_of,
    event_is,
    first_of,
    longer_by,
    moved,
    of_lines,
    recovered,
    repeated_after,
    rewritten,
    row_twice,
    sets,
    shown,
    stands,
    trail_is,
    without_orders,
)
from tests.proof.evidence import ApiAnswer, Document, Evidence
from tests.proof.invariants import INVARIANTS, check


def two_at_once(evidence: Evidence) -> Evidence:
    """Undo an order's first saga only once its second stands."""
    first = first_of(evidence, "far")
    undoing = [line for line in evidence.lines if line.reference == first and line.action == "compensate"]
    return replace(evidence, lines=[*(line for line in evidence.lines if line not in undoing), *undoing])


def keys_mixed_up(evidence: Evidence) -> Evidence:
    """Send one saga's payment under another's key."""
    other = f"{first_of(evidence, 'many')}:payment:execute"
    return rewritten("fine", "arrived payment execute", idempotency_key=other)(evidence)


def another_saga(evidence: Evidence, **members: Any) -> Document:
    """Return a document like that of a completed saga, under an id of its own."""
    fine = next(d for d in documents(evidence) if d["order_id"] == "fine" and d["status"] == "completed")
    return {**fine, "id": "another", **members}


def another_of_the_key(evidence: Evidence) -> ApiAnswer:
    """Answer one order's key with another order's saga."""
    asked, other = (
        next(answer for answer in evidence.answers if answer.idempotency_key == key)
        for key in ("key-fine", "key-many")
    )
    return replace(asked, document=other.document, order=other.order)


WRONG: list[tuple[str, str, Change]] = [
    ("completed_stands", "no money", stands("fine", "payment", None)),
    ("completed_stands", "too much money", stands("fine", "payment", {"EUR": 3999})),
    ("completed_stands", "another currency", stands("fine", "payment", {"USD": 3998})),
    ("completed_stands", "money in two currencies", stands("fine", "payment", {"EUR": 3998, "USD": 1})),
    ("completed_stands", "goods missing", stands("many", "inventory", {"A": 3, "B": 3})),
    ("completed_stands", "two parcels", stands("fine", "shipping", {"parcels": 2})),
    ("completed_stands", "money for a gift", stands("free", "payment", {"EUR": 1})),
    ("completed_stands", "another amount shown", shown("fine", sets("amount", 3997))),
    (
        "completed_stands",
        "too much money, of an order unseen",
        all_of(without_orders, stands("fine", "payment", {"EUR": 1})),
    ),
    (
        "completed_stands",
        "no goods, of an order unseen",
        all_of(without_orders, stands("fine", "inventory", {})),
    ),
    ("compensated_leaves_nothing", "money", stands("unknown", "payment", {"EUR": 3998})),
    ("compensated_leaves_nothing", "where it was refused", stands("far", "shipping", {"parcels": 1})),
    (
        "compensated_leaves_nothing",
        "money, beside what is stuck",
        stands("stuck", "payment", {"EUR": 3998}),
    ),
    ("compensated_leaves_nothing", "money, retried", stands("retried", "payment", {"EUR": 3998})),
    ("compensated_leaves_nothing", "goods, beside a settled step", stands("settled", "inventory", {"T": 1})),
    ("nobody_elses", "work", a_strangers_line),
    ("nobody_elses", "money", a_strangers_money),
    ("one_charge", "charged twice", added("fine", "applied payment execute")),
    (
        "one_charge",
        "charged again after it was undone",
        added("unknown", "applied payment execute"),
    ),
    ("one_charge", "two sagas of an order at once", two_at_once),
    ("one_charge", "two rows stand", row_twice),
    (
        "closed_after_compensation",
        "done where it was undone",
        moved("unknown", "applied payment execute", behind="applied payment compensate"),
    ),
    (
        "closed_after_compensation",
        "done elsewhere",
        moved("unknown", "applied payment execute", behind="arrived shipping compensate"),
    ),
    ("closed_after_compensation", "begun elsewhere", added("sold-out", "arrived shipping execute")),
    (
        "reverse_order",
        "in the order of completion, as the trail tells",
        shown(
            "far",
            trail_is(
                "saga_started",
                "step_succeeded payment",
                "step_succeeded inventory",
                "step_failed shipping",
                "step_compensated payment",
                "step_compensated inventory",
                "saga_compensated",
            ),
        ),
    ),
    (
        "reverse_order",
        "in the order of completion, as the books tell",
        moved("far", "* inventory compensate", behind="replied payment compensate"),
    ),
    (
        "reverse_order",
        "before the one before was acknowledged",
        moved("far", "replied inventory compensate", behind="arrived payment compensate"),
    ),
    (
        "reverse_order",
        "after a no that was not for good",
        rewritten("far", "replied inventory compensate", status=503),
    ),
    (
        "reverse_order",
        "tried again in the order of completion",
        shown(
            "far",
            trail_is(
                "saga_started",
                "step_succeeded payment",
                "step_succeeded inventory",
                "step_failed shipping",
                "compensation_failed inventory",
                "compensation_failed payment",
                "saga_needs_attention",
                "retry_requested",
                "step_compensated payment",
                "step_compensated inventory",
                "saga_compensated",
            ),
        ),
    ),
    (
        "same_request",
        "the attempt in the key",
        rewritten("unknown", "arrived shipping execute", idempotency_key="another"),
    ),
    (
        "same_request",
        "another body",
        rewritten("unknown", "arrived shipping execute", fingerprint="another"),
    ),
    ("same_request", "another's key", keys_mixed_up),
    (
        "same_request",
        "one key for do and undo",
        of_lines("unknown", lambda lines: [replace(line, idempotency_key="same") for line in lines]),
    ),
    ("within_the_key_window", "sent again after a day", repeated_after(24.1)),
    (
        "edges",
        "a status that the trail doesn't tell",
        shown("fine", sets("status", "running"), last_only=True),
    ),
    (
        "edges",
        "another end than the trail's",
        shown("fine", lambda d: d.update(status="needs_attention") if d["status"] == "completed" else None),
    ),
    ("edges", "a word of going forward while going back", shown("far", event_is(5, event="step_succeeded"))),
    (
        "edges",
        "from completed to compensated",
        shown(
            "fine",
            lambda document: (
                longer_by("saga_compensated")(document),
                sets("status", "compensated")(document),
            )[0],
            last_only=True,
        ),
    ),
    ("edges", "retried while it goes forward", shown("fine", event_is(2, event="retry_requested"))),
    ("edges", "cancelled while it goes back", shown("far", event_is(5, event="cancel_requested"))),
    ("who_and_why", "nobody", shown("settled", each_of("step_resolved", who=None))),
    ("who_and_why", "no reason", shown("retried", each_of("retry_requested", reason=None))),
    ("who_and_why", "a service's answer", shown("fine", event_is(2, who="ada", reason="So."))),
    ("trail", "rewritten", shown("fine", event_is(2, attempt=7), last_only=True)),
    ("trail", "a gap", shown("fine", event_is(5, seq=6))),
    ("trail", "time goes back", shown("fine", event_is(3, at="2020-01-01T00:00:00.000000Z"))),
    (
        "trail",
        "an event without a time",
        shown("fine", lambda document: document["trail"][2].pop("at", None), last_only=True),
    ),
    ("trail", "a word nobody knows", shown("fine", event_is(3, event="step_skipped"))),
    ("trail", "no beginning", shown("fine", event_is(1, event="saga_recovered"))),
    ("trail", "begun twice", shown("fine", event_is(3, event="saga_started"))),
    (
        "trail",
        "an epoch goes down",
        all_of(shown("fine", event_is(2, epoch=3)), shown("fine", event_is(3, epoch=2))),
    ),
    ("trail", "no trail", shown("fine", sets("trail", []))),
    ("final_is_final", "finished later", shown("fine", sets("finished_at", "later"), last_only=True)),
    ("final_is_final", "other steps", shown("far", sets("steps", []), last_only=True)),
    ("final_is_final", "goes on", shown("fine", longer_by("saga_recovered"), last_only=True)),
    (
        "acknowledged_is_kept",
        "not found",
        answered(lambda evidence: a_get(first_of(evidence, "fine"), 404, {"status": 404})),
    ),
    (
        "acknowledged_is_kept",
        "never ended",
        answered(
            lambda evidence: a_get(
                "another", 200, another_saga(evidence, order_id="other", status="running", trail=[])
            )
        ),
    ),
    (
        "acknowledged_is_kept",
        "named and never shown",
        answered(lambda _: a_get("x", 409, {"status": 409, "saga_url": "/sagas/another"})),
    ),
    ("acknowledged_is_kept", "two sagas for a key", answered(another_of_the_key)),
    (
        "acknowledged_is_kept",
        "two sagas for an order",
        answered(lambda evidence: a_get("another", 200, another_saga(evidence))),
    ),
    ("undone_what_was_done", "a success kept", dropped("far", "* payment compensate")),
    ("undone_what_was_done", "an unknown kept", dropped("unknown", "* shipping compensate")),
    ("undone_what_was_done", "beside what is stuck", dropped("stuck", "* payment compensate")),
    ("undone_what_was_done", "never acknowledged", dropped("far", "replied payment compensate")),
    ("undone_what_was_done", "a failure undone", added("far", "arrived shipping compensate")),
    ("undone_what_was_done", "never begun and undone", added("declined", "arrived shipping compensate")),
    ("undone_what_was_done", "completed and undone", added("fine", "arrived shipping compensate")),
    ("no_theft", "taken over from the living", shown("fine", recovered)),
    ("unique_effects_at_the_books", "a row twice", row_twice),
]


@pytest.mark.parametrize(
    ("invariant", "damage"),
    [pytest.param(name, damage, id=f"{name}: {what}") for name, what, damage in WRONG],
)
def test_given_one_thing_is_wrong_it_is_caught_by_name(
    right: Evidence, invariant: str, damage: Change
) -> None:
    """Each kind of damage is a violation of the invariant that it breaks."""
    damaged = damage(right)
    assert damaged != right
    assert invariant in {violation.invariant for violation in check(damaged)}


def test_each_invariant_is_known_to_catch_something() -> None:
    """No invariant is in the checker that no damage here violates."""
    assert {invariant.__name__ for invariant in INVARIANTS} == {name for name, _, _ in WRONG}
