"""The HTTP API. Start reading at `app`, then `routes/checkout`; `problems` is the table of all that can go wrong."""

from app.api.app import create_api
from app.api.context import Health, OpenService, Service
from app.api.limits import ApiSettings

__all__ = ["ApiSettings", "Health", "OpenService", "Service", "create_api"]
