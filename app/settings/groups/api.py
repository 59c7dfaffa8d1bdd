"""Settings of the HTTP API and of a client's connection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator

from app.settings.groups.group import Count, Seconds, SettingsGroup

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


class HttpApiSettings(SettingsGroup):
    """Limits of requests, answers, lists and streams."""

    max_in_flight: Count = Field(
        512,
        description="Sagas in flight in one process; above it, 503 with Retry-After.",
    )
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        25.0, description="How long POST /checkout waits for the outcome."
    )
    max_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        60.0,
        description="The longest wait that a client can ask for with Prefer: wait=N.",
    )
    require_idempotency_key: bool = Field(False, description="Refuse a checkout without an Idempotency-Key.")
    max_body_bytes: Count = Field(65_536, description="The largest request body.")
    body_timeout_seconds: Seconds = Field(10.0, description="How long a request's body may take, or 408.")
    max_uploads: Count = Field(
        1_024,
        description="Request bodies being received at once; with one more, the oldest is ended.",
    )
    max_header_bytes: Annotated[int, Field(ge=1_024, le=1_000_000)] = Field(
        32_768, description="The largest head of a request: its URL and header fields together, or 431."
    )
    header_timeout_seconds: Seconds = Field(
        10.0, description="How long a request's head may take from its first byte on."
    )
    keep_alive_seconds: Seconds = Field(
        130.0,
        description="How long an idle connection is kept: longer than a proxy in front keeps its own. uvicorn's "
        "--timeout-keep-alive takes precedence.",
    )
    max_items: Count = Field(100, description="The most items in one order.")
    page_size: Count = Field(20, description="Sagas on a page of the list, unless the client says limit=N.")
    max_page_size: Count = Field(100, description="The most sagas on a page.")
    health_cache_seconds: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = Field(
        1.0, description="Cache lifetime of the answer of /readyz."
    )
    cors_origins: str = Field(
        "",
        description="Sites whose pages may call the API from a browser, such as https://shop.example,https://pay.example.",
    )
    rate_limit_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        0.0, description="Checkouts per second that each caller may start in one process; 0 is no limit."
    )
    event_stream_poll_seconds: Seconds = Field(
        0.5,
        description="Interval at which event streams read the sagas that other replicas run; ten times as long while "
        "PostgreSQL reports changes.",
    )
    max_event_streams: Count = Field(5_000, description="Event streams that one process keeps open.")
    heartbeat_seconds: Seconds = Field(
        15.0, description="How long an event stream is silent before it sends a heartbeat."
    )

    @property
    def origins(self) -> tuple[str, ...]:
        """The sites that `cors_origins` names."""
        return tuple(filter(None, map(str.strip, self.cors_origins.split(","))))

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

    def faults(self) -> Iterator[str]:
        """Yield what doesn't fit together."""
        yield from super().faults()
        if self.max_wait_seconds < self.wait_seconds:
            yield f"CHECKOUT_MAX_WAIT_SECONDS must be at least CHECKOUT_WAIT_SECONDS ({self.wait_seconds:g})."
        if self.max_page_size < self.page_size:
            yield f"CHECKOUT_MAX_PAGE_SIZE must be at least CHECKOUT_PAGE_SIZE ({self.page_size})."
