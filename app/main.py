"""The service: `uvicorn app.main:app`. Importing it does no I/O; everything is opened when the server starts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.api.context import AppContext
from app.bootstrap.http_app import create_app
from app.bootstrap.limits import api_settings, connection_limits
from app.bootstrap.service import open_service
from app.bootstrap.start_failures import start_failures
from app.process.gc_tuning import freeze_startup_objects
from app.server import allow_many_files, use_connections
from app.settings.deprecated import deprecated_variables
from app.settings.environment import settings_or_exit, unknown_variables
from app.telemetry.log_writer import the_log_writer
from app.telemetry.logs import set_up_logging

_logger = logging.getLogger(__name__)

settings = settings_or_exit()
set_up_logging(settings.log_level, access=settings.access_log, buffer_bytes=settings.log_buffer_bytes)


@asynccontextmanager
async def _opened() -> AsyncIterator[AppContext]:
    """Open the service, then freeze what lives until it ends for the garbage collector."""
    allow_many_files()
    use_connections(connection_limits(settings))
    for sentence in unknown_variables():
        _logger.warning("setting_unknown", extra={"hint": sentence})
    for sentence in deprecated_variables():
        _logger.warning("setting_deprecated", extra={"hint": sentence})
    try:
        async with AsyncExitStack() as stack:
            with start_failures(settings):
                service = await stack.enter_async_context(open_service(settings))
            freeze_startup_objects()
            yield service
    finally:
        if (writer := the_log_writer()) is not None:
            await asyncio.to_thread(writer.flush)  # a second signal ends the process at once


app = create_app(_opened, api_settings(settings))
