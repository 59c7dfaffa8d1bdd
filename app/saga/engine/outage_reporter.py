"""What a loop says of its trouble: a change, not each try. A database that is away for an hour is two lines of the log."""

from __future__ import annotations

import logging

WAYS = 8
"""So many ways of going wrong are told apart until it is over."""


class OutageReporter:
    """The trouble of one loop; `what` says it, as in "the lease could not be renewed"."""

    def __init__(self, logger: logging.Logger, what: str) -> None:
        self._logger = logger
        self._what = what
        self._told: set[str] = set()

    def met(self, error: Exception, *, foreseen: bool) -> None:
        """Tell of a try that failed, once for each way of failing; with a traceback if not `foreseen`."""
        way = f"{type(error).__name__}: {error}"
        if way in self._told or len(self._told) >= WAYS:
            return
        self._told.add(way)
        if foreseen:
            self._logger.warning("%s: %s", self._what, error)
        else:
            self._logger.error("%s, which nobody foresaw", self._what, exc_info=error)

    def over(self) -> None:
        """Tell that it is over, if there was any."""
        if self._told:
            self._logger.warning("no longer: %s", self._what)
            self._told.clear()
