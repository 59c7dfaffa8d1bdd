"""The lease of this process: while it holds, nobody else moves the sagas that it owns.

A lease belongs to a process, not to each saga, so keeping it costs the same at any load. It is
granted on the log's clock and watched here on the monotonic clock, counted from before the request
for it was sent, so that it is never believed longer than it was granted.

A lapse is a death: the process drops what it was doing and comes back as a new owner.
"""

from __future__ import annotations

from datetime import datetime

from app.saga.model.errors import LeaseLost
from app.saga.ports.clock import Clock


class Lease:
    """Whether this process may act, and as whom."""

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
        """Whether it was held once and isn't any more, so that only a new owner can go on."""
        return self._lost or (self._until is not None and not self.held)

    def check(self, owner: str | None = None) -> None:
        """Raise `LeaseLost` where it isn't held, or no more by `owner`. Asked before every call to the outside.

        Who was told so has dropped its saga: so from then on the lease is lost, even if a renewal
        that was under way comes back with a yes. Otherwise a living owner would own what nobody runs.
        """
        if not self.held:
            self.lost()
            raise LeaseLost
        if owner is not None and owner != self.owner:
            raise LeaseLost

    def renewed(self, asked_at: float, *, expires_at: datetime | None = None) -> None:
        """Note that a request for it, sent at `asked_at` on the monotonic clock, was granted.

        `expires_at` is its end on the log's clock, for people to look at. A lost lease stays lost.
        """
        self.expires_at = expires_at
        self._until = max(self._until or asked_at, asked_at + self.seconds)

    def lost(self) -> None:
        """End it here, for this owner for good."""
        self._lost = True

    def assume_new_identity(self, owner: str) -> None:
        """Come back as a new owner, which has to ask for a lease of its own."""
        self.owner = owner
        self._until = None
        self._lost = False
