"""Admission: a process takes no more checkouts than it can carry, and says so before it reads one.

A repeat of an Idempotency-Key is turned away too while the house is full. To know it for a repeat, its
body would have to be read and the saga log asked: just what admission is there to spare. Nothing is
lost, as a refused request leaves no trace: the caller sends it again after Retry-After, under the
same key, and the saga's own URL answers all the while.

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
    """Counts the checkouts that are being made durable, and holds them together with those in flight below the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = 0

    @staticmethod
    def check_open(service: AppContext) -> None:
        """Raise a problem where the process takes nothing new any more."""
        if service.draining.is_set():
            raise Problem("shutting_down")

    def full(self, service: AppContext) -> bool:
        """Whether there is no place."""
        return service.in_flight() + self._received >= self._limit

    def check(self, service: AppContext) -> None:
        """Raise a problem where a checkout would not be admitted."""
        self.check_open(service)
        if self.full(service):
            raise Problem("over_capacity")

    @contextmanager
    def admitted(self, service: AppContext) -> Iterator[None]:
        """Hold a place while a checkout is made durable; raise a problem where there is none."""
        self.check(service)
        self._received += 1
        try:
            yield
        finally:
            self._received -= 1
