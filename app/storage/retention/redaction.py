"""What is left of a saga once its customer's data is removed: the skeleton that an auditor needs.

kept     which order, how much, which steps at which times with which outcome, the services' references
         (so that each charge can still be found where it was made), and which person did what and why
removed  whatever says who the customer is, what was bought and where it went, and every text that a
         service wrote: nobody knows what is in it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REMOVED = "(removed)"
"""Stands where something was; also for a customer, so that whoever lists sagas can see it."""

MARKER = "redacted"
"""A member of a redacted saga's input. No order can have it, as the API refuses members that it doesn't know."""

_OF_INPUT = ("order_id", "amount", "currency")
_OF_RESULTS = frozenset(
    {"payment_id", "reservation_id", "shipment_id", "amount", "currency", "status", "carrier", "refund_id"}
)
_OF_ERRORS = frozenset({"code", "kind"})
_OF_EVENTS = frozenset(
    {"outcome", "duration_ms", "looked_up", "next_action_at", "who", "reason", "reference", "action"}
)


def redacted_input(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stays of a saga's input."""
    kept = {name: given[name] for name in _OF_INPUT if name in given}
    return {**kept, "customer_id": REMOVED, MARKER: True}


def redacted_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stays of an event's data. Members that nobody thought of here are removed."""
    kept = {name: value for name, value in data.items() if name in _OF_EVENTS}
    if isinstance(data.get("result"), Mapping):
        kept["result"] = {name: value for name, value in data["result"].items() if name in _OF_RESULTS}
    if isinstance(data.get("error"), Mapping):
        error = {name: value for name, value in data["error"].items() if name in _OF_ERRORS}
        kept["error"] = {**error, "message": REMOVED}
    return kept
