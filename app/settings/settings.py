"""All settings of the service: one frozen object, read from the environment once, where the process starts."""

from __future__ import annotations

from app.settings.groups.access import AccessSettings
from app.settings.groups.api import HttpApiSettings
from app.settings.groups.database import DatabaseSettings
from app.settings.groups.engine import EngineSettings
from app.settings.groups.retention import RetentionSettings
from app.settings.groups.sandbox import SandboxSettings
from app.settings.groups.services import ServicesSettings
from app.settings.groups.telemetry import TelemetrySettings
from app.settings.groups.webhooks import WebhookSettings


class Settings(
    SandboxSettings,
    TelemetrySettings,
    RetentionSettings,
    WebhookSettings,
    AccessSettings,
    HttpApiSettings,
    EngineSettings,
    ServicesSettings,
    DatabaseSettings,
):
    """Every group's settings. Code that needs one group can take that group as its parameter's type.

    The groups are in reverse, as pydantic collects fields from the last base to the first.
    """
