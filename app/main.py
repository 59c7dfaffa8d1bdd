"""The service: `uvicorn app.main:app`. Importing it does no I/O; everything is opened when the server starts."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api import create_api
from app.api.service import Service
from app.bootstrap import api_settings, open_service
from app.config import Settings
from app.telemetry import set_up_logging

settings = Settings()
set_up_logging(settings.log_level, access=settings.access_log)


@asynccontextmanager
async def _opened() -> AsyncIterator[Service]:
    """Open the service, and spare the collector what stays until it ends.

    Else each full collection goes over 150,000 objects of libraries, a pause of up to 190 ms; and a
    collection every 700 objects costs a checkout a tenth of its time. What a checkout leaves behind is
    freed by its reference counts; the collector is there for the rest.
    """
    async with open_service(settings) as service:
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        yield service


app = create_api(_opened, api_settings(settings))
