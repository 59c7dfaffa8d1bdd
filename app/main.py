"""The service: `uvicorn app.main:app`. Importing it does no I/O; everything is opened when the server starts."""

from __future__ import annotations

from app.api import create_api
from app.bootstrap import api_settings, open_service
from app.config import Settings
from app.telemetry import set_up_logging

settings = Settings()
set_up_logging(settings.log_level, access=settings.access_log)
app = create_api(lambda: open_service(settings), api_settings(settings))
