"""Settings of logs and traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.settings.groups.group import SettingsGroup, named


class TelemetrySettings(SettingsGroup):
    """What is logged, and where traces are sent."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )
    log_buffer_bytes: Annotated[int, Field(ge=1_024, le=1_000_000_000)] = Field(
        4_194_304,
        description="Log lines that wait while their reader is slow; more are dropped, and counted.",
    )
    access_log: bool = Field(True, description="Log a line for each request, by its route.")
    traces: bool | None = Field(
        None,
        description="Send traces (OpenTelemetry, with the extra `traces`); none: if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )
    otlp_endpoint: str = Field(
        "",
        validation_alias=named("OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Where traces are sent, such as http://collector:4318.",
    )
    otel_sdk_disabled: str = Field(
        "",
        validation_alias=named("OTEL_SDK_DISABLED"),
        description="true: no traces, whatever the other variables say.",
    )

    @property
    def traced(self) -> bool:
        """Whether traces are sent."""
        if self.otel_sdk_disabled.lower() == "true":
            return False
        return bool(self.otlp_endpoint) if self.traces is None else self.traces
