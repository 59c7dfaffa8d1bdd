"""What an operator did to a saga: who, why and when, as the trail records it for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.saga.model.step import JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorAction:
    """One action of an operator.

    `id` is random and unique, so that a repeat of one whose answer was lost is recognised.
    `reference` says where the operator settled a step outside, such as a refund's id.
    """

    id: str
    who: str
    reason: str
    at: datetime
    reference: str | None = None

    def data(self) -> dict[str, JSON]:
        """Return it as the data of its event; the event itself has the time."""
        data: dict[str, JSON] = {"who": self.who, "reason": self.reason, "action": self.id}
        return data if self.reference is None else {**data, "reference": self.reference}

    @classmethod
    def of(cls, data: Mapping[str, JSON], at: datetime) -> OperatorAction:
        """Return the action that an event records."""
        return cls(
            id=str(data.get("action", "")),
            who=str(data.get("who", "")),
            reason=str(data.get("reason", "")),
            at=at,
            reference=data.get("reference"),
        )

    def stored(self) -> dict[str, JSON]:
        """Return it as JSON with its time, as a cancellation request is stored."""
        return {**self.data(), "at": self.at.isoformat()}

    @classmethod
    def read(cls, stored: Mapping[str, JSON]) -> OperatorAction:
        """Return the action from what `stored` returned."""
        return cls.of(stored, datetime.fromisoformat(stored["at"]))
