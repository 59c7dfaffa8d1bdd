"""Settings of keys, sessions and read tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.settings.groups.group import Seconds, SettingsGroup


class AccessSettings(SettingsGroup):
    """Who may use the service, and how long a credential counts."""

    allow_unauthenticated: bool = Field(
        False,
        description="Serve without any API key beyond loopback too, because something else controls access.",
    )
    session_hours: Annotated[float, Field(gt=0, le=720)] = Field(
        default=12.0, description="Lifetime of an operator's session on the dashboard."
    )
    key_cache_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        5.0, description="Cache lifetime of a looked-up key; a revocation takes effect within it."
    )
    unknown_keys_per_second: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = Field(
        10.0,
        description="Unknown keys and sessions that are looked up per second and address; above it, 429; 0 is no limit.",
    )
    read_token_seconds: Seconds = Field(
        900.0, description="Lifetime of a read token, with which a browser follows one saga."
    )
    public_metrics: bool = Field(False, description="Serve /metrics without a key.")
