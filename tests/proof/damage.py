"""What one can do to the evidence of a right run: lose, move, add and rewrite what it says."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.proof.evidence import ApiAnswer, Document, Evidence, LedgerLine, LedgerStanding
from tests.proof.seen import documents_in

Change = Callable[[Evidence], Evidence]


Lines = Callable[[list[LedgerLine]], list[LedgerLine]]


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
