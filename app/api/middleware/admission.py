"""Admission: a process runs no more sagas than its limit, and takes up no checkout beyond it.

A saga counts from the moment it is launched, once, also while it is being made durable; what is looked at before that
counts nothing. A repeat of an Idempotency-Key whose saga runs here starts none, so it is never refused. One whose
saga has ended is refused as a new checkout would be: to recognise it, the service would have to ask the saga log,
just the work that admission avoids. The caller sends it again after Retry-After, under the same key.

    POST ──▶ room? ──no──▶ 503 over_capacity (over_capacity.py: nothing was read)
               │
               ▼
        read the body (an upload, which takes no place: see uploads)
               │
               ▼
             room? ──no──▶ 503 over_capacity
               │ launched, and counted, before anything else runs
               ▼
        make the saga durable ──▶ wait (a waiting request weighs nothing)
"""

from __future__ import annotations

from app.api.context import AppContext
from app.api.problems.problem import Problem


class Admission:
    """Keeps the sagas in flight below the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def full(self, service: AppContext) -> bool:
        """Whether the limit is reached."""
        return service.in_flight() >= self._limit

    def check(self, service: AppContext, *, caller: str, key: str | None) -> None:
        """Raise a problem if a checkout would not be admitted. One that is has to be launched at once."""
        if service.draining.is_set():
            raise Problem("shutting_down")
        if self.full(service) and not (key and service.runs_key(key, caller)):
            raise Problem("over_capacity")
