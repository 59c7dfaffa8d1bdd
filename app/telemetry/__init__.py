"""What the outside sees of a saga beside the API: listeners of its events."""

from app.telemetry.access_log import AccessLog
from app.telemetry.log_writer import the_log_writer
from app.telemetry.logs import log_events, log_with_trace, set_up_logging
from app.telemetry.metrics import Gauges, Metrics

__all__ = [
    "AccessLog",
    "Gauges",
    "Metrics",
    "log_events",
    "log_with_trace",
    "set_up_logging",
    "the_log_writer",
]
