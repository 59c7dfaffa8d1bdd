"""Settings of what runs sagas: attempts, deadlines, leases and recovery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.settings.groups.group import Count, Seconds, SettingsGroup


class EngineSettings(SettingsGroup):
    """How sagas are run, retried, recovered and drained."""

    step_timeout_seconds: Seconds = Field(5.0, description="Timeout of one call to a service.")
    step_max_attempts: Count = Field(4, description="Attempts of one step going forward.")
    compensation_max_attempts: Count = Field(
        20, description="Attempts of one compensation, before needs_attention."
    )
    retry_base_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        0.1,
        description="First upper bound of the delay between attempts: exponential back-off with full jitter.",
    )
    retry_cap_seconds: Seconds = Field(30.0, description="Largest upper bound of that delay.")
    max_retry_after_seconds: Seconds = Field(
        3600.0,
        description="The longest Retry-After of a service that a compensation honours. A step going forward honours it up to the deadline.",
    )
    deadline_seconds: Seconds = Field(
        300.0,
        description="Deadline of a saga going forward; after it, the saga is compensated (deadline_exceeded).",
    )
    key_window_seconds: Seconds = Field(
        82800.0,
        description="Nothing is sent again under a key older than this, only looked up: services forget keys, "
        "Stripe's after a day.",
    )
    park_after_seconds: Seconds = Field(
        5.0,
        description="A longer delay than this is waited for in the database, not in memory.",
    )
    lease_seconds: Seconds = Field(
        10.0, description="A dead replica's sagas are taken over within two of these."
    )
    recovery_poll_seconds: Seconds = Field(
        1.0, description="Interval of the search for sagas that no replica runs."
    )
    recovery_max_in_flight: Count = Field(256, description="Recovered sagas that one process runs at once.")
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        20.0, description="How long running sagas may continue after SIGTERM."
    )

    def faults(self) -> Iterator[str]:
        """Yield what doesn't fit together."""
        yield from super().faults()
        if self.retry_cap_seconds < self.retry_base_seconds:
            yield (
                f"CHECKOUT_RETRY_CAP_SECONDS must be at least CHECKOUT_RETRY_BASE_SECONDS ({self.retry_base_seconds:g})."
            )
