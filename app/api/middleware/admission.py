"""Admission: a process runs no more sagas than its limit, and refuses checkouts beyond it.

A saga counts once it is launched, also while it is being stored; a request before that doesn't count. A repeat of an
Idempotency-Key whose saga runs here starts none, so it is never refused. A repeat whose saga has ended is refused like a
new checkout: to recognise it, the service would have to query the saga log, just the work that admission avoids. The
caller sends it again after Retry-After, under the same key.

    POST ──▶ room? ──no──▶ 503 over_capacity (over_capacity.py: nothing was read)
               │
               ▼
        read the body (an upload doesn't count: see uploads)
               │
               ▼
             room? ──no──▶ 503 over_capacity
               │ launched, and counted, before anything else runs
               ▼
        make the saga durable ──▶ wait (a waiting request doesn't count)
"""

from __future__ import annotations

from app.api.context import AppContext
from app.api.problems.problem import Problem


class Admission:
    """Limits the sagas in flight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def full(self, service: AppContext) -> bool:
        """Whether the limit is reached."""
        return service.in_flight() >= self._limit

    def check(self, service: AppContext, *, caller: str, key: str | None) -> None:
        """Raise a problem if a checkout can't be admitted. An admitted one must be launched at once."""
        if service.draining.is_set():
            raise Problem("shutting_down")
        if self.full(service) and not (key and service.runs_key(key, caller)):
            raise Problem("over_capacity")
