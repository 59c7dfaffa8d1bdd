"""A log line for each request: its route, never its path or query, which may name a customer."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from app.telemetry.log_lines import log_line

METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
"""Any other word is the client's own."""

_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Requested every few seconds by machines: logged at the level debug."""

_logger = logging.getLogger("app.access")


class AccessLog:
    """Notes requests in less than a microsecond or two, and writes their lines once the answers are on their way."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, float, dict[str, Any]]] = []

    def note(
        self, *, method: str, route: str, status: int, took: float, request_id: str, caller: str
    ) -> None:
        """Note an answer; `took` is in seconds, `caller` empty where it isn't known."""
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        if not self._noted:
            asyncio.get_running_loop().call_soon(self._write)
        told: dict[str, Any] = {
            "event": "request",
            "method": method if method in METHODS else "other",
            "route": route,
            "status": status,
            "duration_ms": round(took * 1000, 3),
            "request_id": request_id,
        }
        if caller:
            told["caller"] = caller
        self._noted.append((level, time.time(), told))

    def _write(self) -> None:
        noted, self._noted = self._noted, []
        for level, at, told in noted:
            log_line(_logger, level, told, at=at)
