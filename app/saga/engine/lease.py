"""The lease of this process: while it is held, no other process continues the sagas that this one owns.

A process has one lease, not one for each saga, so it costs the same at any load. It is granted on the log's clock and
watched here on the monotonic clock. Here it counts from before it was requested, so that it never seems to last longer
than it was granted.

A lapse is a death: the process drops its sagas, and comes back as a new owner.
"""

from __future__ import annotations

from datetime import datetime

from app.saga.model.errors import LeaseLost
from app.saga.ports.clock import Clock


class Lease:
    """Whether this process may act, and as which owner."""

    def __init__(self, clock: Clock, owner: str, seconds: float) -> None:
        self.owner = owner
        self.seconds = seconds
        self._clock = clock
        self._until: float | None = None
        self._lost = False
        self.expires_at: datetime | None = None

    @property
    def held(self) -> bool:
        """Whether this process may act."""
        return not self._lost and self._until is not None and self._clock.monotonic() < self._until

    @property
    def lapsed(self) -> bool:
        """Whether it was held and isn't any more, so that only a new owner can act."""
        return self._lost or (self._until is not None and not self.held)

    def check(self, owner: str | None = None) -> None:
        """Raise `LeaseLost` if it isn't held, or not by `owner`. Called before every request to a service.

        The caller then drops its saga. So the lease is lost from then on, even if a renewal under way is granted.
        Otherwise a living owner would own a saga that nobody runs.
        """
        if not self.held:
            self.lost()
            raise LeaseLost
        if owner is not None and owner != self.owner:
            raise LeaseLost

    def renewed(self, asked_at: float, *, expires_at: datetime | None = None) -> None:
        """Record that a request for it, sent at `asked_at` on the monotonic clock, was granted.

        `expires_at` is its end on the log's clock, to show to people. A lost lease stays lost.
        """
        self.expires_at = expires_at
        self._until = max(self._until or asked_at, asked_at + self.seconds)

    def lost(self) -> None:
        """End it here. This owner never holds it again."""
        self._lost = True

    def assume_new_identity(self, owner: str) -> None:
        """Come back as a new owner, which has to request its own lease."""
        self.owner = owner
        self._until = None
        self._lost = False
