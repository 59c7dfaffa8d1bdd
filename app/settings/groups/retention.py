"""Settings of retention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from app.settings.groups.group import Count, Days, SettingsGroup

MIN_KEEP_SAGAS_DAYS = 2
"""An idempotency key must be known for longer than clients repeat a request."""


class RetentionSettings(SettingsGroup):
    """How long finished checkouts and their customers' data are kept."""

    keep_data_days: Days = Field(
        90, description="Days after which a finished checkout's customer data is redacted; 0: never."
    )
    keep_sagas_days: Days = Field(
        0,
        description="Days after which a finished checkout is deleted, with its Idempotency-Key; 0: never.",
    )
    retention_batch: Count = Field(200, description="Finished checkouts read in one transaction.")
    retention_pause_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        1.0, description="Pause between two such transactions, so that new checkouts aren't slowed."
    )

    def faults(self) -> Iterator[str]:
        """Yield what doesn't fit together."""
        yield from super().faults()
        data, sagas = self.keep_data_days, self.keep_sagas_days
        if 0 < sagas < MIN_KEEP_SAGAS_DAYS:
            yield (
                f"CHECKOUT_KEEP_SAGAS_DAYS must be at least {MIN_KEEP_SAGAS_DAYS}, or 0 for ever: with a saga its "
                "Idempotency-Key is forgotten."
            )
        if sagas >= MIN_KEEP_SAGAS_DAYS and not 0 < data <= sagas:
            yield (
                f"CHECKOUT_KEEP_SAGAS_DAYS must be at least CHECKOUT_KEEP_DATA_DAYS ({data}): data can't outlive its saga."
            )
