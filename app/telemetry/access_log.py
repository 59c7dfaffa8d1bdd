"""A log line for each request: its route, never its path or query, which may name a customer."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
"""Any other word is the client's own."""

_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Requested every few seconds by machines: logged at the level debug."""

_logger = logging.getLogger("app.access")


class AccessLog:
    """Notes requests in less than a microsecond or two, and writes their lines once the answers are on their way."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, dict[str, Any]]] = []

    def note(
        self, *, method: str, route: str, status: int, took: float, request_id: str, caller: str
    ) -> None:
        """Note an answer; `took` is in seconds, `caller` empty where it isn't known."""
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        if not self._noted:
            asyncio.get_running_loop().call_soon(self._write)
        fields = {
            "event": "request",
            "method": method if method in METHODS else "other",
            "route": route,
            "status": status,
            "duration_ms": round(took * 1000, 3),
            "request_id": request_id,
            "at": datetime.now(UTC),
        }
        if caller:
            fields["caller"] = caller
        self._noted.append((level, fields))

    def _write(self) -> None:
        noted, self._noted = self._noted, []
        for level, fields in noted:
            name = logging.getLevelName(level)
            at = fields.pop("at").isoformat().replace("+00:00", "Z")
            told = {**fields, "logger": _logger.name, "level": name.lower(), "timestamp": at}
            line = {"name": _logger.name, "levelno": level, "levelname": name, "msg": told}
            # As structlog marks what is a whole line already: it isn't made a second time.
            _logger.handle(logging.makeLogRecord({**line, "_logger": _logger, "_name": name.lower()}))
