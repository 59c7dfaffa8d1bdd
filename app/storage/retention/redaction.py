"""What is left of a saga once its customer's data is removed: the skeleton that an auditor needs.

kept     which order, how much, which steps at which times with which outcome, the services' references
         (so that each charge can still be found where it was made), and which person did what and why
removed  whatever says who the customer is, what was bought and where it went, and every text that a
         service wrote: nobody knows what is in it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REMOVED = "(removed)"
"""The replacement of removed data, also of a customer's id, so that lists show that it was removed."""

MARKER = "redacted"
"""A member of a redacted saga's input. No order can have it, as the API refuses members that it doesn't know."""

_OF_ERRORS = frozenset({"code", "kind"})
_OF_EVENTS = frozenset(
    {"outcome", "duration_ms", "looked_up", "next_action_at", "who", "reason", "reference", "action"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Redaction:
    """What of a saga type is no customer's data: these members of its input, and of its steps' results, are kept."""

    kept_input: tuple[str, ...]
    kept_results: frozenset[str]

    def input(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what stays of a saga's input."""
        kept = {name: given[name] for name in self.kept_input if name in given}
        return {**kept, "customer_id": REMOVED, MARKER: True}

    def data(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return what stays of an event's data. Members that are not listed are removed."""
        kept = {name: value for name, value in data.items() if name in _OF_EVENTS}
        if isinstance(data.get("result"), Mapping):
            results = data["result"].items()
            kept["result"] = {name: value for name, value in results if name in self.kept_results}
        if isinstance(data.get("error"), Mapping):
            error = {name: value for name, value in data["error"].items() if name in _OF_ERRORS}
            kept["error"] = {**error, "message": REMOVED}
        return kept
