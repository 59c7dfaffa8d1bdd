"""What must hold in every run, whatever died when. It knows the answers and the ledgers, and no product code.

    evidence ──▶ Run: by saga ──▶ each invariant ──▶ violations, by the invariant's name

Each invariant yields whom it is about and what was seen. What a run that isn't settled has not shown
yet is never held against it, so that every beginning of a right run is right as well.

To judge that everything has ended a settled run must have read every saga once more at its end.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from tests.proof.evidence import Evidence, LedgerLine, Violation
from tests.proof.seen import (
    SERVICES,
    Effect,
    Run,
    SagaSeen,
    acknowledges,
    documents_in,
    named_in,
    saga_in_path,
    trail_of,
)

Finding = tuple[str, str]
"""Whom a violation is about, and what was seen."""


class Invariant(Protocol):
    """One promise; its violations bear its name."""

    __name__: str

    def __call__(self, run: Run) -> Iterator[Finding]: ...


def check(evidence: Evidence) -> list[Violation]:
    """Return every violation of every invariant; none for a run that was right."""
    run = Run.of(evidence)
    return [
        Violation(invariant.__name__, about, seen)
        for invariant in INVARIANTS
        for about, seen in invariant(run)
    ]


# ── what stands in the books ─────────────────────────────────────────────────────────────────────────


def completed_stands(run: Run) -> Iterator[Finding]:
    """A completed saga has exactly one effect at each service, of what was ordered."""
    for saga in run.shown:
        if all(document.get("status") != "completed" for document in saga.documents):
            continue
        if saga.order is not None and (told := _paid(saga.document)) != _ordered(saga.order)["payment"]:
            yield saga.id, f"it shows {told}, but {_ordered(saga.order)['payment']} was ordered"
        for service in {*SERVICES} - saga.resolved:
            wanted, found = _wanted(saga, service), saga.effects[service]
            wrong = len(found) != 1 if wanted is None else found != ([wanted] if wanted else [])
            if wrong:
                yield (
                    saga.id,
                    f"completed, but at {service} there stands {found}, not {'one effect' if wanted is None else wanted}",
                )


def _wanted(saga: SagaSeen, service: str) -> Effect | None:
    """Return the effect that a completed saga has at a service; None where the evidence doesn't tell."""
    if saga.order is not None:
        return _ordered(saga.order)[service]
    return {"payment": _paid(saga.document), "shipping": {"parcels": 1}}.get(service)


def _ordered(order: Mapping[str, object]) -> dict[str, Effect]:
    items = order["items"]
    assert isinstance(items, list)
    goods: Counter[str] = Counter()
    for item in items:
        goods[item["sku"]] += item["quantity"]
    amount = sum(item["quantity"] * item["unit_price"] for item in items)
    payment = {str(order["currency"]): amount} if amount else {}
    return {"payment": payment, "inventory": dict(goods), "shipping": {"parcels": 1}}


def _paid(document: Mapping[str, object]) -> Effect | None:
    amount, currency = document.get("amount"), document.get("currency")
    if not isinstance(amount, int) or not isinstance(currency, str):
        return None
    return {currency: amount} if amount else {}


def compensated_leaves_nothing(run: Run) -> Iterator[Finding]:
    """Where a saga is compensated, or a step is or certainly failed, nothing stands: now and for ever."""
    for saga in run.shown:
        undone = {*saga.steps_with("step_compensated", "step_failed")} - saga.left
        if any(document.get("status") == "compensated" for document in saga.documents):
            undone = {*SERVICES} - saga.resolved
        for service in SERVICES:
            if service in undone and saga.effects[service]:
                yield saga.id, f"undone, but at {service} there stands {saga.effects[service]}"


def nobody_elses(run: Run) -> Iterator[Finding]:
    """Whatever was done or stands belongs to a saga that an answer named."""
    if not run.evidence.settled:
        return
    for saga in run.sagas.values():
        if saga.acknowledged:
            continue
        applied = sorted({line.service for line in saga.lines if line.phase == "applied"})
        if applied or any(saga.effects.values()):
            yield (
                saga.id,
                f"no answer named it, but it was applied at {applied}; stands: {dict(saga.effects)}",
            )


def unique_effects_at_the_books(run: Run) -> Iterator[Finding]:
    """The books have one row for a reference at a service."""
    rows = Counter((row.service, row.reference) for row in run.evidence.standing)
    for (service, reference), count in rows.items():
        if count > 1:
            yield reference, f"{count} rows at {service}"


# ── what the services were asked ─────────────────────────────────────────────────────────────────────


def one_charge(run: Run) -> Iterator[Finding]:
    """At any time each action was applied once at most for a saga, and stands once at most for an order."""
    applied: Counter[tuple[str, str]] = Counter()
    standing: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for line in run.evidence.lines:
        if line.phase != "applied":
            continue
        order_id = run.sagas[line.reference].document.get("order_id")
        of_order = standing[str(order_id or line.reference), line.service]
        if line.action == "compensate":
            of_order.discard(line.reference)
        elif line.action == "execute":
            applied[line.reference, line.service] += 1
            of_order.add(line.reference)
            if applied[line.reference, line.service] > 1:
                yield line.reference, f"applied again at {line.service}"
            if len(of_order) > 1:
                yield (
                    line.reference,
                    f"stands at {line.service} beside {of_order - {line.reference}} of its order",
                )
    for saga in run.sagas.values():
        for service, effects in saga.effects.items():
            if len(effects) > 1:
                yield saga.id, f"{len(effects)} effects stand at {service}"


def closed_after_compensation(run: Run) -> Iterator[Finding]:
    """After the first compensation of a saga arrived, no new action of it is applied.

    The first compensation is that of the step being given up, if any was: an action of that very step
    may still be on its way, and even be applied, until its compensation is. At every other service no
    action may be applied any more, nor one arrive where none had.
    """
    for saga in run.sagas.values():
        first: str | None = None
        arrived, closed = set(), set()
        for line in saga.lines:
            service = line.service
            if line.action == "compensate":
                if line.phase == "arrived":
                    first = first or service
                elif line.phase == "applied" or acknowledges(line):
                    closed.add(service)
            if line.action != "execute":
                continue
            if line.phase == "applied" and service in closed:
                yield saga.id, f"applied at {service} after it was undone there"
            elif first not in {None, service} and not saga.may_be_given_up(service):
                if line.phase == "applied":
                    yield saga.id, f"applied at {service} after compensating began at {first}"
                elif line.phase == "arrived" and service not in arrived:
                    yield saga.id, f"began at {service} after compensating began at {first}"
            if line.phase == "arrived":
                arrived.add(service)


def reverse_order(run: Run) -> Iterator[Finding]:
    """Compensations run in the reverse of the order of completion, each acknowledged before the next is sent."""
    for saga in run.shown:
        order = saga.completion_order
        undone = saga.steps_with("step_compensated", "compensation_failed")
        if undone != order[::-1][: len(undone)]:
            yield saga.id, f"completed {order}, but undone {undone}"
        for again in _tries(saga)[1:]:
            places = [order[::-1].index(step) for step in again if step in order]
            if places != sorted(places):
                yield saga.id, f"completed {order}, but tried again {again}"
        begun, acknowledged = set(), set()
        for line in saga.lines_of("compensate"):
            step = line.service
            if line.phase == "arrived" and step in order and step not in begun:
                begun.add(step)
                for later in order[order.index(step) + 1 :]:
                    if later not in acknowledged and not saga.may_be_given_up(later):
                        yield saga.id, f"{step}'s compensation arrived before {later}'s was acknowledged"
            elif acknowledges(line):
                acknowledged.add(step)


def _tries(saga: SagaSeen) -> list[list[str]]:
    """Return the compensations that ended, in their order: at first, and after each retry by a person."""
    tries: list[list[str]] = [[]]
    for event in saga.trail:
        if event.get("event") == "retry_requested":
            tries.append([])
        elif event.get("event") in {"step_compensated", "compensation_failed"}:
            tries[-1].append(str(event.get("step")))
    return tries


def same_request(run: Run) -> Iterator[Finding]:
    """Every delivery of an action has one key and one body, and no two actions share a key."""
    asked: dict[tuple[str, str, str], LedgerLine] = {}
    keys: dict[str, tuple[str, str, str]] = {}
    for line in run.evidence.lines:
        if (
            line.phase != "arrived" or line.action == "get"
        ):  # a look-up asks under the key of what it looks for
            continue
        action = (line.service, line.reference, line.action)
        first = asked.setdefault(action, line)
        if line.idempotency_key != first.idempotency_key:
            yield line.reference, f"{action} under {first.idempotency_key!r}, then {line.idempotency_key!r}"
        if line.fingerprint != first.fingerprint:
            yield line.reference, f"{action} with another body"
        if (other := keys.setdefault(line.idempotency_key, action)) != action:
            yield line.reference, f"{line.idempotency_key!r} is the key of {other} and of {action}"


def within_the_key_window(run: Run) -> Iterator[Finding]:
    """Nothing is sent again under a key that the service may have forgotten: it would be done twice."""
    window = run.evidence.key_window
    if window is None:
        return
    began: dict[str, int] = {}
    for line in run.evidence.lines:
        if line.phase != "arrived" or line.action == "get" or line.at is None:
            continue
        age = (line.at - began.setdefault(line.idempotency_key, line.at)) / 1e9
        if age > window:
            yield line.reference, f"{line.service} {line.action} under a key that is {age:g} s old"


def undone_what_was_done(run: Run) -> Iterator[Finding]:
    """Each step that had, or may have had, an effect was compensated; one that had none was not.

    One whose compensation failed for good holds back no other. A saga that was parked for another
    reason, which `saga_needs_attention` then tells, is left as it was.
    """
    for saga in run.shown:
        asked = {line.service for line in saga.lines_of("compensate")}
        for step in sorted(asked & _never_done(saga)):
            yield saga.id, f"{step} was compensated, though it is {saga.status} and had nothing to undo there"
        if not run.evidence.settled or not _went_back(saga):
            continue
        undone = {line.service for line in saga.lines_of("compensate") if acknowledges(line)}
        for step in saga.completion_order:
            if step not in undone | saga.left:
                yield saga.id, f"{saga.status}, but no compensation of {step} was acknowledged"


def _never_done(saga: SagaSeen) -> set[str]:
    """Return the services at which a saga has nothing to undo, for certain and for ever."""
    if saga.status == "completed":
        return {*SERVICES}
    failed = {*saga.steps_with("step_failed")}
    return failed | ({*SERVICES} - {*saga.completion_order}) if saga.inactive else failed


def _went_back(saga: SagaSeen) -> bool:
    if saga.status == "needs_attention":
        return saga.trail[-1].get("error") is None
    return saga.status == "compensated"


# ── what the answers show ────────────────────────────────────────────────────────────────────────────

_BEFORE = "as it was before"
"""From needs_attention a saga goes on as it was when it stopped: forward, or back."""

_WORDS: Mapping[str, tuple[frozenset[str], str | None]] = {
    "step_succeeded": (frozenset({"running"}), None),
    "step_retried": (frozenset({"running"}), None),
    "step_failed": (frozenset({"running"}), "compensating"),
    "step_unknown": (frozenset({"running"}), "compensating"),
    "step_compensated": (frozenset({"compensating"}), None),
    "compensation_retried": (frozenset({"compensating"}), None),
    "compensation_failed": (frozenset({"compensating"}), None),
    "saga_recovered": (frozenset({"running", "compensating"}), None),
    "saga_completed": (frozenset({"running"}), "completed"),
    "saga_compensated": (frozenset({"compensating"}), "compensated"),
    "saga_needs_attention": (frozenset({"running", "compensating"}), "needs_attention"),
    "cancel_requested": (frozenset({"running", "needs_attention"}), "running"),
    "retry_requested": (frozenset({"needs_attention"}), _BEFORE),
    "step_resolved": (frozenset({"needs_attention"}), _BEFORE),
}
"""The words that may follow `saga_started`: in which statuses, and which status they make. The only edges."""

_OPERATORS = frozenset({"cancel_requested", "retry_requested", "step_resolved"})


def edges(run: Run) -> Iterator[Finding]:
    """A saga's status walks the allowed edges only, and agrees with its trail."""
    for saga in run.shown:
        statuses = ["running"]
        for event in saga.trail[1:]:
            allowed, to = _WORDS.get(str(event.get("event")), (frozenset({statuses[-1]}), None))
            if statuses[-1] not in allowed:
                yield saga.id, f"{event.get('event')} while it is {statuses[-1]}"
            if event.get("event") == "cancel_requested" and "compensating" in statuses:
                yield saga.id, "cancelled after it had gone back"
            if to == _BEFORE:
                to = next((s for s in reversed(statuses) if s != "needs_attention"), None)
            statuses.append(to or statuses[-1])
        for document in saga.documents:
            told = statuses[min(len(trail_of(document)), len(statuses)) - 1]
            if document.get("status") != told:
                yield saga.id, f"shown {document.get('status')} where its trail says {told}"


def trail(run: Run) -> Iterator[Finding]:
    """A trail is appended to and never rewritten, without gaps, and time never goes back in it."""
    for saga in run.shown:
        for shorter, longer in itertools.pairwise(saga.documents):
            told, more = list(trail_of(shorter)), list(trail_of(longer))
            if more[: len(told)] != told:
                yield saga.id, f"a trail of {len(told)} events is no beginning of one of {len(more)}"
        words = [event.get("event") for event in saga.trail]
        if words[:1] != ["saga_started"]:
            yield saga.id, f"it begins with {words[:1]}"
        if unknown := sorted({str(word) for word in words[1:]} - _WORDS.keys()):
            yield saga.id, f"{unknown} can't stand there"
        numbers = [event.get("seq") for event in saga.trail]
        if numbers != list(range(1, len(numbers) + 1)):
            yield saga.id, f"numbered {numbers}"
        times = [datetime.fromisoformat(event["at"]) for event in saga.trail if "at" in event]
        if len(times) != len(numbers) or times != sorted(times):
            yield saga.id, "its time goes back, or is missing"
        epochs = [event["epoch"] for event in saga.trail if "epoch" in event]
        if epochs != sorted(epochs):
            yield saga.id, f"epochs go down: {epochs}"


def who_and_why(run: Run) -> Iterator[Finding]:
    """Each action of an operator's stands in the trail with who and why; nothing else claims to be one."""
    for saga in run.shown:
        for event in saga.trail:
            told = bool(event.get("who")) and bool(event.get("reason"))
            if told is not (event.get("event") in _OPERATORS):
                yield saga.id, f"{event.get('event')} by {event.get('who')!r} for {event.get('reason')!r}"


def final_is_final(run: Run) -> Iterator[Finding]:
    """Once completed or compensated, a saga is shown the same for ever."""
    members = ("status", "trail", "finished_at", "steps")
    for saga in run.shown:
        final = [
            n for n, one in enumerate(saga.documents) if one.get("status") in {"completed", "compensated"}
        ]
        if not final:
            continue
        first = saga.documents[final[0]]
        length = len(trail_of(first))
        for document in saga.documents:
            changed = [member for member in members if document.get(member) != first.get(member)]
            if changed and len(trail_of(document)) >= length:
                yield saga.id, f"{first.get('status')}, and later its {', '.join(changed)} changed"


def acknowledged_is_kept(run: Run) -> Iterator[Finding]:
    """Whatever an answer named is found for ever, ends, and is the only one of its key and of its order."""
    named: set[str] = set()
    of_key: dict[str, str] = {}
    for answer in run.evidence.answers:
        path = saga_in_path(answer.path)
        if answer.status == 404 and path in named:
            yield str(path), "404 after it had been acknowledged"
        named.update(named_in(answer))
        if answer.method == "POST" and answer.idempotency_key is not None:
            for document in documents_in(answer):
                saga_id = str(document.get("id"))
                first = of_key.setdefault(answer.idempotency_key, saga_id)
                if first != saga_id:
                    yield saga_id, f"key {answer.idempotency_key!r} had made {first}"
    settled = run.evidence.settled
    of_order: defaultdict[str, list[str]] = defaultdict(list)
    for saga in run.sagas.values():
        if settled and saga.acknowledged and not saga.inactive:
            yield saga.id, f"it never ended: {saga.status or 'never shown'}"
        if saga.documents and (saga.status != "compensated" if settled else saga.status == "completed"):
            of_order[str(saga.document.get("order_id"))].append(saga.id)
    for order_id, sagas in of_order.items():
        if len(sagas) > 1:
            yield order_id, f"it has several sagas: {sagas}"


def no_theft(run: Run) -> Iterator[Finding]:
    """A saga is taken over at most as often as a process died."""
    deaths = run.evidence.deaths
    if deaths is None:
        return
    for saga in run.shown:
        recovered = sum(event.get("event") == "saga_recovered" for event in saga.trail)
        if recovered > deaths:
            yield saga.id, f"taken over {recovered} times, at {deaths} deaths"


INVARIANTS: tuple[Invariant, ...] = (
    completed_stands,
    compensated_leaves_nothing,
    nobody_elses,
    one_charge,
    closed_after_compensation,
    reverse_order,
    same_request,
    within_the_key_window,
    edges,
    trail,
    who_and_why,
    final_is_final,
    acknowledged_is_kept,
    undone_what_was_done,
    no_theft,
    unique_effects_at_the_books,
)

__all__ = ["INVARIANTS", "check"]
