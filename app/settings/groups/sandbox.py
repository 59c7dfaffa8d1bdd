"""Settings of the sandbox."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from app.settings.groups.group import SettingsGroup, named


class SandboxSettings(SettingsGroup):
    """How the sandbox answers, and where it keeps its records."""

    sandbox_failure_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        validation_alias=named("SANDBOX_FAILURE_RATE"),
        description="Share of the sandbox's calls that fail at random.",
    )
    sandbox_seed: int | None = Field(
        None,
        validation_alias=named("SANDBOX_SEED"),
        description="Seed that makes the sandbox's failures the same each time.",
    )
    sandbox_latency_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        0.0,
        validation_alias=named("SANDBOX_LATENCY_SECONDS"),
        description="Duration of each call to the sandbox.",
    )
    sandbox_database: str = Field(
        ":memory:",
        validation_alias=named("SANDBOX_DATABASE"),
        description="SQLite file of the sandbox's books, which processes may share; :memory: is gone with its server.",
    )
    sandbox_memory_sagas: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        10_000,
        validation_alias=named("SANDBOX_MEMORY_SAGAS"),
        description="Finished sagas that a sandbox in memory remembers; it forgets the oldest.",
    )
    sandbox_remote: bool = Field(
        False,
        validation_alias=named("SANDBOX_REMOTE"),
        description="The three URLs are sandbox servers: pass X-Simulate on to them.",
    )
