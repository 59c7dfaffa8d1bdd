"""W3C Trace Context: which trace a saga belongs to. It follows only from what is stored of the saga.

A saga that came with a `traceparent` is in that trace; any other has its own, with the saga's id as trace id,
so that a log line leads to the trace without a look-up. The first span of a saga has an id that is made of
the saga's: any process that continues it, even years later, can link to it.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from app.values.card_numbers import holds_card_number

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?"
)

_RECEIVED = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_LONGEST = 128
_UUID = re.compile(r"(?=[0-]*[1-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceContext:
    """A span somewhere else, in hex."""

    trace_id: str
    span_id: str
    flags: str

    @property
    def header(self) -> str:
        """The value of `traceparent` that says so."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def given_trace(header: object) -> TraceContext | None:
    """Return the trace that a stored `traceparent` names; None where it names none."""
    match = _TRACEPARENT.fullmatch(header) if isinstance(header, str) else None
    if match is None or not match["trace"].strip("0") or not match["span"].strip("0"):
        return None
    return TraceContext(trace_id=match["trace"], span_id=match["span"], flags=match["flags"])


def trace_id_of(header: object, reference: str) -> str:
    """Return the id of a saga's trace."""
    given = given_trace(header)
    return given.trace_id if given else _own(reference)


def first_span_of(reference: str) -> str:
    """Return the id of the span under which a saga ran at first."""
    return _never_zero(hashlib.sha256(b"span " + reference.encode()).hexdigest()[:16])


def traceparent_for(given: str | None, reference: str, *, span_id: str) -> str:
    """Return the header for a call: the given one's trace under a new span, else the saga's own trace."""
    trace = given_trace(given)
    flags = trace.flags if trace else "01"
    return TraceContext(trace_id=trace_id_of(given, reference), span_id=span_id, flags=flags).header


def accepted_traceparent(headers: Sequence[str]) -> str | None:
    """Return a request's `traceparent` where there is exactly one and it is valid; anything else is no trace, never an error."""
    if len(headers) != 1 or len(headers[0]) > _LONGEST:
        return None
    match = _RECEIVED.fullmatch(headers[0])
    if match is None or match["version"] == "ff" or (match["version"] == "00" and match[4]):
        return None
    if not match["trace"].strip("0") or not match["parent"].strip("0"):
        return None
    if holds_card_number(headers[0]):
        return (
            None  # sixteen digits of a span's id may be a card's, too; a trace is worth less than a mistake
        )
    return headers[0]


def _own(reference: str) -> str:
    if _UUID.fullmatch(reference):  # as the service makes them
        return reference.replace("-", "")
    try:
        trace_id = uuid.UUID(reference).hex
    except ValueError:
        trace_id = hashlib.sha256(reference.encode()).hexdigest()[:32]
    return _never_zero(trace_id)


def _never_zero(number: str) -> str:
    """All zeros is no id."""
    return number if number.strip("0") else "1".zfill(len(number))
