"""Logs when a background activity starts to fail and when it works again, never each attempt.

A database that is down for an hour makes two log lines, not one per poll.
"""

from __future__ import annotations

import logging

MAX_CAUSES = 8
"""How many different causes are logged during one outage."""


class OutageReporter:
    """The outages of one activity, logged as `<activity>_failed` and `<activity>_recovered` with `fields`."""

    def __init__(self, logger: logging.Logger, activity: str, **fields: object) -> None:
        self._logger = logger
        self._failed, self._recovered = f"{activity}_failed", f"{activity}_recovered"
        self._fields = fields
        self._causes: set[str] = set()

    def failed(self, error: Exception, *, expected: bool) -> None:
        """Report a failed attempt, once for each cause; with a traceback unless `expected`."""
        cause = f"{type(error).__name__}: {error}"
        if cause in self._causes or len(self._causes) >= MAX_CAUSES:
            return
        self._causes.add(cause)
        if expected:
            self._logger.warning(self._failed, extra={**self._fields, "error": str(error)})
        else:
            self._logger.error(self._failed, extra=self._fields, exc_info=error)

    def recovered(self) -> None:
        """Report that it works again, if it had failed."""
        if self._causes:
            self._logger.warning(self._recovered, extra=self._fields)
            self._causes.clear()
