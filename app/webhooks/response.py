"""What a receiver answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookResponse:
    """What a receiver answered: a status, or an `error` in words where there is none."""

    status: int | None = None
    retry_after: float | None = None
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.status is not None and 200 <= self.status < 300
