"""The checker: a right run has no violation, and what looks odd and is allowed is none."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof.damage import (
    Change,
    a_strangers_money,
    added,
    all_of,
    cancelled,
    documents,
    dropped,
    is_of,
    of_lines,
    recovered,
    repeated_after,
    shown,
    trail_is,
    without_orders,
)
from tests.proof.evidence import Evidence, LedgerLine
from tests.proof.invariants import check
from tests.proof.seen import documents_in
from tests.proof.small_run import ORDERS


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
