"""The service's settings: one frozen object, read from the environment where the process begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from app.settings.database_url import parse_database_url
from app.settings.service_url import checked_base_url, checked_bearer_token
from app.settings.webhook_endpoints import Endpoint, endpoints_of

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Days = Annotated[int, Field(ge=0, le=36_500)]

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")

SHORTEST_KEEP_DAYS = 2
"""A key must be known for longer than anybody sends the same request again."""


def _named(name: str) -> AliasChoices:
    return AliasChoices(name)


class _Environment(EnvSettingsSource):
    """The environment's variables, without the blanks and line ends around a value.

    One that is empty is one that isn't set: compose files and charts pass it on as such.
    """

    def _load_env_vars(self) -> Mapping[str, str | None]:
        found = super()._load_env_vars()
        return {name: value.strip() for name, value in found.items() if value and value.strip()}


class Settings(BaseSettings):
    """Every member is an environment variable: `CHECKOUT_` and its name, unless an alias says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="CHECKOUT_", frozen=True, extra="ignore", validate_by_name=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the caller gives, then the environment; no file."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Environment(settings_cls)

    database_url: SecretStr = Field(
        SecretStr("sqlite:///./checkout.db"),
        validation_alias=_named("DATABASE_URL"),
        description="Where the saga log lives: sqlite:///./file.db or postgresql://user:password@host/db.",
    )
    auto_migrate: Literal["auto", "true", "false"] = Field(
        "auto",
        description="Bring the schema up to date at start; auto does so for SQLite alone.",
    )
    migrate_lock_seconds: Seconds = Field(
        1.0,
        description="How long a migration waits for a lock on PostgreSQL, with all others behind it, before it lets "
        "them by and tries again.",
    )
    migrate_patience_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        600.0, description="How long a migration is tried again that others' locks keep waiting."
    )
    database_pool_size: Count = Field(
        8, description="Connections for reading, besides the journal's and the lease's."
    )
    storage_patience_seconds: Seconds = Field(
        10.0,
        description="How long a new checkout waits for the database before it is answered 503.",
    )

    payment_url: str = Field(
        "",
        validation_alias=_named("PAYMENT_URL"),
        description="Base URL of the payment service; empty: the sandbox.",
    )
    inventory_url: str = Field(
        "",
        validation_alias=_named("INVENTORY_URL"),
        description="Base URL of the inventory service; empty: the sandbox.",
    )
    shipping_url: str = Field(
        "",
        validation_alias=_named("SHIPPING_URL"),
        description="Base URL of the shipping service; empty: the sandbox.",
    )
    payment_token: SecretStr | None = Field(None, description="Bearer token for the payment service.")
    inventory_token: SecretStr | None = Field(None, description="Bearer token for the inventory service.")
    shipping_token: SecretStr | None = Field(None, description="Bearer token for the shipping service.")
    max_calls_per_service: Count = Field(
        128,
        description="Calls under way at once to one service; a further one waits its turn.",
    )
    max_answer_bytes: Count = Field(1_000_000, description="The largest answer read from a service.")

    step_timeout_seconds: Seconds = Field(5.0, description="Per attempt of one call.")
    step_max_attempts: Count = Field(4, description="Attempts of one step going forward.")
    compensation_max_attempts: Count = Field(
        20, description="Attempts of one compensation, before needs_attention."
    )
    retry_base_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        0.1,
        description="The first ceiling of the exponential back-off with full jitter.",
    )
    retry_cap_seconds: Seconds = Field(30.0, description="The highest ceiling of the back-off.")
    max_retry_after_seconds: Seconds = Field(
        3600.0,
        description="The longest Retry-After of a service that is honoured going back; going forward it is as far as the deadline.",
    )
    deadline_seconds: Seconds = Field(
        300.0,
        description="Of a whole saga going forward; past it, it is compensated (deadline_exceeded).",
    )
    key_window_seconds: Seconds = Field(
        82800.0,
        description="Nothing is sent again under a key older than this, only looked up: services forget keys, "
        "Stripe's after a day.",
    )
    park_after_seconds: Seconds = Field(
        5.0,
        description="A longer pause than this is waited for in the database, not in memory.",
    )

    lease_seconds: Seconds = Field(
        10.0, description="A dead replica's sagas are taken over within two of these."
    )
    recovery_poll_seconds: Seconds = Field(
        1.0, description="How often sagas that nobody runs are looked for."
    )
    recovery_max_in_flight: Count = Field(256, description="Recovered sagas that one process runs at once.")
    max_in_flight: Count = Field(
        512,
        description="Sagas in flight in one process; above it, 503 with Retry-After.",
    )
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        25.0, description="How long POST /checkout waits for the outcome."
    )
    max_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        60.0,
        description="The longest wait that a caller can ask for with Prefer: wait=N.",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        20.0, description="How long sagas in flight may go on after SIGTERM."
    )
    require_idempotency_key: bool = Field(False, description="Refuse a checkout without an Idempotency-Key.")
    max_body_bytes: Count = Field(65_536, description="The largest request body.")
    body_timeout_seconds: Seconds = Field(10.0, description="How long a request's body may take, or 408.")
    max_uploads: Count = Field(
        1_024,
        description="Bodies on their way at once, counted apart from checkouts; at one more the oldest is ended.",
    )
    max_header_bytes: Annotated[int, Field(ge=1_024, le=1_000_000)] = Field(
        32_768, description="The largest head of a request: its URL and header fields together, or 431."
    )
    header_timeout_seconds: Seconds = Field(
        10.0, description="How long a request's head may take from its first byte on."
    )
    keep_alive_seconds: Seconds = Field(
        130.0,
        description="How long an idle connection is kept: longer than a proxy in front keeps its own, unless "
        "uvicorn is given --timeout-keep-alive.",
    )
    max_items: Count = Field(100, description="The most items in one order.")
    page_size: Count = Field(20, description="Sagas on a page of the list, unless the caller says limit=N.")
    max_page_size: Count = Field(100, description="The most sagas on a page.")
    allow_open: bool = Field(
        False,
        description="Serve without any API key also beyond loopback, as something else guards the way.",
    )
    session_hours: Annotated[float, Field(gt=0, le=720)] = Field(
        default=12.0, description="How long somebody who signed in to the page stays so."
    )
    key_cache_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        5.0, description="How long a key that was looked up is believed: so long a revocation may take."
    )
    unknown_keys_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        10.0,
        description="Keys and sessions that nobody has, looked up for one address; more get 429; 0 is no limit.",
    )
    health_cache_seconds: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = Field(
        1.0, description="How long the answer of /readyz is believed, however many ask."
    )
    read_token_seconds: Seconds = Field(
        900.0, description="How long a token for one saga, with which a browser follows it, can be used."
    )
    cors_origins: str = Field(
        "",
        description="Sites whose pages may ask the API from a browser, such as https://shop.example,https://pay.example.",
    )
    public_metrics: bool = Field(False, description="Give /metrics to everybody, without a key.")
    rate_limit_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        0.0, description="Checkouts a second that each caller may begin in one process; 0 is no limit."
    )
    watch_poll_seconds: Seconds = Field(
        0.5, description="How often the sagas that are watched live, and run elsewhere, are looked at."
    )
    max_watchers: Count = Field(5_000, description="Streams of events that one process keeps open.")
    heartbeat_seconds: Seconds = Field(
        15.0, description="How long a stream of events is silent before it sends a heartbeat."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged.")
    traces: bool | None = Field(
        None,
        description="Send traces (OpenTelemetry, with the extra `traces`); none: where OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )
    otlp_endpoint: str = Field(
        "",
        validation_alias=_named("OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Where traces are sent, such as http://collector:4318.",
    )
    log_buffer_bytes: Annotated[int, Field(ge=1_024, le=1_000_000_000)] = Field(
        4_194_304,
        description="Log lines that wait while nobody takes them; more are dropped, and counted.",
    )
    otel_sdk_disabled: str = Field(
        "",
        validation_alias=_named("OTEL_SDK_DISABLED"),
        description="true: no traces, whatever the other variables say.",
    )
    access_log: bool = Field(True, description="Log a line for each request, by its route.")

    webhooks: SecretStr = Field(
        SecretStr(""),
        description="Endpoints that are told how checkouts ended: a JSON list, as docs/how-to/receive-webhooks.md has it.",
    )
    webhooks_allow_private: bool = Field(
        False, description="Endpoints may be on private networks, and speak http."
    )
    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = Field(
        15.0, description="How long an endpoint may take over one delivery."
    )
    webhook_poll_seconds: Seconds = Field(1.0, description="How often events to be delivered are looked for.")
    webhook_pauses: str = Field(
        "5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Seconds between the attempts of one delivery; after the last one it is failed.",
    )

    keep_data_days: Days = Field(
        90, description="After how many days a finished checkout loses its customer's data; 0: never."
    )
    keep_sagas_days: Days = Field(
        0,
        description="After how many days a finished checkout is deleted, with its Idempotency-Key; 0: never.",
    )
    retention_batch: Count = Field(200, description="Old checkouts looked at in one transaction.")
    retention_pause_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(
        1.0, description="Between two such transactions, so that new checkouts aren't slowed."
    )

    sandbox_failure_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        validation_alias=_named("SANDBOX_FAILURE_RATE"),
        description="The share of the sandbox's calls that fail.",
    )
    sandbox_seed: int | None = Field(
        None,
        validation_alias=_named("SANDBOX_SEED"),
        description="Makes the sandbox's failures the same every time.",
    )
    sandbox_latency_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        0.0,
        validation_alias=_named("SANDBOX_LATENCY_SECONDS"),
        description="How long each call to the sandbox takes.",
    )
    sandbox_database: str = Field(
        "sandbox.db",
        validation_alias=_named("SANDBOX_DATABASE"),
        description="The SQLite file in which the sandbox keeps its books; :memory: forgets them.",
    )
    sandbox_remote: bool = Field(
        False,
        validation_alias=_named("SANDBOX_REMOTE"),
        description="The three URLs are sandbox servers: pass X-Simulate on to them.",
    )

    @field_validator("database_url")
    @classmethod
    def _is_a_database(cls, value: SecretStr) -> SecretStr:
        parse_database_url(value.get_secret_value())
        return value

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

    @field_validator("webhook_pauses")
    @classmethod
    def _are_pauses(cls, value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?(,[0-9]{1,6}(\.[0-9]+)?){0,49}", value):
            raise ValueError("Write CHECKOUT_WEBHOOK_PAUSES as seconds, such as 5,300,1800.")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in filter(None, map(str.strip, value.split(","))):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    "Write CHECKOUT_CORS_ORIGINS as a browser sends them: https://shop.example,http://localhost:3000, "
                    "each in lower case, without a path, and none for all."
                )
        return value

    @property
    def origins(self) -> tuple[str, ...]:
        """The sites that `cors_origins` names."""
        return tuple(filter(None, map(str.strip, self.cors_origins.split(","))))

    @property
    def webhook_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that `webhooks` describes."""
        return endpoints_of(self.webhooks.get_secret_value(), allow_private=self.webhooks_allow_private)

    @property
    def traced(self) -> bool:
        """Whether traces are wanted."""
        if self.otel_sdk_disabled.lower() == "true":
            return False
        return bool(self.otlp_endpoint) if self.traces is None else self.traces

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        faults = [sentence for fits, sentence in self._pairs() if not fits]
        try:
            _ = self.webhook_endpoints  # raises in a sentence where one can't be used
        except ValueError as error:
            faults.append(str(error))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _pairs(self) -> list[tuple[bool, str]]:
        """Return what must hold between settings, and the sentence where it doesn't."""
        data, sagas = self.keep_data_days, self.keep_sagas_days
        too_short = (
            f"CHECKOUT_KEEP_SAGAS_DAYS must be at least {SHORTEST_KEEP_DAYS}, or 0 for ever: with a saga its "
            "Idempotency-Key is forgotten."
        )
        outlived = f"CHECKOUT_KEEP_SAGAS_DAYS must be at least CHECKOUT_KEEP_DATA_DAYS ({data}): data can't outlive its saga."
        return [
            (
                self.retry_cap_seconds >= self.retry_base_seconds,
                f"CHECKOUT_RETRY_CAP_SECONDS must be at least CHECKOUT_RETRY_BASE_SECONDS ({self.retry_base_seconds:g}).",
            ),
            (
                self.max_wait_seconds >= self.wait_seconds,
                f"CHECKOUT_MAX_WAIT_SECONDS must be at least CHECKOUT_WAIT_SECONDS ({self.wait_seconds:g}).",
            ),
            (
                self.max_page_size >= self.page_size,
                f"CHECKOUT_MAX_PAGE_SIZE must be at least CHECKOUT_PAGE_SIZE ({self.page_size}).",
            ),
            (sagas == 0 or sagas >= SHORTEST_KEEP_DAYS, too_short),
            (sagas < SHORTEST_KEEP_DAYS or 0 < data <= sagas, outlived),
        ]
