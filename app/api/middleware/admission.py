"""Admission: a process accepts no more checkouts than its limit, and refuses before it reads a body.

At the limit a repeat of an Idempotency-Key is refused too. To recognise a repeat, the service would have to
read its body and ask the saga log: just the work that admission avoids. Nothing is lost, as a refused request
leaves no trace: the caller sends it again after Retry-After, under the same key, and can read the saga at its
own URL meanwhile.

    POST ──▶ room? ──no──▶ 503 over_capacity
               │
               ▼
        read the body (an upload, which takes no place: see uploads)
               │
               ▼
           admitted? ──no──▶ 503 over_capacity
               │ counted here, until its saga is counted as in flight
               ▼
        make the saga durable ──▶ wait (a waiting request weighs nothing)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.api.context import AppContext
from app.api.problems.problem import Problem


class Admission:
    """Keeps the checkouts that are being made durable, plus those in flight, below the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = 0

    @staticmethod
    def check_open(service: AppContext) -> None:
        """Raise a problem if the process accepts nothing new."""
        if service.draining.is_set():
            raise Problem("shutting_down")

    def full(self, service: AppContext) -> bool:
        """Whether the limit is reached."""
        return service.in_flight() + self._received >= self._limit

    def check(self, service: AppContext) -> None:
        """Raise a problem if a checkout would not be admitted."""
        self.check_open(service)
        if self.full(service):
            raise Problem("over_capacity")

    @contextmanager
    def admitted(self, service: AppContext) -> Iterator[None]:
        """Hold a place while a checkout is made durable; raise a problem if there is none."""
        self.check(service)
        self._received += 1
        try:
            yield
        finally:
            self._received -= 1
