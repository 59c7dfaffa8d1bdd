"""Settings of payment, inventory and shipping."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from app.settings.groups.group import Count, SettingsGroup, named
from app.settings.service_url import checked_base_url, checked_bearer_token


class ServicesSettings(SettingsGroup):
    """Where the services are, and what a call may take."""

    payment_url: str = Field(
        "",
        validation_alias=named("PAYMENT_URL"),
        description="Base URL of the payment service; empty: the sandbox.",
    )
    inventory_url: str = Field(
        "",
        validation_alias=named("INVENTORY_URL"),
        description="Base URL of the inventory service; empty: the sandbox.",
    )
    shipping_url: str = Field(
        "",
        validation_alias=named("SHIPPING_URL"),
        description="Base URL of the shipping service; empty: the sandbox.",
    )
    payment_token: SecretStr | None = Field(None, description="Bearer token for the payment service.")
    inventory_token: SecretStr | None = Field(None, description="Bearer token for the inventory service.")
    shipping_token: SecretStr | None = Field(None, description="Bearer token for the shipping service.")
    max_calls_per_service: Count = Field(
        128,
        description="Concurrent calls to one service; further ones wait.",
    )
    max_answer_bytes: Count = Field(1_000_000, description="The largest answer read from a service.")

    @property
    def any_service_is_remote(self) -> bool:
        """Whether one of the services has a URL."""
        return any((self.payment_url, self.inventory_url, self.shipping_url))

    @property
    def every_service_is_remote(self) -> bool:
        """Whether each of the services has a URL, so that the sandbox isn't used."""
        return all((self.payment_url, self.inventory_url, self.shipping_url))

    @field_validator("payment_url", "inventory_url", "shipping_url")
    @classmethod
    def _is_a_base_url(cls, value: str) -> str:
        return checked_base_url(value) if value else value

    @field_validator("payment_token", "inventory_token", "shipping_token")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_bearer_token(value.get_secret_value())
        return value
