"""The header `traceparent` (W3C Trace Context): which trace a call belongs to."""

from __future__ import annotations

import hashlib
import re
import uuid

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(-.*)?"
)


def traceparent(given: str | None, reference: str, *, span_id: str) -> str:
    """Return the header for a call: the given one's trace under a new span, else the saga's own trace.

    A saga's own trace has its id as trace id, so that a log line leads to the trace without a look-up.
    """
    match = _TRACEPARENT.fullmatch(given) if given else None
    if match and match["trace"].strip("0") and match["span"].strip("0"):
        return f"00-{match['trace']}-{span_id}-{match['flags']}"
    return f"00-{_trace_id(reference)}-{span_id}-01"


def _trace_id(reference: str) -> str:
    try:
        trace_id = uuid.UUID(reference).hex
    except ValueError:
        trace_id = hashlib.sha256(reference.encode()).hexdigest()[:32]
    return trace_id if trace_id.strip("0") else "1".zfill(32)
