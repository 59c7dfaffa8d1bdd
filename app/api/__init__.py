"""The HTTP API. Start reading at `app`, then `routes/checkout`; `problems` is the table of all that can go wrong."""

from app.api.app import create_api
from app.api.context import AppContext, Health, OpenService
from app.api.limits import ApiSettings

__all__ = ["ApiSettings", "AppContext", "Health", "OpenService", "create_api"]
