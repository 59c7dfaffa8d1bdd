"""The checker: a right run has no violation, and a run damaged in one place has the one of that name."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.evidence import ApiAnswer, Document, Evidence, LedgerLine, LedgerStanding
from tests.proof.invariants import INVARIANTS, check
from tests.proof.seen import documents_in
from tests.proof.small_run import ORDERS, a_small_run

Change = Callable[[Evidence], Evidence]
Lines = Callable[[list[LedgerLine]], list[LedgerLine]]


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Give the evidence of a real run, in which nothing went wrong that the service doesn't answer for."""
    return asyncio.run(a_small_run(tmp_path_factory.mktemp("run") / "checkout.db"))


# ── finding one's way in the evidence ────────────────────────────────────────────────────────────────


def documents(evidence: Evidence) -> Iterator[Document]:
    return (document for answer in evidence.answers for document in documents_in(answer))


def sagas_of(evidence: Evidence, order_id: str) -> list[str]:
    """Return the ids of an order's sagas, in the order in which they began."""
    return list(dict.fromkeys(d["id"] for d in documents(evidence) if d["order_id"] == order_id))


def first_of(evidence: Evidence, order_id: str) -> str:
    return sagas_of(evidence, order_id)[0]


def is_of(line: LedgerLine, what: str) -> bool:
    """Tell whether a line is of `phase service action`, any part of which may be `*`."""
    return all(
        wanted in {"*", part}
        for wanted, part in zip(what.split(), (line.phase, line.service, line.action), strict=True)
    )


# ── damaging it in one place ─────────────────────────────────────────────────────────────────────────


def of_lines(order_id: str, change: Lines) -> Change:
    """Change the lines of an order's first saga; all the others come after them."""

    def changed(evidence: Evidence) -> Evidence:
        saga_id = first_of(evidence, order_id)
        mine = [line for line in evidence.lines if line.reference == saga_id]
        others = [line for line in evidence.lines if line.reference != saga_id]
        return replace(evidence, lines=[*change(mine), *others])

    return changed


def dropped(order_id: str, what: str) -> Change:
    """Lose the lines of `phase service action`."""
    return of_lines(order_id, lambda lines: [line for line in lines if not is_of(line, what)])


def moved(order_id: str, what: str, *, behind: str) -> Change:
    """Move lines behind the last of others."""

    def change(lines: list[LedgerLine]) -> list[LedgerLine]:
        moving = [line for line in lines if is_of(line, what)]
        staying = [line for line in lines if line not in moving]
        last = max(n for n, line in enumerate(staying) if is_of(line, behind))
        return [*staying[: last + 1], *moving, *staying[last + 1 :]]

    return of_lines(order_id, change)


def added(order_id: str, what: str, **members: Any) -> Change:
    """Add a line at the end: one that is like the saga's first, but of `phase service action`."""
    phase, service, action = what.split()

    def change(lines: list[LedgerLine]) -> list[LedgerLine]:
        key = f"{lines[0].reference}:{service}:{action}"
        line = replace(
            lines[0], phase=phase, service=service, action=action, idempotency_key=key, status=None
        )
        return [*lines, replace(line, **members)]

    return of_lines(order_id, change)


def rewritten(order_id: str, what: str, **members: Any) -> Change:
    """Change the members of the last line of `phase service action`."""

    def change(lines: list[LedgerLine]) -> list[LedgerLine]:
        last = max(n for n, line in enumerate(lines) if is_of(line, what))
        lines[last] = replace(lines[last], **members)
        return lines

    return of_lines(order_id, change)


def stands(order_id: str, service: str, effect: dict[str, int] | None) -> Change:
    """Put that effect in the books of a service; None takes the row away."""

    def changed(evidence: Evidence) -> Evidence:
        saga_id = first_of(evidence, order_id)
        rows = [row for row in evidence.standing if (row.service, row.reference) != (service, saga_id)]
        if effect is not None:
            rows.append(LedgerStanding(service=service, reference=saga_id, effect=effect))
        return replace(evidence, standing=rows)

    return changed


def shown(order_id: str, change: Callable[[dict[str, Any]], None], *, last_only: bool = False) -> Change:
    """Change each document of an order's first saga, or only the last that was shown."""

    def changed(evidence: Evidence) -> Evidence:
        saga_id = first_of(evidence, order_id)
        answers = copy.deepcopy(list(evidence.answers))
        mine = [d for answer in answers for d in documents_in(answer) if d["id"] == saga_id]
        assert len(mine) > 1
        for document in mine[-1:] if last_only else mine:
            assert isinstance(document, dict)
            change(document)
        return replace(evidence, answers=answers)

    return changed


def sets(member: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update({member: value})


def trail_is(*events: str) -> Callable[[dict[str, Any]], None]:
    """Write a document's trail anew: `step_succeeded payment`."""

    def change(document: dict[str, Any]) -> None:
        at = document["trail"][0]["at"]
        parts = [(*event.split(), None)[:2] for event in events]
        document["trail"] = [
            {"seq": seq, "at": at, "event": event} | ({"step": step} if step else {})
            for seq, (event, step) in enumerate(parts, start=1)
        ]

    return change


def event_is(which: int, /, **members: Any) -> Callable[[dict[str, Any]], None]:
    """Change one event of a document that shows it."""

    def change(document: dict[str, Any]) -> None:
        for event in document["trail"]:
            if event["seq"] == which:
                event.update(members)

    return change


def each_of(word: str, /, **members: Any) -> Callable[[dict[str, Any]], None]:
    """Change the events of one word in a document."""

    def change(document: dict[str, Any]) -> None:
        for event in document["trail"]:
            if event["event"] == word:
                event.update(members)

    return change


def cancelled(document: dict[str, Any]) -> None:
    """Have a person stop a saga whose last step then fails."""
    trail = document["trail"]
    place = next((n for n, event in enumerate(trail) if event["event"] == "step_failed"), None)
    if place is not None:
        told = {"at": trail[place]["at"], "event": "cancel_requested", "who": "ada", "reason": "So."}
        trail.insert(place, told)
    for seq, event in enumerate(trail, start=1):
        event["seq"] = seq


def longer_by(*events: str) -> Callable[[dict[str, Any]], None]:
    """Append events to a document's trail."""

    def change(document: dict[str, Any]) -> None:
        last = document["trail"][-1]
        for seq, event in enumerate(events, start=last["seq"] + 1):
            document["trail"].append({"seq": seq, "at": last["at"], "event": event})

    return change


def recovered(document: dict[str, Any]) -> None:
    """Have a saga taken over right after it started."""
    trail = document["trail"]
    trail.insert(1, {"at": trail[0]["at"], "event": "saga_recovered"})
    for seq, event in enumerate(trail, start=1):
        event["seq"] = seq


def answered(answer: Callable[[Evidence], ApiAnswer]) -> Change:
    """Add an answer at the end."""
    return lambda evidence: replace(evidence, answers=[*evidence.answers, answer(evidence)])


def a_get(saga_id: str, status: int, document: Document) -> ApiAnswer:
    return ApiAnswer(method="GET", path=f"/sagas/{saga_id}", status=status, document=document)


def all_of(*changes: Change) -> Change:
    def changed(evidence: Evidence) -> Evidence:
        for change in changes:
            evidence = change(evidence)
        return evidence

    return changed


def without_orders(evidence: Evidence) -> Evidence:
    return replace(evidence, answers=[replace(answer, order=None) for answer in evidence.answers])


def row_twice(evidence: Evidence) -> Evidence:
    return replace(evidence, standing=[*evidence.standing, evidence.standing[0]])


def a_strangers_line(evidence: Evidence) -> Evidence:
    applied = next(line for line in evidence.lines if is_of(line, "applied payment execute"))
    return replace(evidence, lines=[*evidence.lines, replace(applied, reference="stranger")])


def a_strangers_money(evidence: Evidence) -> Evidence:
    row = LedgerStanding(service="payment", reference="stranger", effect={"EUR": 1})
    return replace(evidence, standing=[*evidence.standing, row])


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


def repeated_after(hours: float, action: str = "execute") -> Change:
    """Ask for a payment once more when so much time has passed, of services that know a key for 24 hours."""

    def changed(evidence: Evidence) -> Evidence:
        saga_id = first_of(evidence, "fine")
        asked = next(
            line
            for line in evidence.lines
            if line.reference == saga_id and is_of(line, "arrived payment execute")
        )
        assert asked.at is not None
        again = replace(asked, action=action, at=asked.at + round(hours * 3600 * 1e9))
        return replace(evidence, lines=[*evidence.lines, again], key_window=24 * 3600.0)

    return changed


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


# ── what is right ────────────────────────────────────────────────────────────────────────────────────


def test_a_real_run_has_no_violation(right: Evidence) -> None:
    """It went through every kind of ending, with sagas seen under way, and the checker holds nothing against it."""
    assert check(right) == []
    ended = {saga["id"]: saga["status"] for saga in documents(right)}
    assert len(ended) == len(ORDERS) + 1
    assert {*ended.values()} == {"completed", "compensated", "needs_attention"}
    assert "running" in {saga["status"] for saga in documents(right)}
    assert {line.phase for line in right.lines} == {"arrived", "applied", "replied"}


def an_action_that_comes_late(evidence: Evidence) -> Evidence:
    """Apply a given-up payment after its compensation arrived at a service that was down, and before it is undone."""

    def change(lines: list[LedgerLine]) -> list[LedgerLine]:
        sent = next(line for line in lines if is_of(line, "arrived payment execute"))
        undo = next(line for line in lines if is_of(line, "arrived payment compensate"))
        return [
            sent,
            undo,
            replace(undo, phase="replied", status=503),
            sent,  # a repeat that the network held up
            replace(sent, phase="applied"),
            undo,
            replace(undo, phase="applied"),
            replace(undo, phase="replied", status=200),
            sent,  # and another, which comes to nothing
            replace(sent, phase="replied", status=410),
        ]

    return of_lines("late", change)(evidence)


def a_poisoned_saga(evidence: Evidence) -> Evidence:
    """Park a saga with the payment made: its process died again and again."""

    def change(document: dict[str, Any]) -> None:
        trail_is("saga_started", "step_succeeded payment", *["saga_recovered"] * 5, "saga_needs_attention")(
            document
        )
        document["trail"][-1]["error"] = {"code": "poisoned"}
        document.update(status="needs_attention", finished_at=None)

    return replace(shown("fine", change)(evidence), deaths=5)


RIGHT: list[tuple[str, Change]] = [
    ("an action comes late, where it is about to be undone", an_action_that_comes_late),
    ("a compensation that never arrived was given up", dropped("stuck", "* inventory compensate")),
    (
        "a saga is taken over once a process died",
        all_of(shown("fine", recovered), lambda e: replace(e, deaths=1)),
    ),
    ("nobody counted deaths", all_of(shown("fine", recovered), lambda e: replace(e, deaths=None))),
    ("a saga is parked as it is", a_poisoned_saga),
    ("a saga is cancelled", shown("far", cancelled)),
    ("orders were not kept", without_orders),
    ("a stranger's saga is still to be shown", lambda e: replace(a_strangers_money(e), settled=False)),
    ("a request is sent again within the key's window", repeated_after(23.9)),
    ("a look-up comes after the key's window", repeated_after(24.1, "get")),
    (
        "a service is looked up under the key of what it was asked",
        added("fine", "arrived payment get", idempotency_key="as execute"),
    ),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=what) for what, change in RIGHT])
def test_given_only_what_may_happen_nothing_is_violated(right: Evidence, change: Change) -> None:
    """What looks odd and is allowed is no violation."""
    changed = change(right)
    assert changed != right
    assert check(changed) == []


@given(data=st.data())
def test_every_beginning_of_a_right_run_is_right(right: Evidence, data: st.DataObject) -> None:
    """However much of the answers and of the lines is known yet, while the run isn't settled."""
    answers = data.draw(st.integers(0, len(right.answers)), label="answers")
    lines = data.draw(st.integers(0, len(right.lines)), label="lines")
    beginning = replace(right, answers=right.answers[:answers], lines=right.lines[:lines], settled=False)
    assert check(beginning) == []


@given(seed=st.integers())
def test_the_order_of_parallel_clients_answers_is_all_the_same(right: Evidence, seed: int) -> None:
    """Answers that came in another order than they were given are held against nobody."""
    answers = list(right.answers)
    random.Random(seed).shuffle(answers)
    assert check(replace(right, answers=answers)) == []


def many(evidence: Evidence, copies: int) -> Evidence:
    """Return the same run so many times over, each with sagas, orders and keys of its own."""
    answers, lines, standing = [], [], []
    sagas = {document["id"] for document in documents(evidence)}
    for copied in range(copies):
        names = {saga_id: f"{saga_id[:-5]}{copied:05}" for saga_id in sagas}
        assert len({*names.values()}) == len(sagas)
        for answer in evidence.answers:
            text = json.dumps(answer.document)
            for name, own in names.items():
                text = text.replace(name, own)
            document = json.loads(text)
            for saga in documents_in(replace(answer, document=document)):
                assert isinstance(saga, dict)
                saga["order_id"] += f"-{copied}"
            order = answer.order and {**answer.order, "order_id": f"{answer.order['order_id']}-{copied}"}
            key = answer.idempotency_key and f"{answer.idempotency_key}-{copied}"
            answers.append(replace(answer, document=document, order=order, idempotency_key=key))
        for line in evidence.lines:
            own = names[line.reference]
            key = line.idempotency_key.replace(line.reference, own)
            lines.append(replace(line, reference=own, idempotency_key=key))
        standing += [replace(row, reference=names[row.reference]) for row in evidence.standing]
    return replace(evidence, answers=answers, lines=lines, standing=standing)


def test_3000_sagas_are_judged_in_a_few_seconds(right: Evidence) -> None:
    """One wrong charge among them is found, and nothing else, in time that grows with their number alone."""
    copies = 3000 // (len(ORDERS) + 1) + 1
    everything = many(right, copies)
    assert len(everything.lines) > 20_000
    wrong = next(n for n, row in enumerate(everything.standing) if row.effect.get("EUR") == 3998)
    everything = replace(
        everything,
        standing=[
            replace(row, effect={"EUR": 3999}) if n == wrong else row
            for n, row in enumerate(everything.standing)
        ],
    )
    began = time.process_time()
    violations = check(everything)
    spent = time.process_time() - began
    assert [(v.invariant, v.about) for v in violations] == [
        ("completed_stands", everything.standing[wrong].reference)
    ]
    assert spent < 20, f"{spent:.1f} s of the processor for {len(everything.lines)} lines"
