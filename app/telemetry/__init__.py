"""What the outside sees of a saga beside the API. Metrics and traces move in here; logs are the first."""

from app.telemetry.logs import log_events, set_up_logging

__all__ = ["log_events", "set_up_logging"]
