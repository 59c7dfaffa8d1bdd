"""The header `traceparent` (W3C Trace Context): which trace a call belongs to."""

from __future__ import annotations

from app.telemetry.trace_context import TraceContext, given_trace, trace_id_of


def traceparent(given: str | None, reference: str, *, span_id: str) -> str:
    """Return the header for a call: the given one's trace under a new span, else the saga's own trace."""
    trace = given_trace(given)
    flags = trace.flags if trace else "01"
    return TraceContext(trace_id=trace_id_of(given, reference), span_id=span_id, flags=flags).header
