"""Settings of the webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from app.settings.groups.group import Seconds, SettingsGroup
from app.settings.webhook_endpoints import Endpoint, endpoints_of


class WebhookSettings(SettingsGroup):
    """The endpoints that are notified, and how deliveries are retried."""

    webhooks: SecretStr = Field(
        SecretStr(""),
        description="Endpoints that are notified of each checkout's end: a JSON list, as docs/how-to/receive-webhooks.md has it.",
    )
    webhooks_allow_private: bool = Field(
        False, description="Endpoints may be on private networks, and use http."
    )
    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        15.0, description="Timeout of one delivery."
    )
    webhook_poll_seconds: Seconds = Field(1.0, description="Interval of the search for events to deliver.")
    webhook_retry_delays: str = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Seconds between the attempts of one delivery; after the last one it is failed.",
    )

    @property
    def webhook_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that `webhooks` describes."""
        return endpoints_of(self.webhooks.get_secret_value(), allow_private=self.webhooks_allow_private)

    @field_validator("webhook_retry_delays")
    @classmethod
    def _are_delays(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?(,[0-9]{1,6}(\.[0-9]+)?){0,49}", value):
            raise ValueError("Write CHECKOUT_WEBHOOK_RETRY_DELAYS as seconds, such as 5,300,1800.")
        return value

    def faults(self) -> Iterator[str]:
        """Yield what doesn't fit together."""
        yield from super().faults()
        try:
            _ = self.webhook_endpoints
        except ValueError as error:
            yield str(error)
