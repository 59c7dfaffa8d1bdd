"""What no saga log accepts: the checks that every implementation makes before it stores anything."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.saga.model.errors import LogRefused
from app.saga.model.events import SagaEvent
from app.saga.model.status import FINAL, INACTIVE, SagaStatus
from app.saga.ports.log import NewSaga, RowChange

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_start(saga: NewSaga, event: SagaEvent) -> None:
    """Raise `LogRefused` for a start that no log accepts."""
    for text in (
        saga.caller,
        saga.definition,
        saga.idempotency_key,
        saga.fingerprint,
        saga.order_id,
        saga.customer_id,
        saga.request_id,
        event.step,
    ):
        _check_text(text)
    if event.seq != 1:
        raise LogRefused("A saga's first event has seq 1.")
    _ = saga.text, event.text


def check_operate(event: SagaEvent, status: SagaStatus) -> None:
    """Raise `LogRefused` for an operator's action that no log accepts."""
    if status in INACTIVE:
        raise LogRefused("An operator's action makes a saga continue.")
    _check_text(event.step)
    _ = event.text


def check_append(events: Sequence[SagaEvent], change: RowChange | None) -> None:
    """Raise `LogRefused` for an append that no log accepts."""
    if not events or [e.seq for e in events] != list(range(events[0].seq, events[0].seq + len(events))):
        raise LogRefused("An append has at least one event, with consecutive seq.")
    if len(events) > 1 and change is None:
        raise LogRefused("Several events can be appended only together with a change of the saga.")
    if change is not None and (change.status in FINAL) is not (change.finished_at is not None):
        raise LogRefused("A saga has finished_at exactly if its status is final.")
    if change is not None and (change.status in INACTIVE) is not (change.next_action_at is None):
        raise LogRefused("A saga has next_action_at exactly if it isn't inactive.")
    for event in events:
        _check_text(event.step)
        _ = event.text


def _check_text(text: str | None) -> None:
    if text is not None and _UNSTORABLE.search(text):
        raise LogRefused("A text with NUL or a lone surrogate can't be stored.")
