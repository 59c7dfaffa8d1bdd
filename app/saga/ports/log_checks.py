"""What no saga log accepts: the checks that every implementation makes before it stores anything."""

from __future__ import annotations

import re
from collections.abc import Sequence

from app.saga.model.errors import LogRefused
from app.saga.model.events import SagaEvent
from app.saga.model.status import FINAL, INACTIVE, SagaStatus
from app.saga.model.step import Encode, encode
from app.saga.ports.log import NewSaga, RowChange

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_start(saga: NewSaga, event: SagaEvent, encode: Encode = encode) -> None:
    """Raise `LogRefused` for a start that no log accepts. Else make its JSON texts, by `encode`."""
    texts = (
        saga.caller,
        saga.definition,
        saga.idempotency_key,
        saga.fingerprint,
        saga.order_id,
        saga.customer_id,
        saga.request_id,
        event.step,
    )
    _check_text(" ".join(filter(None, texts)))
    if event.seq != 1:
        raise LogRefused("A saga's first event has seq 1.")
    saga.encode(encode)
    event.encode(encode)


def check_operate(event: SagaEvent, status: SagaStatus) -> None:
    """Raise `LogRefused` for an operator's action that no log accepts."""
    if status in INACTIVE:
        raise LogRefused("An operator's action makes a saga continue.")
    _check_text(event.step or "")
    event.encode()


def check_append(events: Sequence[SagaEvent], change: RowChange | None, encode: Encode = encode) -> None:
    """Raise `LogRefused` for an append that no log accepts. Else make its events' JSON texts, by `encode`."""
    if not events:
        raise LogRefused("An append has at least one event.")
    if change is None:
        if len(events) > 1:
            raise LogRefused("Several events can be appended only together with a change of the saga.")
    elif (change.status in FINAL) is not (change.finished_at is not None):
        raise LogRefused("A saga has finished_at exactly if its status is final.")
    elif (change.status in INACTIVE) is not (change.next_action_at is None):
        raise LogRefused("A saga has next_action_at exactly if it isn't inactive.")
    for seq, event in enumerate(events, events[0].seq):
        if event.seq != seq:
            raise LogRefused("The events of an append have consecutive seq.")
        _check_text(event.step or "")
        event.encode(encode)


def _check_text(text: str) -> None:
    if _UNSTORABLE.search(text):
        raise LogRefused("A text with NUL or a lone surrogate can't be stored.")
